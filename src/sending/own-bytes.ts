/** A queued request that another queue is to take over. */
import type { Batch } from '../otlp/batch.ts'
import type { Entry } from './batcher.ts'

/**
 * The batch in memory of its own, when it lies in memory that is lent to this queue: the leases end with its
 * entries, and the other queue may know nothing of them.
 */
export function withOwnBytes(batch: Batch, entries: readonly Entry[]): Batch {
  if (entries.every((entry) => entry.batch.context.lease === undefined)) return batch
  const chunks = batch.chunks.map((chunk) => new Uint8Array(chunk))
  return batch.with(chunks, batch.itemCount).withContext({ ...batch.context, lease: undefined })
}
