/**
 * Weir and the Go collector send to each other, every way that both know. Guarantee: random requests of all
 * signals arrive equal field by field; a refusal for good is one counted drop; a collector that restarts in
 * between costs nothing. Over 300 lines for the configurations of both sides.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { SIGNALS, type Signal } from '../../src/otlp/batch.ts'
import { createAuthority, createCertificate } from '../support/certificates.ts'
import { encode } from '../support/otlp.ts'
import { eventually, freePort, startGoCollector } from '../support/peers.ts'
import { startWeir } from '../support/weir.ts'
import { entries } from './support/compare.ts'
import {
  compareAll,
  GO_TELEMETRY,
  pipelines,
  postAll,
  randomRequests,
  readRequests,
  SEED,
} from './support/go-rig.ts'

console.log(`seed ${SEED}; WEIR_SEED=${SEED} repeats this run`)

const REQUESTS = 300
const LOOPBACK = '127.0.0.1'
const HTTP_COMPRESSIONS = ['none', 'gzip', 'zstd', 'snappy', 'zlib', 'deflate', 'x-snappy-framed']
const WEIR_TELEMETRY = { metrics: { level: 'none' } }

function temporaryFolder(): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'weir-go-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

interface Way {
  readonly name: string
  readonly protocol: 'grpc' | 'http'
  /** Fields of the sending exporter. */
  readonly fields: Readonly<Record<string, unknown>>
  /** Fields of the receiver at the other side. */
  readonly receiver: Readonly<Record<string, unknown>>
}

function way(
  protocol: 'grpc' | 'http',
  fields: Record<string, string>,
  receiver: Record<string, string> = {},
): Way {
  const name = [protocol, ...Object.values(fields), ...Object.values(receiver)].join('-')
  return { name, protocol, fields, receiver }
}

const WAYS = [
  ...['none', 'gzip'].map((compression) => way('grpc', { compression })),
  ...HTTP_COMPRESSIONS.map((compression) => way('http', { encoding: 'proto', compression })),
  ...['none', 'gzip', 'zstd'].map((compression) => way('http', { encoding: 'json', compression })),
]

test('Weir sends to the Go collector: all arrives, by every protocol, encoding and compression', async () => {
  using folder = temporaryFolder()
  const authority = createAuthority()
  const { cert, key } = createCertificate(authority, 'server')
  const file = (name: string, text: string) => {
    const path = join(folder.path, name)
    writeFileSync(path, text)
    return path
  }
  const goTls = { cert_file: file('server.pem', cert), key_file: file('server.key', key) }
  const ca_file = file('ca.pem', authority.cert)
  const ways: Way[] = [
    ...WAYS,
    ...['zstd', 'snappy'].map((compression) => way('grpc', { compression })),
    ...['none', 'gzip'].map((compression) => way('grpc', { compression, implementation: 'grpc-js' })),
    ...['http2', 'grpc-js'].map((implementation) => ({
      name: `grpc-tls-${implementation}`,
      protocol: 'grpc' as const,
      fields: { compression: 'none', implementation, tls: { ca_file } },
      receiver: { tls: goTls },
    })),
  ]
  const ports = await Promise.all(ways.map(() => freePort()))
  const go = await startGoCollector(
    {
      receivers: Object.fromEntries(
        ways.map(({ name, protocol, receiver }, at) => [
          `otlp/${name}`,
          { protocols: { [protocol]: { endpoint: `${LOOPBACK}:${ports[at]}`, ...receiver } } },
        ]),
      ),
      exporters: Object.fromEntries(
        ways.map(({ name }) => [`file/${name}`, { path: join(folder.path, `${name}.jsonl`) }]),
      ),
      service: {
        telemetry: GO_TELEMETRY,
        pipelines: Object.assign(
          {},
          ...ways.map(({ name }) => pipelines([`otlp/${name}`], [`file/${name}`], `/${name}`)),
        ),
      },
    },
    ports.at(WAYS.length - 1) ?? 0,
  )
  await using _stop = go
  const exporters = Object.fromEntries(
    ways.map(({ name, protocol, fields }, at) => [
      `otlp_${protocol}/${name}`,
      protocol === 'grpc'
        ? { endpoint: `${LOOPBACK}:${ports[at]}`, tls: { insecure: true }, ...fields }
        : { endpoint: `http://${LOOPBACK}:${ports[at]}`, ...fields },
    ]),
  )
  await using weir = await startWeir({
    receivers: { otlp: { protocols: { http: { endpoint: `${LOOPBACK}:0` } } } },
    exporters,
    service: { shards: 2, telemetry: WEIR_TELEMETRY, pipelines: pipelines(['otlp'], Object.keys(exporters)) },
  })
  const requests = randomRequests(REQUESTS)
  await postAll(`http://${weir.address('receivers/otlp/protocols/http')}`, requests)
  expect(await weir.stop()).toBe(0)
  expect(weir.log.filter((line) => ['warn', 'error'].includes(line.level))).toEqual([])
  await go.stop()
  for (const { name } of ways) {
    const items = compareAll(`to Go by ${name}`, readRequests(folder.path, `${name}.jsonl`), requests)
    console.log(`Weir to Go by ${name}: ${requests.length} requests, ${items} items equal`)
  }
})

