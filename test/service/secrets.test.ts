/**
 * Secrets of the configuration, each with a marker: whatever goes wrong beside them, no marker is written to the log, to the
 * own metrics, or to what the commands print.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { request } from '../support/http.ts'
import { HttpBackend } from '../support/http-backend.ts'
import { logs, metrics, traces } from '../support/otlp.ts'
import { freePort } from '../support/peers.ts'
import { startWeir } from '../support/weir.ts'

const root = join(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'weir-secrets-'))
afterAll(() => rmSync(folder, { recursive: true }))

const HTTP = 'receivers/otlp/protocols/http'
/** Said so that no rule could know it by its looks. */
const MARKER = 'zebra-crossing'
let count = 0
const marker = () => `${MARKER}-${++count}`

/** Every field that is opaque in the Go collector, and those that hold secrets by what they are. */
function config(backend: string, tokens: string, metricsPort: number) {
  const host = backend.replace('http://', '')
  return {
    receivers: {
      otlp: {
        protocols: { http: { endpoint: 'localhost:0' } },
      },
      'otlp/in': {
        protocols: { http: { endpoint: 'localhost:0', auth: { authenticator: 'basicauth/server' } } },
      },
      prometheus: {
        config: {
          scrape_configs: [
            {
              job_name: 'basic',
              scrape_interval: '1s',
              basic_auth: { username: 'u', password: marker() },
              static_configs: [{ targets: [host] }],
            },
            {
              job_name: 'bearer',
              scrape_interval: '1s',
              authorization: { type: 'Bearer', credentials: marker() },
              static_configs: [{ targets: [host] }],
            },
          ],
        },
      },
    },
    exporters: {
      otlp_http: {
        endpoint: `${backend}/otlp`,
        headers: { authorization: marker(), 'x-plain-name': marker() },
        retry_on_failure: { initial_interval: '100ms' },
      },
      'otlp_http/user': { endpoint: backend.replace('http://', `http://user:${marker()}@`) },
      'otlp_http/proxy': { endpoint: 'http://192.0.2.1:1', proxy_url: `http://user:${marker()}@${host}` },
      'otlp_http/oauth': { endpoint: backend, auth: { authenticator: 'oauth2client' } },
      'otlp_http/bearer': { endpoint: backend, auth: { authenticator: 'bearertokenauth' } },
      'otlp_http/basic': { endpoint: backend, auth: { authenticator: 'basicauth/client' } },
      'otlp_http/setter': { endpoint: backend, auth: { authenticator: 'headers_setter' } },
      otlp_grpc: { endpoint: host, tls: { insecure: true }, headers: { 'x-scope': marker() } },
      loki: { endpoint: `${backend}/loki/api/v1/push`, headers: { 'x-other': marker() } },
      prometheus_remote_write: { endpoint: `${backend}/api/v1/write`, headers: { authorization: marker() } },
    },
    extensions: {
      'basicauth/server': { htpasswd: { inline: `ann:${marker()}\n${marker()}\nbob:$2y$10$${marker()}` } },
      'basicauth/client': { client_auth: { username: 'u', password: marker() } },
      bearertokenauth: { tokens: [marker(), marker()] },
      oauth2client: {
        client_id: 'id',
        client_secret: marker(),
        token_url: `${tokens}/token`,
        endpoint_params: { resource: marker() },
      },
      headers_setter: {
        headers: [
          { key: 'x-a', value: marker() },
          { key: 'x-b', from_context: 'nothing', default_value: marker() },
        ],
      },
    },
    service: {
      shards: 1,
      extensions: [
        'basicauth/server',
        'basicauth/client',
        'bearertokenauth',
        'oauth2client',
        'headers_setter',
      ],
      telemetry: {
        logs: { level: 'debug' },
        metrics: {
          level: 'detailed',
          readers: [{ pull: { exporter: { prometheus: { host: 'localhost', port: metricsPort } } } }],
        },
      },
      pipelines: {
        traces: {
          receivers: ['otlp', 'otlp/in'],
          exporters: [
            ...['otlp_http', 'otlp_http/user', 'otlp_http/proxy', 'otlp_http/oauth', 'otlp_http/bearer'],
            ...['otlp_http/basic', 'otlp_http/setter', 'otlp_grpc'],
          ],
        },
        metrics: { receivers: ['otlp', 'prometheus'], exporters: ['prometheus_remote_write'] },
        logs: { receivers: ['otlp'], exporters: ['loki'] },
      },
    },
  }
}

function expectNoMarker(text: string): void {
  expect(text.split('\n').filter((line) => line.includes(MARKER))).toEqual([])
}

/** What a command prints, on both streams. */
function weir(...words: string[]): { text: string; code: number | null } {
  const run = spawnSync(process.execPath, ['src/weir.mjs', ...words], {
    cwd: root,
    encoding: 'utf8',
    timeout: 60_000,
  })
  return { text: `${run.stdout}${run.stderr}`, code: run.status }
}

