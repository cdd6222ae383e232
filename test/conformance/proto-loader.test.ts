/** A client that a user makes from proto/ with @grpc/proto-loader speaks with the receiver: the service definitions are right. */
import { join } from 'node:path'
import * as grpc from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { expect, test } from 'vitest'
import definition from '../../src/receivers/otlp/index.ts'
import { createReceiver } from '../support/create-test.ts'
import { decodeBatch, type Plain } from '../support/otlp.ts'

const FILES = ['trace', 'metrics', 'logs'].map((signal) => `opentelemetry/collector-${signal}.proto`)
const CALLS = [
  ['traces', 'trace', 'TraceService', { resourceSpans: [{ scopeSpans: [{ spans: [{ name: 'a' }] }] }] }],
  [
    'metrics',
    'metrics',
    'MetricsService',
    {
      resourceMetrics: [
        { scopeMetrics: [{ metrics: [{ name: 'm', gauge: { dataPoints: [{ asInt: 3 }] } }] }] },
      ],
    },
  ],
  [
    'logs',
    'logs',
    'LogsService',
    { resourceLogs: [{ scopeLogs: [{ logRecords: [{ severityText: 'INFO' }] }] }] },
  ],
] as const

test('all three services, by their definitions in proto/', async () => {
  const loaded: Plain = grpc.loadPackageDefinition(
    loadSync(FILES, { includeDirs: [join(import.meta.dirname, '../../proto')] }),
  )
  await using made = createReceiver(definition, { protocols: { grpc: { endpoint: 'localhost:0' } } })
  await made.start()
  const address = `127.0.0.1:${made.host.listeners[0]?.port}`
  for (const [signal, folder, service, request] of CALLS) {
    const Client = loaded.opentelemetry.proto.collector[folder].v1[service]
    const client = new Client(address, grpc.credentials.createInsecure())
    await new Promise<void>((resolve, reject) => {
      client.Export(request, (error: Error | null) => (error ? reject(error) : resolve()))
    })
    client.close()
    const [batch] = made.sink.take()
    expect(batch?.signal).toBe(signal)
    expect(batch?.itemCount).toBe(1)
    const text = JSON.stringify(batch && decodeBatch(batch))
    expect(text).toMatch(/"name":"a"|"asInt":"3"|"severityText":"INFO"/)
  }
})