test('the Go collector sends to Weir: all arrives, by every protocol, encoding and compression', async () => {
  const { cert, key } = createCertificate(createAuthority(), 'localhost')
  const secure = (protocol: 'grpc' | 'http', compression: string): Way => ({
    name: `${protocol}-tls-${compression}`,
    protocol,
    fields: { compression, tls: { insecure_skip_verify: true } },
    receiver: { tls: { cert_pem: cert, key_pem: key } },
  })
  const ways: Way[] = [
    ...WAYS,
    secure('grpc', 'none'),
    secure('grpc', 'zstd'),
    secure('http', 'gzip'),
    // Weir reads this and does not write it.
    way('http', { encoding: 'proto', compression: 'lz4' }),
    ...['none', 'gzip', 'zstd', 'snappy'].map((compression) =>
      way('grpc', { compression }, { implementation: 'http2' }),
    ),
    ...['none', 'gzip'].map((compression) => way('grpc', { compression }, { implementation: 'grpc-js' })),
  ]
  using folder = temporaryFolder()
  const port = await freePort()
  await using weir = await startWeir({
    receivers: Object.fromEntries(
      ways.map(({ name, protocol, receiver }) => [
        `otlp/${name}`,
        { protocols: { [protocol]: { endpoint: `${LOOPBACK}:0`, ...receiver } } },
      ]),
    ),
    exporters: Object.fromEntries(ways.map(({ name }) => [`file/${name}`, { path: `./${name}.jsonl` }])),
    service: {
      shards: 2,
      telemetry: WEIR_TELEMETRY,
      pipelines: Object.assign(
        {},
        ...ways.map(({ name }) => pipelines([`otlp/${name}`], [`file/${name}`], `/${name}`)),
      ),
    },
  })
  const exporters = Object.fromEntries(
    ways.map(({ name, protocol, fields }) => {
      const address = weir.address(`receivers/otlp/${name}/protocols/${protocol}`)
      return protocol === 'grpc'
        ? [`otlp/${name}`, { endpoint: address, tls: { insecure: true }, ...fields }]
        : [`otlphttp/${name}`, { endpoint: `${fields['tls'] ? 'https' : 'http'}://${address}`, ...fields }]
    }),
  )
  const go = await startGoCollector(
    {
      receivers: { otlp: { protocols: { http: { endpoint: `${LOOPBACK}:${port}` } } } },
      exporters: { ...exporters, file: { path: join(folder.path, 'go.jsonl') } },
      service: {
        telemetry: GO_TELEMETRY,
        pipelines: pipelines(['otlp'], ['file', ...Object.keys(exporters)]),
      },
    },
    port,
  )
  await using _stop = go
  const requests = randomRequests(REQUESTS)
  await postAll(`http://${LOOPBACK}:${port}`, requests)
  await go.stop()
  expect(await weir.stop()).toBe(0)
  expect(weir.log.filter((line) => ['warn', 'error'].includes(line.level))).toEqual([])
  compareAll("Go's own file", readRequests(folder.path, 'go.jsonl'), requests)
  for (const { name } of ways) {
    const items = compareAll(`from Go by ${name}`, readRequests(weir.folder, `${name}.jsonl`), requests)
    console.log(`Go to Weir by ${name}: ${requests.length} requests, ${items} items equal`)
  }
})

