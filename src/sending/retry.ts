/**
 * Sends one batch until it is delivered, refused for good, or out of time.
 *
 * The wait before the next attempt is uniform in interval x (1 +/- randomization_factor); the interval grows
 * by the multiplier up to max_interval. A delay that the backend asks for raises the wait and never lowers
 * it. When the wait would pass max_elapsed_time or the caller's deadline, it gives up at once rather than
 * after the wait. Of a partial failure only the failed part is sent again.
 *
 * Once retries are stopped (shutdown), whatever waits gets its last attempt at once, unless the backend has
 * asked for a delay that is not over.
 */
import type { Clock } from '../component/clock.ts'
import type { RetrySettings } from '../component/define.ts'
import { PartialError } from '../component/partial-error.ts'
import { DownstreamError, isRetryable, RetryableError, ShutdownError, toError } from '../errors.ts'
import type { Batch } from '../otlp/batch.ts'
import type { Latch } from './latch.ts'

export interface Outcome {
  readonly sentItems: number
  readonly failedItems: number
  /** Why `failedItems` failed; undefined when all were sent. Never a PartialError. */
  readonly error: Error | undefined
}

export interface RetryOptions {
  readonly retry: RetrySettings
  readonly clock: Clock
  /** Trips when the process stops: from then on nothing waits. */
  readonly stopped: Latch
  /** One attempt, with its own time limit. */
  readonly attempt: (batch: Batch) => Promise<void>
  readonly onAttempt: (error: Error | undefined) => void
  readonly onWait: (error: Error, waitMs: number, batch: Batch) => void
  /** From 0 to 1; replaced in tests. */
  readonly random: () => number
}

/** A backoff of 0 would be a busy loop. */
const SHORTEST_WAIT_MS = 1

export async function sendWithRetry(
  batch: Batch,
  deadlineMs: number | undefined,
  options: RetryOptions,
): Promise<Outcome> {
  const { retry, clock, stopped } = options
  const startedMs = clock.monotonicMs()
  let intervalMs = retry.initialIntervalMs
  let sentItems = 0
  let droppedItems = 0
  let dropped: Error | undefined
  while (true) {
    const error = await settled(options.attempt(batch))
    options.onAttempt(error)
    if (!error) return { sentItems: sentItems + batch.itemCount, failedItems: droppedItems, error: dropped }
    if (error instanceof PartialError) {
      sentItems += batch.itemCount - (error.failed?.itemCount ?? 0) - error.droppedItems
      droppedItems += error.droppedItems
      if (error.droppedItems > 0) dropped = new DownstreamError(error.message, { cause: error.cause })
      if (!error.failed) return { sentItems, failedItems: droppedItems, error: dropped }
      batch = error.failed
    }
    const giveUp = (reason: Error): Outcome => {
      return { sentItems, failedItems: droppedItems + batch.itemCount, error: withoutPart(reason) }
    }
    if (!isRetryable(error) || !retry.enabled || stopped.reason) return giveUp(error)
    const spread = 1 + retry.randomizationFactor * (2 * options.random() - 1)
    const askedMs = error instanceof RetryableError ? (error.retryAfterMs ?? 0) : 0
    const waitMs = Math.max(SHORTEST_WAIT_MS, intervalMs * spread, askedMs)
    intervalMs = Math.min(intervalMs * retry.multiplier, retry.maxIntervalMs)
    const wakeMs = clock.monotonicMs() + waitMs
    if (retry.maxElapsedTimeMs > 0 && wakeMs - startedMs > retry.maxElapsedTimeMs) return giveUp(error)
    if (deadlineMs !== undefined && wakeMs > deadlineMs) return giveUp(error)
    options.onWait(error, waitMs, batch)
    const finished = await waitUnlessStopped(waitMs, clock, stopped)
    if (!finished && askedMs > 0)
      return giveUp(new ShutdownError('stopped while waiting to retry', { cause: error }))
  }
}

function settled(promise: Promise<void>): Promise<Error | undefined> {
  return promise.then(() => undefined, toError)
}

/** True when the time has passed, false when retries were stopped meanwhile. */
function waitUnlessStopped(waitMs: number, clock: Clock, stopped: Latch): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = clock.after(waitMs, () => {
      forget()
      resolve(true)
    })
    const forget = stopped.listen(() => {
      timer.cancel()
      resolve(false)
    })
  })
}

/** The error for whoever asked: which part failed is settled here. */
function withoutPart(error: Error): Error {
  if (!(error instanceof PartialError)) return error
  return new RetryableError(error.message, { cause: error.cause, retryAfterMs: error.retryAfterMs })
}
