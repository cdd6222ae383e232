/**
 * One consumer in front of several: each gets the same batch, by reference, at the same time. One that
 * fails does not stop the others, but fails the whole call, so the caller sends everything again (spec:
 * OTLP receivers, "Concurrency").
 */
import type { Consumer } from '../component/define.ts'
import { isRetryable, type RefusedError, RetryableError, toError } from '../errors.ts'
import { canLease } from './outlet.ts'

export interface Branch {
  readonly consumer: Consumer
  /** It writes into what it gets: it is given a copy of its own. */
  readonly mutatesData: boolean
}

export function fanOut(branches: readonly Branch[]): Consumer {
  const [first] = branches
  if (first !== undefined && branches.length === 1) return first.consumer
  return {
    async consume(batch) {
      const results = await Promise.allSettled(
        branches.map((branch) => branch.consumer.consume(branch.mutatesData ? batch.copy() : batch)),
      )
      const errors = results.filter((result) => result.status === 'rejected').map((result) => result.reason)
      if (errors.length > 0) throw joinErrors(errors, batch.context.delivery !== undefined)
    },
    releases: branches.every((branch) => branch.mutatesData || branch.consumer.releases === true),
    leases: branches.every((branch) => branch.mutatesData || canLease(branch.consumer)),
    refusal() {
      let refusal: RefusedError | undefined
      for (const branch of branches) refusal ??= branch.consumer.refusal?.()
      return refusal
    },
  }
}

/**
 * Permanent if one of them is: sending again would fail there again, and repeat what the others took. But
 * nobody is asked to send again what lies in a log (`durable`): there the branches count that may still get
 * it.
 */
function joinErrors(errors: readonly unknown[], durable: boolean): Error {
  const permanent = errors.find((error) => !isRetryable(error))
  if (durable && permanent !== undefined) return toError(errors.find(isRetryable) ?? permanent)
  if (permanent !== undefined || errors.length === 1) return toError(permanent ?? errors[0])
  let retryAfterMs: number | undefined
  for (const error of errors) {
    if (error instanceof RetryableError && error.retryAfterMs !== undefined) {
      retryAfterMs = Math.max(retryAfterMs ?? 0, error.retryAfterMs)
    }
  }
  const text = errors.map((error) => toError(error).message).join('; ')
  return new RetryableError(text, { retryAfterMs, cause: errors })
}