test('what the Go collector refuses for good is dropped once and counted; the rest arrives', async () => {
  using folder = temporaryFolder()
  const [grpcPort, httpPort, metricsPort] = [await freePort(), await freePort(), await freePort()]
  await using go = await startGoCollector(
    {
      receivers: {
        otlp: {
          protocols: {
            grpc: { endpoint: `${LOOPBACK}:${grpcPort}`, max_recv_msg_size_mib: 1 },
            http: { endpoint: `${LOOPBACK}:${httpPort}`, max_request_body_size: 1_048_576 },
          },
        },
      },
      exporters: { file: { path: join(folder.path, 'go.jsonl') } },
      service: { telemetry: GO_TELEMETRY, pipelines: pipelines(['otlp'], ['file']) },
    },
    httpPort,
  )
  const exporters = {
    otlp_grpc: { endpoint: `${LOOPBACK}:${grpcPort}`, tls: { insecure: true }, compression: 'none' },
    otlp_http: { endpoint: `http://${LOOPBACK}:${httpPort}`, compression: 'none' },
  }
  await using weir = await startWeir({
    receivers: { otlp: { protocols: { http: { endpoint: `${LOOPBACK}:0` } } } },
    exporters,
    service: {
      shards: 2,
      telemetry: {
        metrics: { readers: [{ pull: { exporter: { prometheus: { host: LOOPBACK, port: metricsPort } } } }] },
      },
      pipelines: pipelines(['otlp'], Object.keys(exporters)),
    },
  })
  const lineCount = 7
  for (const size of [10, 1_500_000, 10]) {
    const logRecords = Array.from({ length: size > 10 ? lineCount : 1 }, () => ({
      body: { stringValue: 'x'.repeat(size > 10 ? Math.ceil(size / lineCount) : size) },
    }))
    const response = await fetch(`http://${weir.address('receivers/otlp/protocols/http')}/v1/logs`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-protobuf' },
      body: encode('logs', { resourceLogs: [{ scopeLogs: [{ logRecords }] }] }),
    })
    expect(response.status).toBe(200)
  }
  const drop = (name: string) => (line: { msg: string; [field: string]: unknown }) =>
    line.msg === 'data dropped by exporter' && JSON.stringify(line).includes(name)
  for (const name of Object.keys(exporters)) {
    const line = await weir.logged(drop(name))
    console.log(`${name}: ${JSON.stringify(line)}`)
    expect(line['dropped_items']).toBe(lineCount)
  }
  const metricsUrl = `http://${LOOPBACK}:${metricsPort}/metrics`
  const counted = (text: string, metric: string, exporter: string) =>
    text
      .split('\n')
      .filter((line) => line.startsWith(metric) && line.includes(`exporter="${exporter}"`))
      .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
  for (const name of Object.keys(exporters)) {
    const text = await eventually(
      async () => (await fetch(metricsUrl)).text(),
      (page) => counted(page, 'otelcol_exporter_sent_log_records', name) === 2,
    )
    expect(counted(text, 'otelcol_exporter_send_failed_log_records', name)).toBe(lineCount)
  }
  expect(await weir.stop()).toBe(0)
  await go.stop()
  const records = readRequests(folder.path, 'go.jsonl').logs
  expect(entries('logs', records).length).toBe(4)
})

