/**
 * `otlp` receiver: OTLP over gRPC and over HTTP.
 *
 *     receivers:
 *       otlp:
 *         protocols:
 *           grpc: { endpoint: localhost:4317 }
 *           http: { endpoint: localhost:4318 }
 *
 * With `storage: file_storage` a request is answered once it is stored, and stays there until it is done with
 * (durable.ts).
 *
 * A request is answered success only after the pipeline has taken its data; otherwise the answer says
 * whether sending again may help (docs/errors.md). Only signals that some pipeline takes are served. A
 * protocol is loaded when it starts: the main thread, which only reads the configuration, does without
 * either.
 */
import { defineReceiver, type ListenerClaim } from '../../component/define.ts'
import { otlpReceiverFields } from './config.ts'
import type { DurableIntake } from './durable.ts'
import { durableTelemetry } from './durable-telemetry.ts'
import type { OtlpGrpc } from './grpc.ts'
import type { OtlpHttp } from './http.ts'
import { telemetry } from './intake.ts'

export default defineReceiver({
  type: 'otlp',
  stability: 'beta',
  summary: 'Receives traces, metrics and logs in OTLP over gRPC and HTTP',
  signals: ['traces', 'metrics', 'logs'],
  config: otlpReceiverFields,
  telemetry: { ...telemetry, ...durableTelemetry },
  storage: ({ storage }) => storage ?? undefined,
  listeners({ protocols: { grpc, http } }) {
    const claims: ListenerClaim[] = []
    if (grpc)
      claims.push({
        path: ['protocols', 'grpc', 'endpoint'],
        endpoint: grpc.endpoint,
        transport: grpc.transport,
        tls: !!grpc.tls,
      })
    if (http)
      claims.push({
        path: ['protocols', 'http', 'endpoint'],
        endpoint: http.endpoint,
        transport: http.transport,
        tls: !!http.tls,
      })
    return claims
  },
  create(settings) {
    const { storage } = settings.config
    const { grpc, http } = settings.config.protocols
    const servers: (OtlpGrpc | OtlpHttp)[] = []
    let durable: DurableIntake | undefined
    return {
      async start() {
        let { next } = settings
        if (storage) {
          durable = new (await import('./durable.ts')).DurableIntake({ ...settings, storage })
          next = durable.consumers()
          await durable.start()
        }
        if (grpc) servers.push(new (await import('./grpc.ts')).OtlpGrpc(grpc, { ...settings, next }))
        if (http) servers.push(new (await import('./http.ts')).OtlpHttp(http, { ...settings, next }))
        for (const server of servers) await server.start()
      },
      async shutdown(deadline) {
        await Promise.all(servers.map((server) => server.shutdown(deadline)))
        durable?.stop()
      },
      async finish() {
        await durable?.close()
      },
    }
  },
})
