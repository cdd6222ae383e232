/**
 * `otlp_grpc` exporter (formerly `otlp`): sends every signal over OTLP/gRPC.
 *
 *     exporters:
 *       otlp_grpc:
 *         endpoint: backend:4317
 *         tls: { insecure: true }
 *
 * The bytes of a batch are the request as they are; nothing is decoded or encoded on the way.
 */
import { z } from 'zod'
import { defineExporter } from '../../component/define.ts'
import { counter } from '../../component/telemetry.ts'
import { DownstreamError } from '../../errors.ts'
import { checkGrpcClient, grpcClientFields } from '../../net/client-fields.ts'
import { GrpcClient, parseGrpcEndpoint } from '../../net/grpc-client.ts'
import { type PartialSuccess, readPartialSuccess } from '../../net/partial-success.ts'
import type { Signal } from '../../otlp/batch.ts'
import { queueField, retryField, sendingSettings, timeoutField } from '../../sending/fields.ts'

const config = z
  .strictObject({
    endpoint: z
      .string({ error: 'endpoint is required: host:port of the backend' })
      .refine((text) => parseGrpcEndpoint(text) !== undefined, { error: 'expected host:port' }),
    ...grpcClientFields({ compression: 'gzip' }),
    timeout: timeoutField('5s'),
    retry_on_failure: retryField(),
    sending_queue: queueField(),
  })
  .superRefine(checkGrpcClient)

const telemetry = {
  rejected: counter(
    'exporter_otlp_partial_success_rejected_items',
    '{items}',
    'Items that the destination rejected although it answered success.',
  ),
}

const METHODS: Readonly<Record<Signal, string>> = {
  traces: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
  metrics: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
  logs: '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
}

export default defineExporter({
  type: 'otlp_grpc',
  deprecatedTypes: ['otlp'],
  stability: 'beta',
  summary: 'Sends traces, metrics and logs over OTLP/gRPC.',
  signals: ['traces', 'metrics', 'logs'],
  config,
  telemetry,
  sending: (config) => sendingSettings(config),
  create({ config, telemetry, logger, host, signal }) {
    const client = new GrpcClient(config, host)
    const path = METHODS[signal]
    return {
      async start() {
        client.start()
      },
      drain: () => client.drain(),
      shutdown: () => client.shutdown(),
      releases: client.releases,
      async consume(batch, attempt) {
        const answer = await client.call(path, batch.chunks, config.timeout, attempt, batch.context)
        const partial = readAnswer(answer)
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

function readAnswer(bytes: Uint8Array): PartialSuccess | undefined {
  try {
    return readPartialSuccess(bytes)
  } catch (cause) {
    throw new DownstreamError('the answer of the destination is no OTLP response', { cause })
  }
}
