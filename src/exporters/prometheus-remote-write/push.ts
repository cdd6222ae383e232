/**
 * Sends the requests of one batch side by side and remembers what is done: an attempt that fails
 * for some of them is repeated for those alone.
 *
 * 5xx, 429 and no answer at all are worth another attempt; the shell waits (Retry-After included) and holds the
 * batches behind this one back, so that the samples of a series stay in order. Every other status is final for its
 * request. This differs from the Go collector where that loses data: there a push ends with its timeout, retries
 * included, and 429 is final.
 */
import { PartialError } from '../../component/partial-error.ts'
import { DownstreamError, isRetryable, RetryableError, toError } from '../../errors.ts'
import { bodyText, type HttpClient, type HttpResponse, statusError } from '../../net/http-client.ts'
import type { Batch, RequestContext } from '../../otlp/batch.ts'
import type { WriteRequest } from './series.ts'

/** The receiver does not speak this version of remote write: 415, or a success that tells of nothing written. */
export class UnknownVersionError extends DownstreamError {
  static override code = 'UNKNOWN_VERSION'
}

/** The requests of a batch, kept from attempt to attempt. */
export interface Push {
  readonly requests: readonly WriteRequest[]
  /** By request: undefined = to be sent, true = delivered, an error = refused for good. */
  readonly results: (true | Error | undefined)[]
  readonly items: number
}

export interface PushOptions {
  readonly client: HttpClient
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly context: RequestContext
  readonly parallel: number
  readonly wallMs: () => number
  /** Called with every success, before it counts: a v2 answer may turn out to be none. */
  readonly check: (response: HttpResponse) => Error | undefined
}

export function makePush(requests: readonly WriteRequest[], items: number): Push {
  return { requests, results: requests.map(() => undefined), items }
}

/** One attempt at all requests that are not done. Rejects when some remain or were refused. */
export async function sendPush(push: Push, options: PushOptions, attempt: AbortSignal): Promise<void> {
  const waiting = push.requests.map((_, index) => index).filter((index) => push.results[index] === undefined)
  const failures: RetryableError[] = []
  const work = async () => {
    for (let index = waiting.shift(); index !== undefined; index = waiting.shift()) {
      try {
        await sendOne(push.requests[index]!, options, attempt)
        push.results[index] = true
      } catch (cause) {
        const error = toError(cause)
        if (error instanceof RetryableError && isRetryable(error)) failures.push(error)
        else push.results[index] = error
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(options.parallel, waiting.length) }, work))
  const first = failures[0]
  if (first) {
    const askedMs = failures.map((error) => error.retryAfterMs ?? 0)
    const retryAfterMs = Math.max(...askedMs) || undefined
    throw new RetryableError(first.message, { cause: first, retryAfterMs })
  }
  refuse(push)
}

async function sendOne(request: WriteRequest, options: PushOptions, attempt: AbortSignal): Promise<void> {
  const { client, url, headers, context } = options
  const response = await client.post(url, headers, [request.block], attempt, context)
  if (response.status === 415)
    throw new UnknownVersionError(`${url.host} answered 415: ${bodyText(response)}`)
  if (response.status < 200 || response.status > 299)
    throw statusError(response, url, options.wallMs(), isRetryableStatus)
  const problem = options.check(response)
  if (problem) throw problem
}

function isRetryableStatus(status: number): boolean {
  return status >= 500 || status === 429
}

/** Requests are not counted in items, so a part of them stands for its share of the items. */
function refuse(push: Push): void {
  const refused = push.results.filter((result) => result instanceof Error)
  const first = refused[0]
  if (first === undefined) return
  if (refused.length === push.requests.length) throw first
  let series = 0
  let lost = 0
  push.requests.forEach((request, index) => {
    series += request.series
    if (push.results[index] instanceof Error) lost += request.series
  })
  if (lost === 0) throw new DownstreamError(first.message, { cause: first })
  const droppedItems = Math.max(1, Math.round((push.items * lost) / series))
  throw new PartialError(first.message, { failed: undefined, droppedItems, cause: first })
}

/** What an attempt at a batch has left, for the next attempt at the same batch. */
export type Pushes = WeakMap<Batch, Push>
