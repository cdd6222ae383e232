/** The pieces of a batch (one ResourceSpans each, as a request of its own) put together by equal resource. */
import { ChunkWalker } from '../../otlp/walk.ts'
import { FieldCursor, LEN } from '../../otlp/wire.ts'

const RESOURCE_SPANS_FIELD = 1
/** Longer resources are not compared: each piece of theirs is a request of its own. */
const MAX_KEY_BYTES = 16 * 1024

const request = new FieldCursor()
const walker = new ChunkWalker()

/** In the order of first appearance. The pieces are views on the chunks. */
export function groupByResource(chunks: readonly Uint8Array[]): Uint8Array[][] {
  const groups: Uint8Array[][] = []
  const byResource = new Map<string, Uint8Array[]>()
  for (const chunk of chunks) {
    request.reset(chunk)
    while (request.next()) {
      if (request.number !== RESOURCE_SPANS_FIELD || request.wireType !== LEN) continue
      const piece = request.raw()
      walker.reset(piece).nextResource()
      const { resourceStart, resourceEnd } = walker
      const known =
        resourceEnd - resourceStart > MAX_KEY_BYTES
          ? undefined
          : groupOf(piece, resourceStart, resourceEnd, byResource, groups)
      if (known) known.push(piece)
      else groups.push([piece])
    }
  }
  return groups
}

function groupOf(
  piece: Uint8Array,
  start: number,
  end: number,
  byResource: Map<string, Uint8Array[]>,
  groups: Uint8Array[][],
): Uint8Array[] {
  const key = Buffer.from(piece.buffer, piece.byteOffset + start, end - start).toString('latin1')
  let group = byResource.get(key)
  if (!group) {
    group = []
    byResource.set(key, group)
    groups.push(group)
  }
  return group
}