test('a run in which everything is refused', async () => {
  await using backend = await new HttpBackend().start()
  await using tokens = await new HttpBackend().start()
  let requests = 0
  backend.always = (_, response) => {
    const status = [401, 403, 500, 503, 302][requests++ % 5] ?? 500
    response.writeHead(status, { location: '/elsewhere' }).end('not for you')
  }
  tokens.always = { status: 401, body: '{"error":"invalid_client"}' }
  const metricsPort = await freePort()
  const good = config(backend.url, tokens.url, metricsPort)
  await using running = await startWeir(good)
  const port = running.port(HTTP)
  const one = { resource: { 'service.name': 's' } }
  const gauge = { name: 'g', gauge: { dataPoints: [{ asInt: 1, timeUnixNano: 1n }] } }
  await request(port, traces({ ...one, spans: ['a'] }).bytes())
  await request(port, metrics({ ...one, metrics: [gauge] }).bytes(), { path: '/v1/metrics' })
  await request(port, logs({ ...one, logs: [{ body: 'line' }] }).bytes(), { path: '/v1/logs' })
  const authorization = `Basic ${Buffer.from(`ann:nearly-${MARKER}`).toString('base64')}`
  const refused = await request(running.port(HTTP.replace('otlp', 'otlp/in')), 'x', {
    headers: { authorization },
  })
  expect(refused.status).toBe(401)
  expectNoMarker(refused.body.toString())
  for (const exporter of ['loki', 'prometheus_remote_write', ...Object.keys(good.exporters).slice(0, 8)])
    await running.logged(
      (line) =>
        line['otelcol.component.id'] === exporter && (line.level === 'error' || line.level === 'warn'),
    )
  const own = await request(metricsPort, '', { method: 'GET', path: '/metrics' })
  expect(own.body.toString()).toContain('otelcol_receiver_failed_requests')
  expectNoMarker(own.body.toString())
  // A mistake beside each secret, at a reload.
  const wrong = structuredClone(good) as unknown as { exporters: object; extensions: Record<string, object> }
  for (const [id, extension] of Object.entries(wrong.extensions))
    wrong.extensions[id] = { ...extension, [`${Object.keys(extension)[0]}x`]: marker() }
  const since = running.log.length
  writeFileSync(running.configPath, JSON.stringify(wrong))
  running.signal('SIGHUP')
  await running.logged((line) => line.msg.startsWith('reload failed'), since)
  await running.stop()
  expect(running.log.length).toBeGreaterThan(20)
  expectNoMarker(running.log.map((line) => JSON.stringify(line)).join('\n'))
})

test('what the commands print of a configuration, right or wrong', () => {
  const path = join(folder, 'good.json')
  const good = config('http://127.0.0.1:1', 'http://127.0.0.1:1', 1)
  writeFileSync(path, JSON.stringify(good, null, 1))
  const valid = weir('validate', '--config', path)
  expect(valid.code).toBe(0)
  expectNoMarker(valid.text)
  const printed = weir('print-config', '--config', path)
  expect(printed.text).toContain('[redacted]')
  expect(printed.text).toContain('x-plain-name')
  expectNoMarker(printed.text)

  // Each secret of a wrong kind: the message must not repeat it.
  const wrong = JSON.parse(JSON.stringify(good), (_, value) =>
    typeof value === 'string' && value.includes(MARKER) && !value.startsWith('http')
      ? { [value]: [value] }
      : value,
  )
  writeFileSync(path, JSON.stringify(wrong, null, 1))
  const invalid = weir('validate', '--config', path)
  expect(invalid.code).toBe(1)
  // Keys are not values: a key is named when it is not known.
  const values = invalid.text.replaceAll(/unknown key "[^"]*"/g, '').replaceAll(/[\w.[\]/-]+: /g, '')
  expectNoMarker(values)
})

test('a key that is broken fails the start without a word of it', () => {
  const path = join(folder, 'key.json')
  const key_pem = `-----BEGIN PRIVATE KEY-----\n${MARKER}\n-----END PRIVATE KEY-----\n`
  const certificate = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n'
  const http = { endpoint: 'localhost:0', tls: { cert_pem: certificate, key_pem } }
  const broken = {
    receivers: { otlp: { protocols: { http } } },
    exporters: { nop: {} },
    service: {
      shards: 1,
      telemetry: { metrics: { level: 'none' } },
      pipelines: { traces: { receivers: ['otlp'], exporters: ['nop'] } },
    },
  }
  writeFileSync(path, JSON.stringify(broken))
  const started = weir('--config', path)
  expect(started.code).toBe(2)
  expect(started.text).toContain('cert_pem')
  expectNoMarker(started.text)
  expectNoMarker(weir('print-config', '--config', path).text)
})
