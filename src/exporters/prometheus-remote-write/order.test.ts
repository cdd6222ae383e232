/**
 * Scenario: the receiver answers at random with 500, 503, 429 with Retry-After, a cut connection or success, while
 * batches keep coming. Guarantee: behind the sending shell the samples of every series arrive in order, each
 * batch whole, and accepted = delivered + counted as failed.
 */
import http from 'node:http'
import { expect, test } from 'vitest'
import { createExporter } from '../../../test/support/create-test.ts'
import { decodeMessage, metrics, START_TIME } from '../../../test/support/otlp.ts'
import { systemClock } from '../../component/clock.ts'
import { decodeSnappyBlock } from '../../net/snappy.ts'
import { wrapExporter } from '../../sending/shell.ts'
import { sendingTelemetry } from '../../sending/telemetry.ts'
import definition from './index.ts'

const BATCHES = 40
const SERIES = 30

test('order per series is kept through failures and retries', async () => {
  const delivered = new Map<string, number[]>()
  const statuses: number[] = []
  let turn = 0
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk) => chunks.push(chunk))
    request.on('end', () => {
      // A fixed sequence without a short period: about half of the requests fail.
      const choice = (turn++ * 7919) % 23
      if (choice < 3) return void request.socket.destroy()
      const status = choice < 6 ? 500 : choice < 9 ? 503 : choice < 11 ? 429 : 204
      statuses.push(status)
      if (status === 204) {
        const bytes = decodeSnappyBlock(Buffer.concat(chunks), 1e8)
        for (const series of decodeMessage('prometheus.WriteRequest', bytes).timeseries) {
          const name = series.labels[1].value
          const values = delivered.get(name) ?? []
          values.push(...series.samples.map((sample: { value?: number }) => sample.value ?? 0))
          delivered.set(name, values)
        }
      }
      response.writeHead(status, { 'retry-after': '0' }).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  const config = {
    endpoint: `http://127.0.0.1:${port}/`,
    max_batch_size_bytes: 400,
    retry_on_failure: { initial_interval: '1ms', max_interval: '5ms', max_elapsed_time: '60s' },
  }
  const made = createExporter(definition, config, { signal: 'metrics' })
  const sending = definition.sending?.(definition.config.parse(config))
  const { host, logger, id } = made
  Object.defineProperty(host, 'clock', { value: systemClock }) // Retries take real time here.
  const table = sendingTelemetry('metrics')
  const telemetry = made.meter.instruments(table, {})
  const shell = wrapExporter(made.exporter, sending, { id, host, telemetry, logger, signal: 'metrics' })
  await shell.start?.()
  for (let index = 0; index < BATCHES; index++) {
    const timeUnixNano = START_TIME + BigInt(index) * 1_000_000n
    const dataPoints = Array.from({ length: SERIES }, (_, series) => ({
      asInt: index,
      timeUnixNano,
      attributes: { series: `number ${series}` },
    }))
    await shell.consume(metrics({ metrics: [{ name: 'm', gauge: { dataPoints } }] }))
  }
  const sent = () => made.meter.read(table.sent.name)
  const failed = () => made.meter.read(table.sendFailed.name)
  while (sent() + failed() < BATCHES * SERIES) await new Promise((resolve) => setTimeout(resolve, 5))
  await shell.shutdown?.(AbortSignal.timeout(5000))
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  expect(new Set(statuses)).toEqual(new Set([500, 503, 429, 204]))
  expect([sent(), failed()]).toEqual([BATCHES * SERIES, 0])
  expect(delivered.size).toBe(SERIES)
  for (const values of delivered.values()) {
    // A request whose answer was lost comes again; nothing overtakes.
    expect(values.filter((value, index) => value !== values[index - 1])).toEqual(
      Array.from({ length: BATCHES }, (_, index) => index),
    )
  }
})
