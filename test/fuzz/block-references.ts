/** Snappy and LZ4 decoded in the plainest way, from their formats: what the decoders of src/net are compared with. */

/** Undefined when it is broken. Only for blocks that claim little. */
export function snappyBlock(body: Uint8Array): number[] | undefined {
  let claimed = 0
  let at = 0
  for (let shift = 0; ; shift += 7) {
    const byte = body[at++]
    if (byte === undefined || shift > 28) return undefined
    claimed += (byte & 127) * 2 ** shift
    if (byte < 128) break
  }
  const output: number[] = []
  while (at < body.length) {
    const tag = body[at++] ?? 0
    let length = (tag >> 2) + 1
    if ((tag & 3) === 0) {
      if (length > 60) {
        const count = length - 60
        if (at + count > body.length) return undefined
        length = 1
        for (let index = 0; index < count; index++) length += (body[at++] ?? 0) * 2 ** (8 * index)
      }
      if (at + length > body.length || output.length + length > claimed) return undefined
      for (let index = 0; index < length; index++) output.push(body[at++] ?? 0)
      continue
    }
    const bytes = [0, 1, 2, 4][tag & 3] ?? 0
    if (at + bytes > body.length) return undefined
    let offset = 0
    for (let index = 0; index < bytes; index++) offset += (body[at++] ?? 0) * 2 ** (8 * index)
    if (bytes === 1) {
      length = ((tag >> 2) & 7) + 4
      offset += (tag >> 5) * 256
    }
    if (!copy(output, offset, length, claimed)) return undefined
  }
  return output.length === claimed ? output : undefined
}

function copy(output: number[], offset: number, length: number, limit: number): boolean {
  if (offset === 0 || offset > output.length || output.length + length > limit) return false
  for (let index = 0; index < length; index++) output.push(output[output.length - offset] ?? 0)
  return true
}

/** The content of one LZ4 block that stands by itself. */
export function lz4Block(body: Uint8Array, limit: number): number[] | undefined {
  const output: number[] = []
  let at = 0
  const extended = (nibble: number): number => {
    let length = nibble
    if (nibble < 15) return length
    for (let byte = 255; byte === 255; ) {
      byte = body[at++] ?? Number.NaN
      length += byte
    }
    return length
  }
  while (at < body.length) {
    const token = body[at++] ?? 0
    const literals = extended(token >> 4)
    if (!(at + literals <= body.length && output.length + literals <= limit)) return undefined
    for (let index = 0; index < literals; index++) output.push(body[at++] ?? 0)
    if (at === body.length) return output
    if (at + 2 > body.length) return undefined
    const offset = (body[at] ?? 0) + (body[at + 1] ?? 0) * 256
    at += 2
    const length = extended(token & 15) + 4
    if (Number.isNaN(length) || !copy(output, offset, length, limit)) return undefined
  }
  return undefined
}
