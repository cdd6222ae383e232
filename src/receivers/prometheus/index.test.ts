import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import https from 'node:https'
import net, { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { createAuthority, createCertificate } from '../../../test/support/certificates.ts'
import { createReceiver } from '../../../test/support/create-test.ts'
import { TestHost } from '../../../test/support/host.ts'
import { HttpBackend } from '../../../test/support/http-backend.ts'
import { attributesOf, decodeBatch, type Plain } from '../../../test/support/otlp.ts'
import type { Consumer } from '../../component/define.ts'
import type { LogFields, Logger } from '../../component/logger.ts'
import { RefusedError } from '../../errors.ts'
import definition from './index.ts'

class Log implements Logger {
  readonly lines: string[] = []
  readonly debugEnabled = false
  #write = (message: string, fields?: LogFields) => {
    this.lines.push(fields?.['error'] === undefined ? message : `${message}: ${fields['error']}`)
  }
  error = this.#write
  warn = this.#write
  info = this.#write
  debug() {}
  child() {
    return this
  }
}

async function until(done: () => boolean): Promise<void> {
  for (let round = 0; round < 500 && !done(); round++) await new Promise((resolve) => setTimeout(resolve, 10))
  if (!done()) throw new Error('did not come about')
}

const TEXT = { headers: { 'content-type': 'text/plain; version=0.0.4' } }
const OPEN = { headers: { 'content-type': 'application/openmetrics-text; version=1.0.0' } }

/** A target and a receiver that scrapes it each second. */
async function setUp(job: object = {}, more: object = {}, host = new TestHost(), next?: Consumer) {
  const backend = await new HttpBackend().start()
  backend.always = { ...TEXT, body: 'a 1\n' }
  const log = new Log()
  const address = new URL(backend.url).host
  const config = {
    ...more,
    config: {
      global: { scrape_interval: '1s' },
      scrape_configs: [{ job_name: 'j', static_configs: [{ targets: [address] }], ...job }],
    },
  }
  const receiver = createReceiver(definition, config, { host, logger: log, ...(next && { next }) })
  await receiver.start()
  /** Lets one interval pass and gives what came: `name value`, stale points as `name stale`. */
  let intervalMs = 999.5 // The first ends early: a target whose place is just now would be scraped twice in it.
  const scrape = async (): Promise<string[]> => {
    const before = receiver.sink.batches.length
    await receiver.clock.advance(intervalMs)
    intervalMs = 1000
    await until(() => receiver.sink.batches.length > before)
    return points(receiver.sink.take().map(decodeBatch))
  }
  return {
    ...receiver,
    backend,
    log,
    address,
    scrape,
    async [Symbol.asyncDispose]() {
      await receiver[Symbol.asyncDispose]()
      await backend[Symbol.asyncDispose]()
    },
  }
}

/** Only `up` of what a scrape adds by itself. */
function points(requests: Plain[]): string[] {
  const found: string[] = []
  for (const request of requests)
    for (const resource of request.resourceMetrics)
      for (const scope of resource.scopeMetrics)
        for (const metric of scope.metrics) {
          if (metric.name.startsWith('scrape_')) continue
          for (const point of (metric.gauge ?? metric.sum).dataPoints)
            found.push(`${metric.name} ${point.flags === 1 ? 'stale' : point.asDouble}`)
        }
  return found.sort()
}

function valuesOf(request: Plain): Record<string, number> {
  const values: Record<string, number> = {}
  for (const metric of request.resourceMetrics[0].scopeMetrics[0].metrics)
    values[metric.name] = (metric.gauge ?? metric.sum).dataPoints[0].asDouble
  return values
}

test('a scrape asks as Prometheus does and goes out in one call', async () => {
  await using made = await setUp({ params: { x: ['1', '2'] } }, { report_extra_scrape_metrics: true })
  await made.clock.advance(1000)
  await until(() => made.sink.batches.length === 1)
  const [request] = made.backend.requests
  expect(request).toMatchObject({
    method: 'GET',
    url: '/metrics?x=1&x=2',
    headers: {
      accept: [
        'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6',
        'application/openmetrics-text;version=0.0.1;q=0.5',
        'text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4',
        'text/plain;version=0.0.4;q=0.3',
        '*/*;q=0.2',
      ].join(','),
      'accept-encoding': 'gzip',
      'x-prometheus-scrape-timeout-seconds': '1',
    },
  })
  const [batch] = made.sink.take()
  if (!batch) throw new Error('no batch')
  const decoded = decodeBatch(batch)
  expect(batch.itemCount).toBe(9)
  expect(valuesOf(decoded)).toMatchObject({
    a: 1,
    up: 1,
    scrape_samples_scraped: 1,
    scrape_samples_post_metric_relabeling: 1,
    scrape_series_added: 1,
    scrape_timeout_seconds: 1,
    scrape_sample_limit: 0,
    scrape_body_size_bytes: 4,
  })
  expect(attributesOf(decoded.resourceMetrics[0].resource.attributes)).toMatchObject({
    'service.name': 'j',
    'service.instance.id': made.address,
  })
  expect(made.meter.read('scraper_scraped_metric_points', { scraper: 'j' })).toBe(1)
})

