/**
 * `loki` exporter: pushes logs to Grafana Loki, a request for each tenant.
 *
 *     exporters:
 *       loki:
 *         endpoint: http://loki:3100/loki/api/v1/push
 *         headers: { X-Scope-OrgID: team }
 *
 * The Collector removed it in 2024, since Loki itself takes OTLP from version 3 on; it is here for files that
 * still have it. When the pushes of some tenants fail, only their records are sent again.
 */
import { defineExporter } from '../../component/define.ts'
import { PartialError } from '../../component/partial-error.ts'
import { counter } from '../../component/telemetry.ts'
import { DownstreamError, isRetryable, RetryableError, toError } from '../../errors.ts'
import { HttpClient, statusError } from '../../net/http-client.ts'
import type { Batch, RequestContext } from '../../otlp/batch.ts'
import { sendingSettings } from '../../sending/fields.ts'
import { config, type LokiConfig, legacyWarnings } from './config.ts'
import { jsonBody, protobufBody } from './push-request.ts'
import { type Converted, Converter, type Push, selectRecords } from './streams.ts'

const TENANT_HEADER = 'x-scope-orgid'

const telemetry = {
  resourcesRead: counter(
    'exporter_loki_resources_read',
    '{resource}',
    'Resources whose labels and JSON were made: those that are not among the last 256 of a shard.',
  ),
}

export default defineExporter({
  type: 'loki',
  stability: 'deprecated',
  summary: 'Pushes logs to Loki; otlp_http to its /otlp endpoint replaces it.',
  signals: ['logs'],
  config,
  telemetry,
  sending: (config) => sendingSettings(config),
  create({ config, telemetry, logger, host }) {
    logger.warn('the loki exporter is deprecated: send with otlp_http to http://<loki>:3100/otlp instead')
    for (const warning of legacyWarnings(config)) logger.warn(`loki exporter: ${warning}`)
    const headers = config.headers.filter(({ name }) => name.toLowerCase() !== TENANT_HEADER)
    // The header of the tenant is set by request, so that a hint can replace it.
    const client = new HttpClient({ ...config, headers }, host)
    const converter = new Converter(config, staticTenant(config), telemetry.resourcesRead)
    const url = new URL(config.endpoint)
    const json = config.encoding === 'json'
    const type = json ? 'application/json' : 'application/x-protobuf'
    const send = async (push: Push, attempt: AbortSignal, context: RequestContext) => {
      const tenant: Record<string, string> = push.tenant === '' ? {} : { [TENANT_HEADER]: push.tenant }
      const body = json ? jsonBody(push) : protobufBody(push)
      const headers = { 'content-type': type, ...tenant }
      const response = await client.post(url, headers, [body], attempt, context)
      const { status } = response
      if (status >= 200 && status < 300) return
      throw statusError(response, url, host.clock.wallMs(), (code) => code === 429 || code >= 500)
    }
    return {
      releases: true, // Lines are copies of what they are made of, and the records of a partial failure too.
      async start() {
        client.start()
      },
      shutdown: () => client.shutdown(),
      async consume(batch, attempt) {
        const converted = converter.convert(batch, host.clock.wallMs())
        const results = await Promise.all(
          converted.pushes.map((push) =>
            send(push, attempt, batch.context).then(
              () => undefined,
              (error: unknown) => toError(error),
            ),
          ),
        )
        settle(batch, converted, results)
      },
    }
  },
})

function staticTenant(config: LokiConfig): string {
  if (config.tenant?.source === 'static') return config.tenant.value
  if (config.tenant_id) return config.tenant_id
  return config.headers.find(({ name }) => name.toLowerCase() === TENANT_HEADER)?.value.reveal() ?? ''
}

/**
 * Returns when everything was delivered; else throws an error that says what was not and whether it may be
 * sent again.
 */
function settle(batch: Batch, converted: Converted, results: readonly (Error | undefined)[]): void {
  const failed = new Set<Push>()
  let droppedItems = converted.droppedRecords
  let delivered = 0
  let retryAfterMs: number | undefined
  let first: Error | undefined
  for (const [index, push] of converted.pushes.entries()) {
    const error = results[index]
    if (!error) {
      delivered++
      continue
    }
    first ??= error
    if (!isRetryable(error)) {
      droppedItems += push.records
      continue
    }
    failed.add(push)
    if (error instanceof RetryableError && error.retryAfterMs !== undefined)
      retryAfterMs = Math.max(retryAfterMs ?? 0, error.retryAfterMs)
  }
  if (converted.droppedRecords > 0)
    first ??= new DownstreamError(`loki.format "${converted.unknownFormat}" is none of json, logfmt, raw`)
  if (!first) return
  if (failed.size === converted.pushes.length && droppedItems === 0) throw first
  if (delivered === 0 && failed.size === 0) throw first
  throw new PartialError(first.message, {
    failed: failed.size > 0 ? selectRecords(batch, converted, failed) : undefined,
    droppedItems,
    retryAfterMs,
    cause: first,
  })
}
