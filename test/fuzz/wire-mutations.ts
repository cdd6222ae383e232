/** Protobuf mutated as a tree: fields left out, doubled, swapped, nested, mislabelled, with lengths that are right or that lie. */
import type { Draw } from './draw.ts'

/** Each level above copies it again. */
const MOST_COPIED_BYTES = 20_000

interface Field {
  readonly tag: number
  readonly start: number
  readonly contentStart: number
  readonly end: number
}

function varintAt(bytes: Uint8Array, at: number): { value: number; end: number } | undefined {
  let value = 0
  for (let index = 0; index < 5; index++) {
    const byte = bytes[at + index]
    if (byte === undefined) return undefined
    value += (byte & 127) * 2 ** (7 * index)
    if (byte < 128) return { value, end: at + index + 1 }
  }
  return undefined
}

/** The fields of a message, or undefined when it is none. */
function fieldsOf(bytes: Uint8Array): Field[] | undefined {
  const fields: Field[] = []
  for (let at = 0; at < bytes.length; ) {
    const tag = varintAt(bytes, at)
    if (!tag || tag.value < 8) return undefined
    let contentStart = tag.end
    let end: number
    const type = tag.value & 7
    if (type === 2) {
      const length = varintAt(bytes, contentStart)
      if (!length) return undefined
      contentStart = length.end
      end = contentStart + length.value
    } else if (type === 0) {
      for (end = contentStart; (bytes[end] ?? 0) >= 128; end++);
      end++
    } else if (type === 1 || type === 5) end = contentStart + (type === 1 ? 8 : 4)
    else return undefined
    if (end > bytes.length) return undefined
    fields.push({ tag: tag.value, start: at, contentStart, end })
    at = end
  }
  return fields
}

/** As many bytes as it needs, and `more` that it does not. */
export function varint(value: number, more = 0): Buffer {
  const bytes: number[] = []
  let rest = value
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  bytes.push(rest)
  for (let count = more; count > 0; count--) {
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) | 128
    bytes.push(0)
  }
  return Buffer.from(bytes)
}

export function lenField(tag: number, content: Uint8Array, length = content.length): Buffer {
  return Buffer.concat([varint(tag), varint(length), content])
}

/** One mutation somewhere in the tree. The lengths above it are put right. */
export function mutateTree(draw: Draw, bytes: Uint8Array, other: Uint8Array, depth = 0): Buffer {
  const fields = fieldsOf(bytes)
  if (!fields || fields.length === 0) return Buffer.concat([bytes, randomField(draw)])
  const index = draw.below(fields.length)
  const field = fields[index] ?? { tag: 0, start: 0, contentStart: 0, end: 0 }
  const content = bytes.subarray(field.contentStart, field.end)
  const replaced = (...pieces: Uint8Array[]) =>
    Buffer.concat([bytes.subarray(0, field.start), ...pieces, bytes.subarray(field.end)])
  const descends = (field.tag & 7) === 2 && content.length > 1 && depth < 30 && draw.chance(0.8)
  if (descends && fieldsOf(content))
    return replaced(lenField(field.tag, mutateTree(draw, content, other, depth + 1)))
  const whole = bytes.subarray(field.start, field.end)
  switch (draw.below(12)) {
    case 0:
      return replaced()
    case 1:
      return replaced(...Array<Uint8Array>(timesOf(draw, whole.length)).fill(whole))
    case 2: {
      const next = fields[draw.below(fields.length)] ?? field
      return replaced(bytes.subarray(next.start, next.end))
    }
    case 3:
      return replaced(someField(draw, other))
    case 4:
      return replaced(whole, randomField(draw))
    case 5:
      return replaced(varint((field.tag & ~7) | draw.below(8)), bytes.subarray(field.contentStart, field.end))
    case 6:
      return replaced(varint(field.tag, draw.below(5)), varint(content.length, draw.below(5)), content)
    case 7:
      return replaced(nest(draw, field.tag, content))
    case 8:
      return replaced(lenField(field.tag, content, liedLength(draw, content.length)))
    case 9:
      return replaced(lenField(field.tag | 2, draw.bytes(draw.pick([2, 9, 10, 17, 18, 40]))))
    case 10:
      return replaced(lenField(draw.pick([10, 18, 26, 42, 50, 74, 8002]), whole))
    default:
      return replaced(
        varint(8 * (1 + draw.below(16)) + (field.tag & 7)),
        bytes.subarray(field.contentStart, field.end),
      )
  }
}

/** Nearly always few; what is long comes less often than what is short. */
function timesOf(draw: Draw, length: number): number {
  const times = 2 + draw.below(draw.chance(0.1) ? 200 : 3)
  return Math.min(times, Math.max(2, Math.floor(MOST_COPIED_BYTES / length)))
}

function liedLength(draw: Draw, length: number): number {
  return draw.pick([0, Math.max(0, length - 1), length + 1, length * 2, 127, 128, 2 ** 31 - 1, 2 ** 32 - 1])
}

/** AnyValues in lists in AnyValues, or the field in itself. */
function nest(draw: Draw, tag: number, content: Uint8Array): Buffer {
  const levels = draw.pick([1, 3, 10, 45, 49, 50, 51, 100, 300])
  let inner: Buffer = Buffer.from(content)
  const tags = draw.chance(0.5)
    ? [tag | 2]
    : draw.pick([
        [0x2a, 0x0a],
        [0x32, 0x0a, 0x12],
      ])
  for (let level = 0; level < levels; level++) inner = lenField(tags[level % tags.length] ?? tag, inner)
  return inner
}

function randomField(draw: Draw): Buffer {
  const number = draw.chance(0.9) ? draw.below(18) : draw.pick([1000, 31, 32, 2 ** 28, 2 ** 29 - 1, 0])
  const tag = varint(number * 8 + draw.pick([0, 1, 2, 2, 2, 5, 3, 4, 6, 7]))
  const value = draw.chance(0.5) ? draw.bytes(20) : varint(draw.below(2 ** 32), draw.below(6))
  return Buffer.concat([tag, value])
}

/** A field out of another request, from any depth. */
function someField(draw: Draw, bytes: Uint8Array): Uint8Array {
  const fields = fieldsOf(bytes) ?? []
  const field = fields[draw.below(fields.length)]
  if (!field) return bytes.subarray(0, 20)
  const content = bytes.subarray(field.contentStart, field.end)
  if ((field.tag & 7) === 2 && draw.chance(0.7)) return someField(draw, content)
  return bytes.subarray(field.start, field.end)
}
