/**
 * The Go collector as client of a collector that asks for credentials. Guarantee: with the right ones its data arrives over
 * both protocols; with wrong ones it is told 401 and nothing arrives.
 */
import { expect, test } from 'vitest'
import { request } from '../support/http.ts'
import { HttpBackend } from '../support/http-backend.ts'
import { decode, traces } from '../support/otlp.ts'
import { freePort, startGoCollector } from '../support/peers.ts'
import { startWeir } from '../support/weir.ts'
import { GO_TELEMETRY } from './support/go-rig.ts'

const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`

function weirConfig(backend: string) {
  const auth = (authenticator: string) => ({ endpoint: 'localhost:0', auth: { authenticator } })
  return {
    receivers: { otlp: { protocols: { grpc: auth('bearertokenauth'), http: auth('basicauth') } } },
    exporters: { otlp_http: { endpoint: backend, compression: 'none' } },
    extensions: {
      bearertokenauth: { token: 'good' },
      basicauth: { htpasswd: { inline: 'ann:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/' } },
    },
    service: {
      shards: 1,
      extensions: ['bearertokenauth', 'basicauth'],
      telemetry: { metrics: { level: 'none' } },
      pipelines: { traces: { receivers: ['otlp'], exporters: ['otlp_http'] } },
    },
  }
}

test('the Go collector sends with the right credentials, and drops with the wrong ones', async () => {
  await using backend = await new HttpBackend().start()
  await using weir = await startWeir(weirConfig(backend.url))
  const listening = (protocol: string) => `127.0.0.1:${weir.port(`receivers/otlp/protocols/${protocol}`)}`
  const off = { sending_queue: { enabled: false }, retry_on_failure: { enabled: false } }
  const exporter = (protocol: string, authorization: string) => ({
    endpoint: protocol === 'grpc' ? listening(protocol) : `http://${listening(protocol)}`,
    headers: { authorization },
    ...(protocol === 'grpc' ? { tls: { insecure: true } } : {}),
    ...off,
  })
  const f = async (type: string, protocol: string, authorization: string, want: number) => {
    const port = await freePort()
    const config = {
      receivers: { otlp: { protocols: { http: { endpoint: `127.0.0.1:${port}` } } } },
      exporters: { [type]: exporter(protocol, authorization) },
      service: {
        telemetry: GO_TELEMETRY,
        pipelines: { traces: { receivers: ['otlp'], exporters: [type] } },
      },
    }
    await using go = await startGoCollector(config, port)
    expect(go.child.exitCode).toBeNull()
    const name = `${protocol} ${want}`
    const body = traces({ resource: { 'service.name': 's' }, spans: [name] }).bytes()
    // Without a queue the Go collector hands the answer on.
    const answer = await request(port, Buffer.from(body))
    expect([name, answer.status]).toEqual([name, want])
  }
  await f('otlp', 'grpc', 'Bearer good', 200)
  await f('otlp', 'grpc', 'Bearer bad', 401)
  await f('otlphttp', 'http', basic('ann:secret'), 200)
  await f('otlphttp', 'http', basic('ann:wrong'), 401)
  const names = () =>
    backend.requests.map(({ body }) => decode('traces', body).resourceSpans[0].scopeSpans[0].spans[0].name)
  await expect.poll(() => names().length).toBe(2)
  expect(names().sort()).toEqual(['grpc 200', 'http 200'])
}, 120_000)
