/**
 * Who gets into a running collector, and with what it goes to its backends: over both protocols, on several shards. Guarantee:
 * nobody without credentials is heard, and what is refused is refused before its body is sent.
 */
import { connect } from 'node:net'
import * as grpc from '@grpc/grpc-js'
import { hashSync } from 'bcryptjs'
import { expect, test } from 'vitest'
import { request } from '../support/http.ts'
import { HttpBackend } from '../support/http-backend.ts'
import { traces } from '../support/otlp.ts'
import { startWeir } from '../support/weir.ts'

const EXPORT = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
const GRPC = 'receivers/otlp/protocols/grpc'
const HTTP = 'receivers/otlp/protocols/http'
const body = Buffer.from(traces({ resource: { 'service.name': 's' }, spans: ['a'] }).bytes())

function config(backend: string) {
  const auth = (authenticator: string) => ({ endpoint: 'localhost:0', auth: { authenticator } })
  return {
    receivers: {
      otlp: {
        protocols: {
          grpc: { ...auth('bearertokenauth'), include_metadata: true },
          http: { ...auth('basicauth/server'), include_metadata: true },
        },
      },
    },
    processors: { batch: { timeout: '50ms', metadata_keys: ['tenant'] } },
    exporters: {
      'otlp_http/oauth': {
        endpoint: `${backend}/oauth`,
        compression: 'none',
        auth: { authenticator: 'oauth2client' },
      },
      'otlp_http/tenant': {
        endpoint: `${backend}/tenant`,
        compression: 'none',
        auth: { authenticator: 'headers_setter' },
      },
      'otlp_http/basic': { endpoint: `${backend}/basic`, auth: { authenticator: 'basicauth/client' } },
    },
    extensions: {
      bearertokenauth: { token: 'good' },
      'basicauth/server': { htpasswd: { inline: `ann:${hashSync('right', 5)}` } },
      'basicauth/client': { client_auth: { username: 'weir', password: 'pass' } },
      oauth2client: { client_id: 'id', client_secret: 'secret', token_url: `${backend}/token` },
      headers_setter: {
        headers: [{ key: 'X-Scope-OrgID', from_context: 'tenant', default_value: 'nobody' }],
      },
    },
    service: {
      shards: 2,
      extensions: [
        'bearertokenauth',
        'basicauth/server',
        'basicauth/client',
        'oauth2client',
        'headers_setter',
      ],
      telemetry: { metrics: { level: 'none' } },
      pipelines: {
        traces: {
          receivers: ['otlp'],
          processors: ['batch'],
          exporters: ['otlp_http/oauth', 'otlp_http/tenant', 'otlp_http/basic'],
        },
      },
    },
  }
}

function call(port: number, headers: Readonly<Record<string, string>>): Promise<number> {
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure())
  const metadata = new grpc.Metadata()
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value)
  const same = (bytes: Buffer) => bytes
  return new Promise((resolve) => {
    client.makeUnaryRequest(EXPORT, same, same, body, metadata, (error) => {
      client.close()
      resolve(error?.code ?? 0)
    })
  })
}

/** What is answered to a head that promises 10 MB, of which nothing is sent. */
function answerToHead(port: number, authorization: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () =>
      socket.write(
        `POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\nContent-Length: 10000000\r\n` +
          `Authorization: ${authorization}\r\n\r\n`,
      ),
    )
    socket.setTimeout(10_000, () => reject(new Error('no answer')))
    socket.once('data', (data) => {
      resolve(data.toString())
      socket.destroy()
    })
    socket.on('error', reject)
  })
}

test('both protocols ask for credentials, and backends get those that are theirs', async () => {
  await using backend = await new HttpBackend().start()
  const answers = { status: 200, headers: { 'content-type': 'application/json' } }
  let tokens = 0
  const accepted = 't2'
  backend.always = (received, response) => {
    const isToken = received.url === '/token'
    const refused =
      received.url.startsWith('/oauth') && received.headers.authorization !== `Bearer ${accepted}`
    response.writeHead(refused ? 401 : answers.status, answers.headers)
    response.end(isToken ? `{"access_token":"t${++tokens}","expires_in":3600}` : '{}')
  }
  await using weir = await startWeir(config(backend.url))
  const port = weir.port(HTTP)
  const basic = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` })
  const post = (headers: Record<string, string>) => request(port, body, { headers })

  for (const headers of [{}, basic('ann:wrong'), basic('bob:right'), { authorization: 'Bearer good' }]) {
    const answer = await post(headers)
    expect([answer.status, answer.headers['www-authenticate']]).toEqual([
      401,
      'Basic realm="weir", charset="UTF-8"',
    ])
  }
  expect(await answerToHead(port, 'Basic bm8Kbm8=')).toMatch(/^HTTP\/1\.1 401 /)
  for (const headers of [{}, { authorization: 'Bearer bad' }, basic('ann:right')])
    expect(await call(weir.port(GRPC), headers)).toBe(grpc.status.UNAUTHENTICATED)
  expect(backend.requests).toEqual([])

  expect((await post({ ...basic('ann:right'), tenant: 'acme' })).status).toBe(200)
  expect(await call(weir.port(GRPC), { authorization: 'Bearer good', tenant: 'umbrella' })).toBe(0)
  const sent = (path: string) => backend.requests.filter(({ url }) => url === `${path}/v1/traces`)
  await expect
    .poll(() => sent('/oauth').filter((one) => one.headers.authorization === 'Bearer t2').length > 0)
    .toBe(true)
  await expect
    .poll(() =>
      sent('/tenant')
        .map((one) => one.headers['x-scope-orgid'])
        .sort(),
    )
    .toEqual(['acme', 'umbrella'])
  await expect.poll(() => sent('/basic').length).toBe(2)
  for (const one of sent('/basic'))
    expect(one.headers.authorization).toBe(`Basic ${Buffer.from('weir:pass').toString('base64')}`)
})
