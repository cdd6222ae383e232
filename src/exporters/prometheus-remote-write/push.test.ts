import http from 'node:http'
import { describe, expect, test } from 'vitest'
import { createExporter } from '../../../test/support/create-test.ts'
import { decodeMessage, metrics, type Plain, START_TIME } from '../../../test/support/otlp.ts'
import { PartialError } from '../../component/partial-error.ts'
import { DownstreamError, RetryableError } from '../../errors.ts'
import { decodeSnappyBlock } from '../../net/snappy.ts'
import definition from './index.ts'

interface Received {
  readonly headers: http.IncomingHttpHeaders
  readonly bytes: Uint8Array
  readonly message: Plain
}
interface Answer {
  readonly status: number
  readonly headers?: Record<string, string>
  readonly body?: string
}

/** A receiver that answers by script; the last answer repeats. */
async function backend(...script: (Answer | ((request: Received) => Answer))[]) {
  const received: Received[] = []
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk) => chunks.push(chunk))
    request.on('end', () => {
      const bytes = decodeSnappyBlock(Buffer.concat(chunks), 1e8)
      const second = String(request.headers['content-type']).includes('proto=io.prometheus.write.v2.Request')
      const type = second ? 'io.prometheus.write.v2.Request' : 'prometheus.WriteRequest'
      const one = { headers: request.headers, bytes, message: decodeMessage(type, bytes) }
      received.push(one)
      const next = script.length > 1 ? script.shift() : script[0]
      const answer = typeof next === 'function' ? next(one) : (next ?? { status: 204 })
      response.writeHead(answer.status, answer.headers).end(answer.body)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  return {
    received,
    endpoint: `http://127.0.0.1:${port}/api/v1/write`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function exporter(endpoint: string, config: object = {}) {
  const made = createExporter(definition, { endpoint, ...config }, { signal: 'metrics' })
  await made.start()
  return made
}

const point = (asInt: number, attributes = {}) => ({ asInt, timeUnixNano: START_TIME, attributes })
const batch = metrics({ metrics: [{ name: 'm', gauge: { dataPoints: [point(1)] } }] })
const many = (count: number) => {
  const dataPoints = Array.from({ length: count }, (_, index) => point(index, { index: `number ${index}` }))
  return metrics({ metrics: [{ name: 'm', gauge: { dataPoints } }] })
}
const ok = { status: 204 }

describe('remote write 1.0', () => {
  test('one POST with the headers of the protocol and a snappy block; own headers cannot replace them', async () => {
    await using to = await backend(ok)
    await using made = await exporter(to.endpoint, {
      headers: { 'X-Scope-OrgID': 'a', 'Content-Type': 'text/plain', 'user-agent': 'me' },
      include_metadata_keys: ['Tenant'],
    })
    await made.consume(batch.withContext({ metadata: new Map([['tenant', ['t1', 't2']]]) }))
    const [request] = to.received
    expect(request?.headers).toMatchObject({
      'content-type': 'application/x-protobuf',
      'content-encoding': 'snappy',
      'x-prometheus-remote-write-version': '0.1.0',
      'x-scope-orgid': 'a',
      tenant: 't1, t2',
    })
    expect(request?.headers['user-agent']).toMatch(/^Weir\//)
    expect(request?.message.timeseries).toHaveLength(1)
    expect(made.meter.read('exporter_prometheusremotewrite_translated_time_series')).toBe(1)
  })

  test('nothing to send is a success without a request', async () => {
    await using to = await backend(ok)
    await using made = await exporter(to.endpoint)
    const data = { dataPoints: [point(1)], aggregationTemporality: 1, isMonotonic: true }
    await made.consume(metrics({ metrics: [{ name: 'd', sum: data }] }))
    expect(to.received).toHaveLength(0)
    expect(made.meter.read('exporter_prometheusremotewrite_failed_translations')).toBe(1)
    expect(
      made.meter.read('exporter_prometheusremotewrite_dropped_data_points', { reason: 'temporality' }),
    ).toBe(1)
  })

  test('the table of answers: what is retried and what is final', async () => {
    for (const status of [500, 502, 503, 504, 599, 429]) {
      await using to = await backend({ status, body: 'later' })
      await using made = await exporter(to.endpoint)
      await expect(made.consume(batch), String(status)).rejects.toThrow(RetryableError)
    }
    for (const status of [301, 302, 400, 401, 403, 404, 409, 413, 415, 422]) {
      await using to = await backend({ status, headers: { location: '/elsewhere' }, body: 'out of order' })
      await using made = await exporter(to.endpoint)
      const error = await made.consume(batch).catch((thrown: unknown) => thrown)
      expect(error, String(status)).toBeInstanceOf(DownstreamError)
      expect(to.received).toHaveLength(1)
    }
    await using made = await exporter('http://127.0.0.1:1/')
    await expect(made.consume(batch)).rejects.toThrow(RetryableError)
  })

  test('Retry-After of 429 and 503 is handed to the shell; the body of an error is in its message', async () => {
    await using to = await backend({ status: 429, headers: { 'retry-after': '7' }, body: 'slow down' })
    await using made = await exporter(to.endpoint)
    await expect(made.consume(batch)).rejects.toMatchObject({
      retryAfterMs: 7000,
      message: expect.stringContaining('slow down'),
    })
  })

  test('of a split batch only what failed is sent again', async () => {
    let failing = 3
    await using to = await backend(() => (failing-- > 0 ? { status: 503 } : ok))
    await using made = await exporter(to.endpoint, {
      max_batch_size_bytes: 300,
      remote_write_queue: { num_consumers: 2 },
    })
    const whole = many(40)
    await expect(made.consume(whole)).rejects.toThrow(RetryableError)
    const first = to.received.length
    await made.consume(whole)
    expect(to.received.length).toBe(first + 3)
    const delivered = to.received.flatMap(({ message }) => message.timeseries)
    const again = to.received.slice(first).flatMap(({ message }) => message.timeseries)
    expect(delivered.length - again.length).toBe(40)
    const names = new Set(delivered.map((one: Plain) => one.labels[1].value))
    expect(names.size).toBe(40)
  })

  test('what is refused for good counts as dropped, the rest as sent', async () => {
    let count = 0
    await using to = await backend(() => (count++ === 0 ? { status: 400, body: 'bad' } : ok))
    await using made = await exporter(to.endpoint, { max_batch_size_bytes: 300 })
    const error = await made.consume(many(40)).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(PartialError)
    const refused = to.received[0]?.message.timeseries.length
    expect(error).toMatchObject({ failed: undefined, droppedItems: refused, retryable: false })
  })

  test('metadata goes in requests of its own', async () => {
    await using to = await backend(ok)
    await using made = await exporter(to.endpoint, { send_metadata: true, max_batch_request_parallelism: 1 })
    const gauge = { dataPoints: [point(1)] }
    const sum = { ...gauge, isMonotonic: true, aggregationTemporality: 2 }
    await made.consume(
      metrics({
        metrics: [
          { name: 'a.b', description: 'Help.', unit: 'By', sum },
          { name: 'u', gauge, metadata: { 'prometheus.type': 'unknown' } },
        ],
      }),
    )
    expect(to.received).toHaveLength(2)
    expect(to.received[1]?.message).toEqual({
      metadata: [
        { type: 1, metricFamilyName: 'a_b_bytes_total', help: 'Help.', unit: 'bytes' },
        { metricFamilyName: 'u' },
      ],
    })
  })
})

describe('remote write 2.0', () => {
  const written = { status: 200, headers: { 'X-Prometheus-Remote-Write-Samples-Written': '1' } }
  const second = { protobuf_message: 'io.prometheus.write.v2.Request' }

  test('symbols, sorted references, metadata and start times', async () => {
    await using to = await backend(written)
    await using made = await exporter(to.endpoint, second)
    const counter = { ...point(5, { 'a.b': 'x', z: 'x' }), startTimeUnixNano: START_TIME - 1_000_000_000n }
    await made.consume(
      metrics({
        metrics: [
          {
            name: 'c',
            description: 'Help.',
            unit: 's',
            sum: { dataPoints: [counter], isMonotonic: true, aggregationTemporality: 2 },
          },
        ],
      }),
    )
    const [request] = to.received
    expect(request?.headers['x-prometheus-remote-write-version']).toBe('2.0.0')
    const { symbols, timeseries } = request?.message ?? {}
    expect(symbols).toEqual(['', '__name__', 'c_seconds_total', 'a_b', 'x', 'z', 'Help.', 'seconds'])
    expect(timeseries).toEqual([
      {
        labelsRefs: [1, 2, 3, 4, 5, 4],
        samples: [
          {
            value: 5,
            timestamp: String(START_TIME / 1_000_000n),
            startTimestamp: String(START_TIME / 1_000_000n - 1000n),
          },
        ],
        metadata: { type: 1, helpRef: 6, unitRef: 7 },
      },
    ])
    expect(made.meter.read('exporter_prometheusremotewrite_written_samples')).toBe(1)
  })

  test('each request has a table of its own, and several samples stay one series', async () => {
    await using to = await backend(written)
    await using made = await exporter(to.endpoint, { ...second, max_batch_size_bytes: 400 })
    const points = [point(2), { ...point(1), timeUnixNano: START_TIME - 5_000_000n }]
    const rest = Array.from({ length: 30 }, (_, index) => point(index, { index: `number ${index}` }))
    await made.consume(metrics({ metrics: [{ name: 'm', gauge: { dataPoints: [...points, ...rest] } }] }))
    const seen: string[] = []
    for (const { message, bytes } of to.received) {
      expect(bytes.length).toBeLessThan(500)
      expect(message.symbols[0]).toBe('')
      expect(new Set(message.symbols).size).toBe(message.symbols.length)
      for (const series of message.timeseries) {
        const labels = series.labelsRefs.map((reference: number) => message.symbols[reference])
        seen.push(labels.join('='))
        if (labels.length === 2) expect(series.samples.map((sample: Plain) => sample.value)).toEqual([1, 2])
      }
    }
    expect(seen).toHaveLength(31)
    expect(new Set(seen).size).toBe(31)
  })

  test('415, or a success that tells of nothing written, falls back to 1.0 for good', async () => {
    for (const answer of [{ status: 415 }, { status: 204 }]) {
      await using to = await backend(answer, ok)
      await using made = await exporter(to.endpoint, second)
      await made.consume(batch)
      await made.consume(many(1))
      const versions = to.received.map(({ headers }) => headers['x-prometheus-remote-write-version'])
      expect(versions).toEqual(['2.0.0', '0.1.0', '0.1.0'])
    }
    await using to = await backend(written)
    await using made = await exporter(to.endpoint, second)
    await made.consume(batch)
    await made.consume(many(1))
    expect(to.received.map(({ headers }) => headers['x-prometheus-remote-write-version'])).toEqual([
      '2.0.0',
      '2.0.0',
    ])
  })
})

describe('configuration', () => {
  const problems = (config: object) => {
    const result = definition.config.safeParse(config)
    return (result.error?.issues ?? []).map((issue) => `${issue.path.join('.')}: ${issue.message}`)
  }
  const sending = (config: object) => definition.sending?.(definition.config.parse(config))

  test('defaults are those of the Go collector, and batches go one after the other', () => {
    expect(sending({})).toMatchObject({
      timeoutMs: 5000,
      retry: { enabled: true, initialIntervalMs: 50, maxIntervalMs: 30_000, maxElapsedTimeMs: 300_000 },
      queue: { numConsumers: 1, queueSize: 10_000, sizer: 'requests' },
    })
    expect(sending({ remote_write_queue: { enabled: false } })?.queue).toBeUndefined()
    expect(sending({ sending_queue: { storage: 'file_storage/a' } })?.queue?.storage).toBe('file_storage/a')
  })

  test('what cannot work is refused', () => {
    expect(problems({ wal: { directory: '/x' } })[0]).toContain('sending_queue.storage')
    expect(problems({ sending_queue: { queue_size: 5 } })).toHaveLength(1)
    const stored = { sending_queue: { storage: 'file_storage' } }
    expect(problems({ ...stored, remote_write_queue: { enabled: false } })[0]).toContain('needs a queue')
    expect(problems({ remote_write_queue: { queue_size: 0 } })[0]).toContain('remote_write_queue.queue_size')
    expect(problems({ external_labels: { a: '' } })).toHaveLength(1)
    expect(problems({ max_batch_size_bytes: -1 })).toHaveLength(1)
    expect(problems({ max_batch_request_parallelism: 0 })).toHaveLength(1)
    expect(problems({ compression: 'gzip' })).toHaveLength(1)
    expect(problems({ translation_strategy: 'NoTranslation' })).toHaveLength(1)
    expect(problems({ include_metadata_keys: ['User-Agent'] })).toHaveLength(1)
    expect(problems({ endpoint: 'no url' })).toHaveLength(1)
    expect(
      problems({
        resource_to_telemetry_conversion: { enabled: true },
        resource_constant_labels: { included: ['*'] },
      }),
    ).toHaveLength(1)
    expect(problems({ http: { nonsense: 1 } })).toHaveLength(1)
  })

  test('HTTP fields may stand under http', () => {
    const parsed = definition.config.parse({ http: { endpoint: 'http://a:1/w', timeout: '9s' } })
    expect(parsed).toMatchObject({ endpoint: 'http://a:1/w', timeout: 9000 })
  })
})
