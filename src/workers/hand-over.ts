/**
 * Stands in front of a stage with affinity: keeps the items that belong to this shard and hands the others to
 * the shards that own them.
 *
 * The caller is answered when every shard that received a part has taken it. If one fails, the call fails and
 * the caller sends everything again: parts that were taken are then duplicated, never lost.
 */
import type { Affinity, Consumer } from '../component/define.ts'
import { type Batch, NO_CONTEXT, type RequestContext } from '../otlp/batch.ts'
import { givePayload } from '../otlp/payload-pool.ts'
import { isAnswered } from './kept.ts'
import type { Link } from './link.ts'
import { Partitioner, traceOwners } from './partition.ts'

/** `links` has one entry per shard, undefined for this one. */
export function handOver(
  affinity: Exclude<Affinity, 'none'>,
  stage: string,
  shard: number,
  links: readonly (Link | undefined)[],
  next: Consumer,
): Consumer {
  const shards = links.length
  if (affinity === 'process') {
    const owner = links[0]
    return owner === undefined
      ? next
      : { releases: true, consume: (batch) => sendTo(owner, stage, batch, isAnswered(batch.context)) }
  }
  const partitioner = new Partitioner(shards, affinity)
  const releases = next.releases === true
  if (affinity === 'trace' && next.consumeOwned !== undefined && shards <= WHOLE_SHARDS)
    return { releases, consume: (given) => handOverWhole(stage, shard, links, next, given) }
  return {
    releases,
    async consume(given) {
      const batch = given.withContext(essential(given.context))
      const answered = isAnswered(given.context)
      const parts = divide(partitioner, batch, shards, releases)
      const taken: Promise<void>[] = []
      for (let target = 0; target < shards; target++) {
        const part = parts[target]
        if (part === undefined) continue
        const link = links[target]
        taken.push(
          target === shard || link === undefined ? next.consume(part) : sendTo(link, stage, part, answered),
        )
      }
      try {
        await settleAll(taken)
      } finally {
        if (releases) for (const part of parts) giveBack(part, batch)
      }
    },
  }
}

/** What nobody would send again waits for a shard that is down. */
function sendTo(link: Link, stage: string, batch: Batch, answered: boolean): Promise<void> {
  return answered ? link.sendKept(stage, batch, false) : link.send(stage, batch, false)
}

/**
 * Copying a request to each of few shards costs less than taking it apart for them: 1.4 to 0.4 microseconds a
 * span, by which two shards cost more than one in tail sampling. Of more shards, most would read most of it
 * in vain.
 */
export const WHOLE_SHARDS = 4

/** Lets every shard that owns some of the items have the whole batch, and take its own from it. */
async function handOverWhole(
  stage: string,
  shard: number,
  links: readonly (Link | undefined)[],
  next: Consumer,
  given: Batch,
): Promise<void> {
  const owners = traceOwners(given.chunks, links.length)
  const answered = isAnswered(given.context)
  const batch = given.withContext(essential(given.context))
  if (owners === 1 << shard) return next.consume(batch)
  const taken: Promise<unknown>[] = []
  for (let target = 0; target < links.length; target++) {
    if ((owners & (1 << target)) === 0 || target === shard) continue
    const link = links[target]
    if (link === undefined) continue
    // With one owner there is nothing to leave out.
    if (owners === 1 << target) taken.push(sendTo(link, stage, batch, answered))
    else taken.push(answered ? link.sendKept(stage, batch, true) : link.sendWhole(stage, batch))
  }
  if ((owners & (1 << shard)) !== 0 && next.consumeOwned !== undefined) taken.push(next.consumeOwned(batch))
  await settleAll(taken)
}

/** What the next stages may ask of the context. Who sent it, and by what, matters to the receiver alone. */
function essential(context: RequestContext): RequestContext {
  const { metadata, auth, deadlineMs, delivery } = context
  if (metadata.size > 0 || auth !== undefined) return { ...context, lease: undefined }
  return deadlineMs === undefined && delivery === undefined ? NO_CONTEXT : { metadata, deadlineMs, delivery }
}

function divide(
  partitioner: Partitioner,
  batch: Batch,
  shards: number,
  pooled: boolean,
): readonly (Batch | undefined)[] {
  const chunks: Uint8Array[][] = []
  const items = new Int32Array(shards)
  for (let shard = 0; shard < shards; shard++) chunks.push([])
  for (const chunk of batch.chunks) {
    const part = partitioner.divide(chunk, pooled)
    for (let shard = 0; shard < shards; shard++) {
      const bytes = part.chunks[shard]
      if (bytes === undefined) continue
      chunks[shard]!.push(bytes)
      const count = part.items[shard] ?? -1
      items[shard] = count < 0 || items[shard]! < 0 ? -1 : items[shard]! + count
    }
  }
  return chunks.map((list, shard) => (list.length === 0 ? undefined : batch.with(list, items[shard])))
}

/** The chunks that were made for a part. */
function giveBack(part: Batch | undefined, batch: Batch): void {
  if (part === undefined) return
  for (const chunk of part.chunks) if (!batch.chunks.includes(chunk)) givePayload(chunk)
}

/** Waits for all, then throws the first failure: no part is left unobserved. */
async function settleAll(taken: readonly Promise<unknown>[]): Promise<void> {
  if (taken.length === 1) {
    await taken[0]
    return
  }
  const results = await Promise.allSettled(taken)
  for (const result of results) if (result.status === 'rejected') throw result.reason
}
