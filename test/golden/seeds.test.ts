/**
 * The configuration files of this repository as users run them: the two collector files that the project
 * began with, unchanged and with no backend there; every example of pipelines/ and collector.yaml, with data
 * on its way through. Only ports are set from outside.
 */
import { readdirSync, readFileSync } from 'node:fs'
import http from 'node:http'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Capture } from '../integration/support/capture.ts'
import { HttpBackend } from '../support/http-backend.ts'
import { encode, type Plain } from '../support/otlp.ts'
import { connects, eventually, freePort } from '../support/peers.ts'
import { type RunningWeir, startWeir } from '../support/weir.ts'

const ROOT = join(import.meta.dirname, '../..')
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8')
const LOOPBACK = '127.0.0.1'

interface Ports {
  readonly http: number
  readonly page: number
}

/** What --set says, so that a file meets nobody's ports. `page` is for the prometheus exporter. */
async function portSettings(file: string): Promise<{ ports: Ports; settings: string[] }> {
  const [grpc, httpPort, page, own] = [await freePort(), await freePort(), await freePort(), await freePort()]
  const text = read(file)
  const reader = `{pull: {exporter: {prometheus: {host: ${LOOPBACK}, port: ${own}}}}}`
  const settings = [
    `receivers.otlp.protocols.grpc.endpoint=${LOOPBACK}:${grpc}`,
    `receivers.otlp.protocols.http.endpoint=${LOOPBACK}:${httpPort}`,
    `service.telemetry.metrics.readers=[${reader}]`,
  ]
  if (/^ {2}prometheus:\n {4}endpoint/m.test(text))
    settings.push(`exporters.prometheus.endpoint=${LOOPBACK}:${page}`)
  if (text.includes('health_check'))
    settings.push(`extensions.health_check.endpoint=${LOOPBACK}:${await freePort()}`)
  return { ports: { http: httpPort, page }, settings }
}

async function startFile(file: string, env: Record<string, string> = {}, more: readonly string[] = []) {
  const { ports, settings } = await portSettings(file)
  const weir = await startWeir(read(file), {
    env,
    arguments: [...settings, ...more].flatMap((setting) => ['--set', setting]),
  })
  return { weir, ports }
}

async function post(port: number, signal: string, body: string | Uint8Array): Promise<Response> {
  const type = typeof body === 'string' ? 'application/json' : 'application/x-protobuf'
  return fetch(`http://${LOOPBACK}:${port}/v1/${signal}`, {
    method: 'POST',
    headers: { 'content-type': type },
    body,
  })
}

const RESOURCE = {
  attributes: [
    { key: 'service.name', value: { stringValue: 'shop' } },
    { key: 'team.name', value: { stringValue: 'blue' } },
    { key: 'version', value: { stringValue: '1.2' } },
  ],
}
const START = '1790000000000000000'

/** A failed span, a counter and a log record; all must be taken. */
async function postAll(port: number): Promise<void> {
  const traceId = Buffer.from('5b8efff798038103d269b633813fc60c', 'hex')
  const span = { traceId, spanId: Buffer.alloc(8, 1), name: 'GET /', status: { code: 2 } }
  const time = { startTimeUnixNano: START, timeUnixNano: `${BigInt(Date.now()) * 1_000_000n}` }
  const sum = { aggregationTemporality: 2, isMonotonic: true, dataPoints: [{ ...time, asInt: '7' }] }
  const logRecord = { ...time, severityText: 'INFO', body: { stringValue: 'a line' } }
  const requests: [string, Uint8Array][] = [
    [
      'traces',
      encode('traces', { resourceSpans: [{ resource: RESOURCE, scopeSpans: [{ spans: [span] }] }] }),
    ],
    [
      'metrics',
      encode('metrics', {
        resourceMetrics: [{ resource: RESOURCE, scopeMetrics: [{ metrics: [{ name: 'orders', sum }] }] }],
      }),
    ],
    [
      'logs',
      encode('logs', { resourceLogs: [{ resource: RESOURCE, scopeLogs: [{ logRecords: [logRecord] }] }] }),
    ],
  ]
  for (const [signal, body] of requests) {
    const response = await post(port, signal, body)
    // A file without a pipeline for the signal serves no path for it.
    if (response.status !== 404) expect([signal, response.status]).toEqual([signal, 200])
  }
}

