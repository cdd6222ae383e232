/**
 * `jaeger` exporter: sends spans to Jaeger by its own protocol, gRPC jaeger.api_v2, port 14250.
 *
 *     exporters:
 *       jaeger:
 *         endpoint: jaeger-collector:14250
 *         tls: { insecure: true }
 *
 * The Collector removed it in 2023, since Jaeger itself takes OTLP from 1.35 on; it is here for files that
 * still have it. Spans of equal resources go out as one request. When some requests of a batch fail, only
 * those are sent again.
 */
import { z } from 'zod'
import { defineExporter } from '../../component/define.ts'
import { PartialError } from '../../component/partial-error.ts'
import { isRetryable, RetryableError, toError } from '../../errors.ts'
import { checkGrpcClient, grpcClientFields } from '../../net/client-fields.ts'
import { GrpcClient, parseGrpcEndpoint } from '../../net/grpc-client.ts'
import type { Batch } from '../../otlp/batch.ts'
import { queueField, retryField, sendingSettings, timeoutField } from '../../sending/fields.ts'
import { groupByResource } from './group.ts'
import { encodePostSpans } from './translate.ts'

const config = z
  .strictObject({
    endpoint: z
      .string({ error: 'endpoint is required: host:port of the collector of Jaeger' })
      .refine((text) => parseGrpcEndpoint(text) !== undefined, { error: 'expected host:port' }),
    ...grpcClientFields(),
    timeout: timeoutField('5s'),
    retry_on_failure: retryField(),
    sending_queue: queueField(),
  })
  .superRefine(checkGrpcClient)

const POST_SPANS = '/jaeger.api_v2.CollectorService/PostSpans'
/** Requests of one batch that are under way at a time. */
const CONCURRENT_CALLS = 8

export default defineExporter({
  type: 'jaeger',
  stability: 'deprecated',
  summary: 'Sends traces to Jaeger by its own gRPC protocol; otlp_grpc to port 4317 replaces it.',
  signals: ['traces'],
  config,
  telemetry: {},
  sending: (config) => sendingSettings(config),
  create({ config, logger, host }) {
    logger.warn('the jaeger exporter is deprecated: send to port 4317 of Jaeger with otlp_grpc instead')
    const client = new GrpcClient(config, host)
    return {
      async start() {
        client.start()
      },
      drain: () => client.drain(),
      shutdown: () => client.shutdown(),
      consume: (batch, attempt) =>
        postAll(batch, async (message) => {
          await client.call(POST_SPANS, [message], config.timeout, attempt, batch.context)
        }),
    }
  },
})

interface Progress {
  sentSpans: number
  droppedSpans: number
  retryAfterMs: number | undefined
  readonly failedPieces: Uint8Array[]
  error: Error | undefined
}

/**
 * Posts the spans of each resource. Once a request has failed retryably, those not yet begun are kept back.
 */
async function postAll(batch: Batch, post: (message: Uint8Array) => Promise<void>): Promise<void> {
  const groups = groupByResource(batch.chunks)
  const progress: Progress = {
    sentSpans: 0,
    droppedSpans: 0,
    retryAfterMs: undefined,
    failedPieces: [],
    error: undefined,
  }
  let next = 0
  const work = async () => {
    while (next < groups.length) {
      const pieces = groups[next++]!
      if (progress.failedPieces.length > 0) progress.failedPieces.push(...pieces)
      else await postOne(pieces, post, progress)
    }
  }
  await Promise.all(Array.from({ length: Math.min(CONCURRENT_CALLS, groups.length) }, work))
  const { error } = progress
  if (!error) return
  if (progress.sentSpans === 0 && progress.droppedSpans === 0) throw error
  if (progress.sentSpans === 0 && progress.failedPieces.length === 0) throw error
  throw new PartialError(error.message, {
    failed: progress.failedPieces.length > 0 ? batch.with(progress.failedPieces) : undefined,
    droppedItems: progress.droppedSpans,
    retryAfterMs: progress.retryAfterMs,
    cause: error,
  })
}

async function postOne(
  pieces: readonly Uint8Array[],
  post: (message: Uint8Array) => Promise<void>,
  progress: Progress,
): Promise<void> {
  const { message, spanCount } = encodePostSpans(pieces)
  if (spanCount === 0) return
  try {
    await post(message)
    progress.sentSpans += spanCount
  } catch (thrown) {
    const error = toError(thrown)
    progress.error ??= error
    if (!isRetryable(error)) {
      progress.droppedSpans += spanCount
      return
    }
    progress.failedPieces.push(...pieces)
    if (error instanceof RetryableError && error.retryAfterMs !== undefined)
      progress.retryAfterMs = Math.max(progress.retryAfterMs ?? 0, error.retryAfterMs)
  }
}
