/**
 * One connection must not mean one core: connections are spread over the shards by the kernel, and two of them land on the same one of
 * two shards half the time. A shard that is busy therefore hands whole requests to one that is idle.
 */
import type { Consumer } from '../component/define.ts'
import type { Batch } from '../otlp/batch.ts'
import type { Environment } from './environment.ts'

/** Event-loop utilization above which a shard gives work away, and below which one gets it. */
const BUSY = 0.8
const IDLE = 0.6
/** Requests smaller than this cost less to process than to hand over. */
const MIN_BYTES = 4096

export function balance(next: Consumer, stage: string, environment: Environment): Consumer {
  const { links, shard, shared } = environment
  if (links.length < 2) return next
  const idlest = (): number => {
    let best = -1
    let least = IDLE
    for (let other = 0; other < links.length; other++) {
      const utilization = other === shard ? 1 : shared.utilization(other)
      if (utilization < least && links[other]?.connected) {
        least = utilization
        best = other
      }
    }
    return best
  }
  return {
    consume(batch) {
      if (batch.byteLength < MIN_BYTES || shared.utilization(shard) < BUSY) return next.consume(batch)
      const target = links[idlest()]
      if (target === undefined) return next.consume(batch)
      return target.send(stage, batch, ownsItsBuffers(batch))
    },
    refusal: () => next.refusal?.(),
    releases: next.releases === true, // What goes to another shard is copied, or changes its owner for good.
  }
}

/** A chunk that fills its buffer shares it with nobody: the buffer can change threads without a copy. */
function ownsItsBuffers(batch: Batch): boolean {
  return batch.chunks.every((chunk) => chunk.byteLength === chunk.buffer.byteLength)
}