const page = async (port: number) => (await fetch(`http://${LOOPBACK}:${port}/metrics`)).text()

function retries(weir: RunningWeir, component: string) {
  return weir.logged(
    (line) => line.msg === 'sending failed; will be retried' && line['otelcol.component.id'] === component,
  )
}

/**
 * What the seeds promise while their backends are away. `scraped`: somebody answers the scrapes of the
 * metrics file.
 */
async function checkSeed(file: string, weir: RunningWeir, ports: Ports, scraped: boolean): Promise<void> {
  const answer = await post(ports.http, 'traces', '{"test":"data"}')
  expect(answer.status).toBe(200)
  await postAll(ports.http)
  await retries(weir, 'jaeger')
  if (file.includes('observability')) {
    await retries(weir, 'loki')
    const text = await eventually(
      () => page(ports.page),
      (got) => got.includes('caxton_orders'),
    )
    expect(text).toMatch(/^caxton_orders_total\{.*environment="production".*\} 7/m)
  } else {
    await eventually(
      () => page(ports.page),
      (got) => /^orders_total\{.*\} 7/m.test(got) && (!scraped || /^caxton_up_for\{.*\} 42/m.test(got)),
    )
  }
  expect((await post(ports.http, 'traces', '{"test":"data"}')).status).toBe(200)
  const deaths = weir.log.filter((line) => line.msg.startsWith('shard died') || line.level === 'raw')
  expect(deaths).toEqual([])
  expect(await weir.stop()).toBe(0)
}

async function startTarget(): Promise<{ readonly port: number } & AsyncDisposable> {
  const port = await freePort()
  const server = http.createServer((_request, response) =>
    response
      .writeHead(200, { 'content-type': 'text/plain; version=0.0.4' })
      .end('# TYPE caxton_up_for gauge\ncaxton_up_for 42\n'),
  )
  await new Promise<void>((resolve) => void server.listen(port, LOOPBACK, resolve))
  return {
    port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => void server.close(resolve))
    },
  }
}

const SEEDS = ['pipelines/caxton-observability.yaml', 'pipelines/caxton-metrics.yaml']

for (const file of SEEDS) {
  test.concurrent(`${file} runs with its backends away, on other ports`, { timeout: 120_000 }, async () => {
    await using target = await startTarget()
    const targets = `[{targets: ['${LOOPBACK}:${target.port}']}]`
    const job = `{job_name: caxton-metrics, scrape_interval: 10s, static_configs: ${targets}}`
    const scrape = file.includes('metrics') ? [`receivers.prometheus.config.scrape_configs=[${job}]`] : []
    const { weir, ports } = await startFile(file, {}, scrape)
    await using _stop = weir
    await checkSeed(file, weir, ports, scrape.length > 0)
  })
}

for (const file of SEEDS) {
  test(`${file} runs unchanged`, { timeout: 120_000 }, async ({ skip }) => {
    for (const port of [4317, 4318, 8888, 8889]) {
      if (!(await connects(port))) continue
      console.log(`skipped: ${file} as it is, since somebody listens on ${port}`)
      skip()
    }
    await using weir = await startWeir(read(file))
    expect((await post(4318, 'traces', '{"test":"data"}')).status).toBe(200)
    await postAll(4318)
    expect((await fetch(`http://${LOOPBACK}:8889/metrics`)).status).toBe(200)
    expect(weir.log.filter((line) => ['error', 'raw'].includes(line.level))).toEqual([])
    expect(await weir.stop()).toBe(0)
  })
}

/** Spans, points or records by name that a way out has seen. */
function names(capture: Capture, signal: 'traces' | 'metrics' | 'logs'): string[] {
  const text = (value: Plain) => value.name ?? value.body?.stringValue
  return capture
    .requests(signal)
    .flatMap((request) =>
      (request.resourceSpans ?? request.resourceMetrics ?? request.resourceLogs).flatMap((group: Plain) =>
        (group.scopeSpans ?? group.scopeMetrics ?? group.scopeLogs).flatMap((scope: Plain) =>
          (scope.spans ?? scope.metrics ?? scope.logRecords).map(text),
        ),
      ),
    )
}