test('each interval brings one scrape; a failing target logs when it begins and when it ends', async () => {
  await using made = await setUp()
  expect(await made.scrape()).toEqual(['a 1', 'up 1'])
  made.backend.always = { status: 503 }
  expect(await made.scrape()).toEqual(['a stale', 'up 0'])
  expect(await made.scrape()).toEqual(['up 0'])
  made.backend.always = { ...OPEN, body: 'a 2\n# EOF\n' }
  expect(await made.scrape()).toEqual(['a 2', 'up 1'])
  made.backend.always = { ...OPEN, body: 'a 2\n' }
  expect(await made.scrape()).toEqual(['a stale', 'up 0'])
  expect(made.backend.requests.length).toBe(5)
  expect(made.log.lines).toEqual([
    'scrape failed: server returned HTTP status 503',
    'scrape works again',
    'scrape failed: data does not end with # EOF',
  ])
  expect(made.meter.read('scraper_errored_metric_points', { scraper: 'j' })).toBe(1)
})

test('shutdown makes everything stale, or scrapes once more', async () => {
  await using made = await setUp()
  await made.scrape()
  await made.receiver.shutdown?.(AbortSignal.timeout(5000))
  expect(points(made.sink.take().map(decodeBatch))).toEqual(['a stale', 'up stale'])
  expect(made.clock.pendingTimers).toBe(0)
  await using last = await setUp({}, { scrape_on_shutdown: true })
  await last.scrape()
  await last.receiver.shutdown?.(AbortSignal.timeout(5000))
  expect(points(last.sink.take().map(decodeBatch))).toEqual(['a 1', 'up 1'])
})

test('a target that does not answer fails at the timeout, one that hangs at shutdown does not hold it', async () => {
  await using made = await setUp({ scrape_timeout: '200ms' }, { initial_scrape_offset: '1s' })
  made.backend.always = () => {}
  await made.clock.advance(1000)
  await until(() => made.backend.requests.length === 1)
  await made.clock.advance(200)
  await until(() => made.sink.batches.length === 1)
  expect(points(made.sink.take().map(decodeBatch))).toEqual(['up 0'])
  expect(made.log.lines).toEqual(['scrape failed: no answer within 200 ms'])
  await made.clock.advance(800)
  await until(() => made.backend.requests.length === 2)
  await made.receiver.shutdown?.(AbortSignal.timeout(5000))
  expect(points(made.sink.take().map(decodeBatch))).toEqual(['up stale'])
})

test('a tick is left out while the pipeline holds the last scrape', async () => {
  let release = () => {}
  const batches: unknown[] = []
  const next = {
    consume: (batch: unknown) => {
      batches.push(batch)
      return new Promise<void>((resolve) => (release = resolve))
    },
  }
  await using made = await setUp({}, { initial_scrape_offset: '1s' }, new TestHost(), next)
  await made.clock.advance(1000)
  await until(() => batches.length === 1)
  await made.clock.advance(5000)
  expect(made.backend.requests.length).toBe(1)
  release()
  await made.clock.advance(1000)
  await until(() => batches.length === 2)
  expect(made.backend.requests.length).toBe(2)
  release()
  const stopped = made.receiver.shutdown?.(AbortSignal.timeout(5000))
  await until(() => batches.length === 3)
  release()
  await stopped
})

test('a shutdown whose pipeline holds on ends at its deadline', async () => {
  const next = { consume: () => new Promise<void>(() => {}) }
  await using made = await setUp({}, { initial_scrape_offset: '1s' }, new TestHost(), next)
  await made.clock.advance(1000)
  await until(() => made.backend.requests.length === 1)
  await made.receiver.shutdown?.(AbortSignal.timeout(50))
  expect(made.clock.pendingTimers).toBeLessThanOrEqual(1) // At most the timeout of the scrape that runs.
})

test('a proxy is asked for the targets that no_proxy does not name', async () => {
  const asked: string[] = []
  const proxy = http.createServer((request, response) => {
    asked.push(request.url ?? '')
    response.setHeader('content-type', 'text/plain').end('proxied 1\n')
  })
  proxy.on('connect', (request, socket) => {
    asked.push(request.url ?? '')
    const [host, port] = (request.url ?? '').split(':')
    const far = net.connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      far.pipe(socket).pipe(far)
    })
    for (const end of [far, socket]) end.on('error', () => {})
  })
  await new Promise<void>((resolve) => void proxy.listen(0, '127.0.0.1', resolve))
  const proxy_url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
  {
    await using made = await setUp({ proxy_url })
    expect((await made.scrape()).at(-1)).toBe('up 1')
    expect(asked.length).toBe(1)
    expect(asked[0]).toContain(made.address)
  }
  await using direct = await setUp({ proxy_url, no_proxy: '127.0.0.1' })
  expect(await direct.scrape()).toEqual(['a 1', 'up 1'])
  expect(asked.length).toBe(1)
  proxy.closeAllConnections()
  await new Promise((resolve) => proxy.close(resolve))
})

