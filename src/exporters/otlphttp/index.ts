/**
 * `otlp_http` exporter (formerly `otlphttp`): sends every signal over OTLP/HTTP, as protobuf or JSON.
 *
 *     exporters:
 *       otlp_http:
 *         endpoint: https://backend:4318   # /v1/traces, /v1/metrics and /v1/logs are appended
 *
 * With the encoding `proto` the bytes of a batch are the body as they are; uncompressed they are not even
 * joined.
 */
import { z } from 'zod'
import { defineExporter } from '../../component/define.ts'
import { counter } from '../../component/telemetry.ts'
import { harmless } from '../../config/fields.ts'
import { ConfigError, DownstreamError } from '../../errors.ts'
import { checkCompression, httpClientFields, httpUrlField } from '../../net/client-fields.ts'
import { bodyText, HttpClient, type HttpResponse, statusError } from '../../net/http-client.ts'
import { type PartialSuccess, parsePartialSuccess, readPartialSuccess } from '../../net/partial-success.ts'
import { RPC_STATUS } from '../../net/wire-fields.ts'
import type { Batch, Signal } from '../../otlp/batch.ts'
import { encodeJson, JsonBuffer } from '../../otlp/json-encode.ts'
import { FieldCursor } from '../../otlp/wire.ts'
import { queueField, retryField, sendingSettings, timeoutField } from '../../sending/fields.ts'

const config = z
  .strictObject({
    endpoint: httpUrlField().optional(),
    traces_endpoint: httpUrlField().optional().describe('Whole URL, used as it is.'),
    metrics_endpoint: httpUrlField().optional().describe('Whole URL, used as it is.'),
    logs_endpoint: httpUrlField().optional().describe('Whole URL, used as it is.'),
    profiles_endpoint: harmless('profiles are not among the signals', z.string()),
    encoding: z.enum(['proto', 'json']).default('proto'),
    ...httpClientFields({ compression: 'gzip' }),
    timeout: timeoutField('30s'),
    retry_on_failure: retryField(),
    sending_queue: queueField(),
  })
  .superRefine((value, context) => {
    checkCompression(value, context)
    if (value.endpoint ?? value.traces_endpoint ?? value.metrics_endpoint ?? value.logs_endpoint) return
    context.addIssue({ code: 'custom', path: ['endpoint'], message: 'at least one endpoint must be given' })
  })
type Config = z.output<typeof config>

const telemetry = {
  rejected: counter(
    'exporter_otlp_partial_success_rejected_items',
    '{items}',
    'Items that the destination rejected although it answered success.',
  ),
}

export default defineExporter({
  type: 'otlp_http',
  deprecatedTypes: ['otlphttp'],
  stability: 'beta',
  summary: 'Sends traces, metrics and logs over OTLP/HTTP, as protobuf or JSON.',
  signals: ['traces', 'metrics', 'logs'],
  config,
  telemetry,
  sending: (config) => sendingSettings(config),
  create({ id, config, telemetry, logger, host, signal }) {
    const client = new HttpClient(config, host)
    const url = signalUrl(id, config, signal)
    const json = config.encoding === 'json'
    const headers = { 'content-type': json ? 'application/json' : 'application/x-protobuf' }
    return {
      async start() {
        client.start()
      },
      shutdown: () => client.shutdown(),
      releases: client.releases,
      async consume(batch: Batch, attempt: AbortSignal) {
        const body = json ? [jsonBody(batch)] : batch.chunks
        const response = await client.post(url, headers, body, attempt, batch.context)
        const { status } = response
        if (status < 200 || status > 299)
          throw statusError(response, url, host.clock.wallMs(), isRetryableStatus, statusMessage(response))
        const partial = readAnswer(response)
        if (!partial) return
        // Counted as sent: what was rejected would be rejected again, and the rest was taken.
        telemetry.rejected.add(Number(partial.rejected))
        logger.warn('destination rejected a part of the data', {
          rejected_items: Number(partial.rejected),
          error: partial.message,
        })
      },
    }
  },
})

/** The URL of the signal's own field as it is, else the base URL with the path appended. */
function signalUrl(id: string, config: Config, signal: Signal): URL {
  const own = config[`${signal}_endpoint`]
  if (own !== undefined) return new URL(own)
  if (config.endpoint !== undefined) return new URL(`${config.endpoint.replace(/\/+$/, '')}/v1/${signal}`)
  const message = `a pipeline sends ${signal} here: give endpoint or ${signal}_endpoint`
  throw new ConfigError([{ file: 'exporter', line: 0, column: 0, path: `exporters::${id}`, message }])
}

function jsonBody(batch: Batch): Uint8Array {
  const buffer = new JsonBuffer(batch.byteLength * 3)
  encodeJson(batch.signal, batch.chunks, buffer)
  return buffer.view() // The buffer is not used again, so the view is ours.
}

function isRetryableStatus(status: number): boolean {
  return status === 429 || status === 502 || status === 503 || status === 504
}

/**
 * An undecodable answer to a success is a permanent error, as in the Collector: nobody knows what was taken.
 */
function readAnswer(response: HttpResponse): PartialSuccess | undefined {
  const type = contentType(response)
  if (type !== 'application/x-protobuf' && type !== 'application/json') return undefined
  try {
    if (response.truncated) throw new RangeError('longer than an answer may be')
    if (type === 'application/json') return parsePartialSuccess(Buffer.from(response.body).toString('utf8'))
    return readPartialSuccess(response.body)
  } catch (cause) {
    throw new DownstreamError('the answer of the destination is no OTLP response', { cause })
  }
}

function contentType(response: HttpResponse): string {
  return (response.headers.get('content-type') ?? '').split(';', 1)[0]!.trim().toLowerCase()
}

/** The message of the google.rpc.Status in the body of an error. */
function statusMessage(response: HttpResponse): string {
  if (contentType(response) !== 'application/x-protobuf') return bodyText(response)
  try {
    const status = new FieldCursor(response.body)
    while (status.next()) if (status.number === RPC_STATUS.message) return status.string().slice(0, 500)
  } catch {
    // An error body that is broken says nothing; the status code counts.
  }
  return ''
}