test('a Go collector that restarts, and is away for a while, costs nothing', async () => {
  using folder = temporaryFolder()
  const [grpcPort, httpPort] = [await freePort(), await freePort()]
  const config = (file: string) => ({
    receivers: {
      'otlp/grpc': { protocols: { grpc: { endpoint: `${LOOPBACK}:${grpcPort}` } } },
      'otlp/http': { protocols: { http: { endpoint: `${LOOPBACK}:${httpPort}` } } },
    },
    exporters: Object.fromEntries(
      ['grpc', 'http'].map((name) => [`file/${name}`, { path: join(folder.path, `${file}-${name}.jsonl`) }]),
    ),
    service: {
      telemetry: GO_TELEMETRY,
      pipelines: {
        ...pipelines(['otlp/grpc'], ['file/grpc'], '/grpc'),
        ...pipelines(['otlp/http'], ['file/http'], '/http'),
      },
    },
  })
  const retry_on_failure = { initial_interval: '200ms', max_interval: '1s' }
  await using weir = await startWeir({
    receivers: { otlp: { protocols: { http: { endpoint: `${LOOPBACK}:0` } } } },
    exporters: {
      otlp_grpc: { endpoint: `${LOOPBACK}:${grpcPort}`, tls: { insecure: true }, retry_on_failure },
      otlp_http: { endpoint: `http://${LOOPBACK}:${httpPort}`, retry_on_failure },
    },
    service: {
      shards: 2,
      telemetry: WEIR_TELEMETRY,
      pipelines: pipelines(['otlp'], ['otlp_grpc', 'otlp_http']),
    },
  })
  const url = `http://${weir.address('receivers/otlp/protocols/http')}`
  const lives = ['first', 'second', 'third']
  const requests = randomRequests(REQUESTS)
  const sentOf = (signal: Signal) =>
    requests.filter((one) => one.signal === signal).map(({ object }) => object)
  const share = Math.ceil(requests.length / (2 * lives.length))
  for (const [life, file] of lives.entries()) {
    const from = life * 2 * share
    await using go = await startGoCollector(config(file), httpPort)
    // While it runs, up to the moment it ends, and while it is away.
    const ending = postAll(url, requests.slice(from, from + share)).then(() => go.stop())
    await Promise.all([ending, postAll(url, requests.slice(from + share, from + 2 * share))])
  }
  await using go = await startGoCollector(config('last'), httpPort)
  const files = (name: string) =>
    [...lives, 'last'].map((file) => readRequests(folder.path, `${file}-${name}.jsonl`))
  const missing = (name: string) =>
    SIGNALS.flatMap((signal) => {
      const arrived = new Set(files(name).flatMap((life) => entries(signal, life[signal])))
      return entries(signal, sentOf(signal)).filter((entry) => !arrived.has(entry))
    })
  for (const name of ['grpc', 'http'])
    await eventually(
      async () => missing(name),
      (left) => left.length === 0,
    )
  expect(await weir.stop()).toBe(0)
  expect(weir.log.filter((line) => line.level === 'error')).toEqual([])
  expect(weir.log.some((line) => line.msg === 'sending failed; will be retried')).toBe(true)
  await go.stop()
  for (const name of ['grpc', 'http']) {
    const arrived = SIGNALS.flatMap((signal) =>
      files(name).flatMap((life) => entries(signal, life[signal])),
    ).length
    const sent = SIGNALS.flatMap((signal) => entries(signal, sentOf(signal))).length
    expect(missing(name)).toEqual([])
    console.log(
      `restarts, ${name}: ${sent} entries sent, ${arrived} arrived, ${arrived - sent} of them twice`,
    )
  }
})