test('what the pipeline refuses is reported until it takes data again', async () => {
  await using made = await setUp()
  made.sink.fail = () => new RefusedError('memory is full')
  await made.clock.advance(1000)
  await until(() => made.host.statuses.length === 1)
  expect(made.host.statuses[0]).toMatchObject({
    status: 'recoverable_error',
    error: { message: 'memory is full' },
  })
  made.sink.fail = undefined
  await made.scrape()
  expect(made.host.statuses.map(({ status }) => status)).toEqual(['recoverable_error', 'ok'])
})

test('a connection is kept, and replaced when the target closed it', async () => {
  await using made = await setUp()
  for (let round = 0; round < 3; round++) expect(await made.scrape()).toEqual(['a 1', 'up 1'])
  expect(made.backend.connections).toBe(1)
  made.backend.script.push((_, response) => void response.destroy())
  expect(await made.scrape()).toEqual(['a 1', 'up 1'])
  expect(made.backend.connections).toBe(2)
  for (let round = 0; round < 2; round++) made.backend.script.push((_, response) => void response.destroy())
  expect(await made.scrape()).toEqual(['a stale', 'up 0'])
})

test('credentials come from the config and from files, and headers of its own go along', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'weir-'))
  const file = join(folder, 'secret')
  await writeFile(file, 'from-file\n')
  const f = async (job: object, want: string) => {
    await using made = await setUp(job)
    await made.scrape()
    expect(made.backend.requests[0]?.headers).toMatchObject({ authorization: want })
  }
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`
  await f({ basic_auth: { username: 'u', password: 'p' } }, basic('u:p'))
  await f({ basic_auth: { username: 'u', password_file: file } }, basic('u:from-file'))
  await f({ bearer_token: 't' }, 'Bearer t')
  await f({ authorization: { credentials_file: file } }, 'Bearer from-file')
  await f({ authorization: { type: 'Token', credentials: 'x' } }, 'Token x')
  await using made = await setUp({
    http_headers: { 'X-Scope': { values: ['a'], secrets: ['b'], files: [file] } },
  })
  await made.scrape()
  expect(made.backend.requests[0]?.headers['x-scope']).toBe('a, b, from-file')
  await using missing = await setUp({ bearer_token_file: join(folder, 'none') })
  expect(await missing.scrape()).toEqual(['up 0'])
  expect(missing.log.lines[0]).toContain('cannot read')
  await rm(folder, { recursive: true })
})

test('redirects are followed, without the credentials on another origin, unless they are not to be', async () => {
  await using other = await new HttpBackend().start()
  other.always = { ...TEXT, body: 'b 2\n' }
  const redirect = { status: 302, headers: { location: `${other.url}/x` } }
  await using made = await setUp({ bearer_token: 't' })
  made.backend.always = redirect
  expect(await made.scrape()).toEqual(['b 2', 'up 1'])
  expect(made.backend.requests[0]?.headers.authorization).toBe('Bearer t')
  expect(other.requests[0]?.headers.authorization).toBeUndefined()
  made.backend.always = { status: 302, headers: { location: '/again' } }
  expect(await made.scrape()).toEqual(['b stale', 'up 0'])
  expect(made.log.lines).toEqual(['scrape failed: stopped after 10 redirects'])
  await using strict = await setUp({ follow_redirects: false })
  strict.backend.always = redirect
  expect(await strict.scrape()).toEqual(['up 0'])
})

test('gzip is unpacked within the limit; another encoding is refused', async () => {
  await using made = await setUp({ body_size_limit: '1KB' }, { report_extra_scrape_metrics: true })
  const gzip = (text: string) => ({
    headers: { ...TEXT.headers, 'content-encoding': 'gzip' },
    body: gzipSync(text),
  })
  made.backend.script.push(gzip('a 5\n'), gzip(`#${' '.repeat(5000)}\na 1\n`))
  expect(await made.scrape()).toEqual(['a 5', 'up 1'])
  await made.clock.advance(1000)
  await until(() => made.sink.batches.length === 1)
  const [bomb] = made.sink.take().map(decodeBatch)
  expect(valuesOf(bomb)).toMatchObject({ up: 0, scrape_body_size_bytes: -1 })
  made.backend.script.push({ ...TEXT, body: `#${' '.repeat(1024)}\n` })
  expect(await made.scrape()).toEqual(['up 0'])
  const brotli = { ...TEXT.headers, 'content-encoding': 'br' }
  made.backend.script.push({ headers: brotli, body: brotliCompressSync('a 1\n') })
  expect(await made.scrape()).toEqual(['up 0'])
  made.backend.script.push({ ...gzip(''), body: 'not gzip' })
  expect(await made.scrape()).toEqual(['up 0'])
  expect(await made.scrape()).toEqual(['a 1', 'up 1'])
  expect(made.log.lines).toEqual([
    'scrape failed: body_size_limit exceeded (limit 1024 bytes, unpacked)',
    'scrape works again',
  ])
})

