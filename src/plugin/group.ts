/** Divides a batch by what its resources say: for connectors that route. */
import type { Batch } from '../otlp/batch.ts'
import { ChunkWalker } from '../otlp/walk.ts'
import { LEN, WireWriter } from '../otlp/wire.ts'
import { Resource } from './items.ts'

/** Parts of one batch; a sender that makes up names cannot make more. What goes beyond is in the last one's company. */
const MOST_GROUPS = 1000

/**
 * A batch for each word that `name` gives, in the order of their first resource. When all have the same it is the batch itself;
 * otherwise resources are copied whole.
 */
export function groupByResource(batch: Batch, name: (resource: Resource) => string): Map<string, Batch> {
  const resource = new Resource(true)
  const groups = new Map<string, WireWriter>()
  const walker = new ChunkWalker()
  let last = ''
  for (const chunk of batch.chunks) {
    walker.reset(chunk)
    while (walker.nextResource()) {
      resource.point(chunk, walker.resourceStart, walker.resourceEnd)
      const word = name(resource)
      if (groups.size < MOST_GROUPS || groups.has(word)) last = word
      let group = groups.get(last)
      if (group === undefined) groups.set(last, (group = new WireWriter(1024)))
      group.tag(1, LEN).varint(walker.resourcesEnd - walker.resourcesStart)
      group.rawRange(chunk, walker.resourcesStart, walker.resourcesEnd)
    }
  }
  if (groups.size === 1) return new Map([[last, batch]])
  return new Map([...groups].map(([word, writer]) => [word, batch.with([writer.take()])]))
}
