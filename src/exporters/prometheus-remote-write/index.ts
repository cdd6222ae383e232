/**
 * `prometheus_remote_write` exporter (formerly `prometheusremotewrite`): metrics to anything that speaks Prometheus
 * remote write 1.0 or 2.0.
 *
 *     exporters:
 *       prometheus_remote_write:
 *         endpoint: http://prometheus:9090/api/v1/write
 *         resource_to_telemetry_conversion: { enabled: true }
 *
 * The samples of a series leave in the order in which they came: all series of a service meet on one shard, one batch
 * is sent after the other, and a series is in one request of a batch only. With the queue on the disk (sending_queue.storage)
 * all series meet on the first shard, so that the order outlives the process and its number of shards.
 */
import { defineExporter } from '../../component/define.ts'
import { counter } from '../../component/telemetry.ts'
import { HttpClient, type HttpResponse } from '../../net/http-client.ts'
import type { Batch } from '../../otlp/batch.ts'
import { keepsUtf8 } from '../../prometheus/naming.ts'
import {
  clientConfigOf,
  config,
  familyOptions,
  limitBytesOf,
  parallelOf,
  RW1,
  RW2,
  reservedHeaders,
  sendingOf,
} from './config.ts'
import { metadataRequests } from './families.ts'
import { makePush, type Push, type Pushes, sendPush, UnknownVersionError } from './push.ts'
import { cutRequests } from './requests.ts'
import { type DropReason, Translator } from './translate.ts'
import { cutRequests2 } from './version-2.ts'

const telemetry = {
  failed: counter(
    'exporter_prometheusremotewrite_failed_translations',
    '{metric}',
    'Metrics that could not be translated, whole or in part.',
  ),
  dropped: counter(
    'exporter_prometheusremotewrite_dropped_data_points',
    '{datapoint}',
    'Data points that remote write cannot express, by reason.',
    ['reason'],
  ),
  series: counter(
    'exporter_prometheusremotewrite_translated_time_series',
    '{timeseries}',
    'Series made from data points.',
  ),
  batches: counter('exporter_prometheusremotewrite_sent_batches', '{batch}', 'Requests sent with success.'),
  writtenSamples: counter(
    'exporter_prometheusremotewrite_written_samples',
    '{sample}',
    'Samples that receivers of remote write 2.0 report as written.',
  ),
  writtenHistograms: counter(
    'exporter_prometheusremotewrite_written_histograms',
    '{histogram}',
    'Native histograms that receivers of remote write 2.0 report as written.',
  ),
  writtenExemplars: counter(
    'exporter_prometheusremotewrite_written_exemplars',
    '{exemplar}',
    'Exemplars that receivers of remote write 2.0 report as written.',
  ),
}

const HEADERS_1 = {
  'content-type': 'application/x-protobuf',
  'content-encoding': 'snappy',
  'x-prometheus-remote-write-version': '0.1.0',
}
const HEADERS_2 = {
  'content-type': `application/x-protobuf;proto=${RW2}`,
  'content-encoding': 'snappy',
  'x-prometheus-remote-write-version': '2.0.0',
}

export default defineExporter({
  type: 'prometheus_remote_write',
  deprecatedTypes: ['prometheusremotewrite'],
  stability: 'beta',
  summary: 'Sends metrics to Prometheus and compatible stores by remote write 1.0 or 2.0.',
  signals: ['metrics'],
  affinity: 'series',
  config,
  telemetry,
  sending: sendingOf,
  create({ config, telemetry, logger, host }) {
    const client = new HttpClient(clientConfigOf(config), host)
    const url = new URL(config.endpoint)
    const parallel = parallelOf(config)
    const limitBytes = limitBytesOf(config)
    const pushes: Pushes = new WeakMap()
    const wallMs = () => host.clock.wallMs()
    const onDropped = (reason: DropReason, metric: string, points: number) => {
      telemetry.failed.add(1)
      telemetry.dropped.with({ reason }).add(points)
      if (logger.debugEnabled)
        logger.debug('metric cannot be sent by remote write', { reason, metric, points })
    }
    let message: typeof RW1 | typeof RW2 = config.protobuf_message
    const translatorOf = () => new Translator(familyOptions(config, message), limitBytes, onDropped)
    let translator = translatorOf()

    const translate = (batch: Batch): Push => {
      translator.translate(batch.chunks)
      const { table, families } = translator
      telemetry.series.add(table.count)
      const second = message === RW2
      const requests = second ? cutRequests2(table, families) : cutRequests(table)
      const metadata = config.send_metadata && !second ? metadataRequests(families, limitBytes) : []
      return makePush([...requests, ...metadata], batch.itemCount)
    }

    const check = (response: HttpResponse): Error | undefined => {
      telemetry.batches.add(1)
      if (message === RW1) return undefined
      const written = (what: string) => response.headers.get(`x-prometheus-remote-write-${what}-written`)
      const counts = [written('samples'), written('histograms'), written('exemplars')]
      if (counts.every((count) => count === undefined))
        return new UnknownVersionError('the receiver does not know remote write 2.0 and stored nothing')
      telemetry.writtenSamples.add(Number(counts[0] ?? 0) || 0)
      telemetry.writtenHistograms.add(Number(counts[1] ?? 0) || 0)
      telemetry.writtenExemplars.add(Number(counts[2] ?? 0) || 0)
      return undefined
    }

    const send = async (batch: Batch, attempt: AbortSignal): Promise<void> => {
      let push = pushes.get(batch)
      if (!push) {
        push = translate(batch)
        pushes.set(batch, push)
      }
      const headers = { ...forwardedHeaders(batch, config.include_metadata_keys) }
      Object.assign(headers, message === RW2 ? HEADERS_2 : HEADERS_1)
      const { context } = batch
      await sendPush(push, { client, url, headers, context, parallel, wallMs, check }, attempt)
    }

    /** True when the receiver does not know 2.0 and names can be written in 1.0. From then on 1.0 is spoken. */
    const fallsBack = (push: Push | undefined): boolean => {
      const refused = push?.results.some((result) => result instanceof UnknownVersionError)
      const { strategy } = familyOptions(config, RW1).base
      return message === RW2 && refused === true && !keepsUtf8(strategy)
    }

    return {
      async start() {
        client.start()
        const reserved = reservedHeaders(config)
        if (reserved.length > 0)
          logger.warn('headers of the protocol cannot be replaced', { ignored_headers: reserved })
      },
      shutdown: () => client.shutdown(),
      async consume(batch, attempt) {
        try {
          await send(batch, attempt)
        } catch (error) {
          if (!fallsBack(pushes.get(batch))) throw error
          logger.warn('the receiver does not know remote write 2.0; sending 1.0 from now on', { error })
          message = RW1
          translator = translatorOf()
          pushes.delete(batch)
          await send(batch, attempt)
        }
      },
    }
  },
})

function forwardedHeaders(batch: Batch, keys: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const key of keys) {
    const values = batch.context.metadata.get(key)
    if (values && values.length > 0) headers[key] = values.join(', ')
  }
  return headers
}