test('certificates are checked against ca_file, and skipped when told so', async () => {
  const ca = createAuthority()
  const own = createCertificate(ca, 'localhost')
  const server = https.createServer({ cert: own.cert, key: own.key }, (_, response) => response.end('a 1\n'))
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const targets = [`127.0.0.1:${(server.address() as AddressInfo).port}`]
  const f = async (tls_config: object, want: string[]) => {
    await using made = await setUp({ scheme: 'https', static_configs: [{ targets }], tls_config })
    expect(await made.scrape()).toEqual(want)
  }
  await f({ ca: ca.cert }, ['a 1', 'up 1'])
  await f({}, ['up 0'])
  await f({ insecure_skip_verify: true }, ['a 1', 'up 1'])
  await f({ ca: ca.cert, server_name: 'elsewhere' }, ['up 0'])
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

test('targets from files come, go stale and survive a file that is broken for a while', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'weir-'))
  const file = join(folder, 'targets-1.json')
  await using other = await new HttpBackend().start()
  other.always = { ...TEXT, body: 'b 2\n' }
  const write = async (text: string) => {
    await writeFile(`${file}.new`, text)
    await rename(`${file}.new`, file)
  }
  await write(JSON.stringify([{ targets: [new URL(other.url).host], labels: { env: 'prod' } }]))
  const discovery = [{ files: [join(folder, 'targets-*.json')], refresh_interval: '1s' }]
  await using made = await setUp({ static_configs: [], file_sd_configs: discovery })
  await made.clock.advance(1000)
  await until(() => made.sink.batches.length === 1)
  expect(
    attributesOf(
      decodeBatch(made.sink.take()[0]!).resourceMetrics[0].scopeMetrics[0].metrics[0].gauge.dataPoints[0]
        .attributes,
    ),
  ).toEqual({ env: 'prod' })
  await write('[{')
  await until(() => made.clock.pendingTimers > 2) // The folder said so; the refresh comes a little later.
  expect(await made.scrape()).toEqual(['b 2', 'up 1'])
  await until(() => made.log.lines.length === 1)
  expect(made.log.lines[0]).toContain('file of targets cannot be used')
  await write('[]')
  await made.clock.advance(1000)
  await until(() => points(made.sink.batches.map(decodeBatch)).includes('b stale'))
  made.sink.take()
  const before = other.requests.length
  await made.clock.advance(3000)
  expect(other.requests.length).toBe(before)
  await rm(folder, { recursive: true })
})

test('too many targets fail all scrapes of the job', async () => {
  await using made = await setUp({
    target_limit: 1,
    static_configs: [{ targets: ['127.0.0.1:1', '127.0.0.1:2'] }],
  })
  await made.clock.advance(1000)
  await until(() => made.sink.batches.length === 2)
  expect(points(made.sink.take().map(decodeBatch))).toEqual(['up 0', 'up 0'])
  expect(made.log.lines).toEqual(Array(2).fill('scrape failed: target_limit exceeded (2 targets, limit 1)'))
})

test('each target is scraped by one shard, whatever their number', async () => {
  await using backend = await new HttpBackend().start()
  backend.always = { ...TEXT, body: '' }
  const address = new URL(backend.url).host
  const static_configs = Array.from({ length: 8 }, (_, index) => ({
    targets: [address],
    labels: { n: String(index) },
  }))
  const seen: string[] = []
  for (let shard = 0; shard < 3; shard++) {
    const host = Object.assign(new TestHost(), { shard, shards: 3 })
    await using made = await setUp({ static_configs }, {}, host)
    const share = made.clock.pendingTimers
    await made.clock.advance(1000)
    await until(() => made.sink.batches.length >= share)
    for (const batch of made.sink.take())
      for (const metric of decodeBatch(batch).resourceMetrics[0].scopeMetrics[0].metrics)
        if (metric.name === 'up') seen.push(String(attributesOf(metric.gauge.dataPoints[0].attributes)['n']))
  }
  expect(seen.sort()).toEqual(['0', '1', '2', '3', '4', '5', '6', '7'])
})