async function arrives(capture: Capture, signals: readonly ('traces' | 'metrics' | 'logs')[]) {
  const wanted = { traces: 'GET /', metrics: 'orders', logs: 'a line' }
  for (const signal of signals)
    await eventually(
      async () => names(capture, signal),
      (got) => got.includes(wanted[signal]),
    )
}

type Start = (env?: Record<string, string>) => ReturnType<typeof startFile>

/** How data is seen to pass each example. */
const EXAMPLES: Record<string, (start: Start) => Promise<void>> = {
  async 'pipelines/agent.yaml'(start) {
    await using gateway = await new Capture().start()
    const { weir, ports } = await start({
      WEIR_GATEWAY: gateway.httpUrl,
      HOSTNAME: 'box',
    })
    await postAll(ports.http)
    await arrives(gateway, ['traces', 'metrics', 'logs'])
    expect(JSON.stringify(gateway.requests('logs'))).toContain(
      '"key":"host.name","value":{"stringValue":"box"}',
    )
    await weir.stop()
  },
  async 'pipelines/gateway.yaml'(start) {
    await using backend = await new Capture().start()
    const { weir, ports } = await start({ WEIR_BACKEND: backend.grpcEndpoint })
    await postAll(ports.http)
    await arrives(backend, ['traces', 'metrics', 'logs'])
    await weir.stop()
  },
  async 'pipelines/tail-sampling.yaml'(start) {
    await using backend = await new Capture().start()
    const { weir, ports } = await start({
      WEIR_BACKEND: backend.grpcEndpoint,
    })
    await postAll(ports.http)
    await arrives(backend, ['traces'])
    await weir.stop()
  },
  async 'pipelines/loki-multi-tenant.yaml'(start) {
    await using loki = await new HttpBackend().start()
    loki.always = { status: 204 }
    const { weir, ports } = await start({ LOKI_URL: loki.url })
    await postAll(ports.http)
    const [push] = await eventually(
      async () => loki.requests,
      (got) => got.length > 0,
    )
    expect(push?.url).toBe('/loki/api/v1/push')
    expect(push?.headers['x-scope-orgid']).toBe('blue')
    await weir.stop()
  },
  async 'collector.yaml'(start) {
    const { weir, ports } = await start()
    expect((await post(ports.http, 'traces', read('pipelines/sample-trace.json'))).status).toBe(200)
    await postAll(ports.http)
    const file = (name: string) => readFileSync(join(weir.folder, 'data', name), 'utf8')
    await eventually(
      async () => file('traces.jsonl'),
      (text) => text.includes('POST /checkout'),
    )
    await eventually(
      async () => file('logs.jsonl'),
      (text) => text.includes('a line'),
    )
    await eventually(
      () => page(ports.page),
      (text) => /^orders_total\{.*\} 7/m.test(text),
    )
    await weir.stop()
  },
}

test('every example has a test here', () => {
  const files = readdirSync(join(ROOT, 'pipelines'))
    .filter((name) => name.endsWith('.yaml') && !name.endsWith('.test.yaml'))
    .map((name) => `pipelines/${name}`)
  expect([...SEEDS, ...Object.keys(EXAMPLES)].sort()).toEqual(['collector.yaml', ...files].sort())
})

for (const [file, run] of Object.entries(EXAMPLES)) {
  test.concurrent(`${file} starts, passes data and stops`, { timeout: 120_000 }, async () => {
    await using started = new AsyncDisposableStack()
    let weir: RunningWeir | undefined
    await run(async (env) => {
      const one = await startFile(file, env)
      weir = started.use(one.weir)
      return one
    })
    expect(await weir?.stop()).toBe(0)
    const complaints = weir?.log.filter((line) => ['warn', 'error', 'raw'].includes(line.level))
    expect(complaints?.filter((line) => !line.msg.startsWith('the loki exporter is deprecated'))).toEqual([])
  })
}
