/**
 * One attempt under a time limit. When the time is up, or the process gives up, the attempt's signal aborts
 * and the result is there at once, whether or not the exporter listens to the signal: a hung exporter cannot
 * hold a queue consumer.
 */
import type { Clock } from '../component/clock.ts'
import type { Exporter } from '../component/define.ts'
import { RetryableError, toError } from '../errors.ts'
import type { Batch } from '../otlp/batch.ts'
import type { Latch } from './latch.ts'

/**
 * `timeoutMs` 0 = no limit. Rejects with RetryableError on time-out and with the latch's reason when it
 * trips.
 */
export function attempt(
  exporter: Exporter,
  batch: Batch,
  timeoutMs: number,
  clock: Clock,
  cutOff: Latch,
): Promise<void> {
  if (cutOff.reason) return Promise.reject(cutOff.reason)
  return new Promise<void>((resolve, reject) => {
    const controller = new AbortController()
    const release = () => {
      timer?.cancel()
      forget()
    }
    const abort = (reason: Error) => {
      release()
      reject(reason)
      controller.abort(reason)
    }
    const timer =
      timeoutMs > 0
        ? clock.after(timeoutMs, () => abort(new RetryableError(`no answer within ${timeoutMs} ms`)))
        : undefined
    const forget = cutOff.listen(abort)
    const fail = (error: unknown) => {
      release()
      reject(toError(error))
    }
    try {
      exporter.consume(batch, controller.signal).then(() => {
        release()
        resolve()
      }, fail)
    } catch (error) {
      fail(error) // A plugin that throws instead of rejecting.
    }
  })
}
