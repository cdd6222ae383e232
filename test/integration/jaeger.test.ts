/**
 * Traces to a real Jaeger by `jaeger` (api_v2) and by `otlp_grpc`, with two shards. Guarantee: the query API answers the same
 * as for traces that the Go collector sent by OTLP, but for what docs/jaeger.md lists; and that is what was sent.
 */
import { beforeAll, expect, test } from 'vitest'
import { eventually, freePort, startGoCollector, startJaeger } from '../support/peers.ts'
import { startWeir } from '../support/weir.ts'
import {
  allSpans,
  type JaegerSpan,
  jaegerInput,
  SPANS,
  spanId,
  type Tag,
  traceId,
} from './support/jaeger-traces.ts'
import { postAll } from './support/prom-query.ts'

const HTTP = 'receivers/otlp/protocols/http'
const bodies = jaegerInput().map((batch) => Buffer.concat(batch.chunks))

function config(receiver: string, exporter: string, port: number, service: object) {
  return {
    receivers: { otlp: { protocols: { http: { endpoint: receiver } } } },
    exporters: { [exporter]: { endpoint: `127.0.0.1:${port}`, tls: { insecure: true } } },
    service: {
      ...service,
      telemetry: { metrics: { level: 'none' } },
      pipelines: { traces: { receivers: ['otlp'], exporters: [exporter] } },
    },
  }
}

type Spans = ReadonlyMap<string, JaegerSpan>

function found(queryUrl: string): Promise<Spans> {
  return eventually(
    () => allSpans(queryUrl),
    (spans) => spans.size >= SPANS,
  )
}

async function throughGo(): Promise<Spans> {
  await using jaeger = await startJaeger()
  const port = await freePort()
  const address = `127.0.0.1:${port}`
  await using _ = await startGoCollector(config(address, 'otlp_grpc', jaeger.otlpGrpcPort, {}), port)
  await postAll(address, 'traces', bodies)
  return await found(jaeger.queryUrl)
}

async function throughWeir(exporter: 'jaeger' | 'otlp_grpc'): Promise<Spans> {
  await using jaeger = await startJaeger()
  const port = exporter === 'jaeger' ? jaeger.modelGrpcPort : jaeger.otlpGrpcPort
  await using weir = await startWeir(config('127.0.0.1:0', exporter, port, { shards: 2 }))
  await postAll(weir.address(HTTP), 'traces', bodies)
  expect(await weir.stop()).toBe(0)
  const spans = await found(jaeger.queryUrl)
  const response = await fetch(`${jaeger.queryUrl}/api/services`)
  const { data } = (await response.json()) as { data: string[] }
  expect(data.toSorted()).toEqual(['OTLPResourceNoServiceName', 'back', 'empty-service-name', 'front'])
  return spans
}

let go: Spans
beforeAll(async () => {
  go = await throughGo()
  expect(go.size).toBe(SPANS)
})

const FORMAT = 'internal.span.format'
const formatOf = (span: JaegerSpan) => span.tags.filter(({ key }) => key === FORMAT).map(({ value }) => value)

test('otlp_grpc: every span as from Go', async () => {
  const weir = await throughWeir('otlp_grpc')
  expect([...weir.keys()].sort()).toEqual([...go.keys()].sort())
  for (const [key, span] of go) expect(weir.get(key), key).toEqual(span)
  console.log(`otlp_grpc: ${weir.size} spans`)
})

test('jaeger: every span as from Go by OTLP, but for the tag with the format it came in', async () => {
  const weir = await throughWeir('jaeger')
  expect([...weir.keys()].sort()).toEqual([...go.keys()].sort())
  const without = (span: JaegerSpan) => ({ ...span, tags: span.tags.filter(({ key }) => key !== FORMAT) })
  for (const [key, span] of go) {
    const other = weir.get(key)!
    expect(without(other), key).toEqual(without(span))
    expect([formatOf(span), formatOf(other)]).toEqual([['otlp'], ['proto']])
  }
  console.log(`jaeger: ${weir.size} spans`)
})

/** Written by hand, so that a mistake that both collectors make would show as well. */
test('the answer is what was sent', () => {
  const span = (index: number) => go.get(`${traceId(4)} ${spanId(400 + index)}`)!
  const values = (tags: readonly Tag[]) =>
    Object.fromEntries(tags.map(({ key, type, value }) => [key, `${type} ${String(value)}`]))
  const root = span(0)
  expect(root.operationName).toBe('GET /cart')
  expect(root.duration).toBe(1500)
  expect(root.references).toEqual([])
  expect(root.process.serviceName).toBe('front')
  const types = {
    text: 'string plain "quoted" \u{1f600}',
    empty: 'string ',
    yes: 'bool true',
    no: 'bool false',
    int: 'int64 -42',
    big: 'int64 9007199254740993',
    double: 'float64 2.5',
    whole: 'float64 3',
    bytes: 'binary AAH+/w==',
    list: 'string ["a",1,0.5,true]',
    map: 'string {"a":{"deep":[1]},"b":"x"}',
    'http.status_code': 'int64 200',
  }
  expect(values(root.tags)).toEqual({
    ...types,
    'otel.scope.name': 'string lib',
    'span.kind': 'string server',
    'otel.status_code': 'string OK',
    [FORMAT]: 'string otlp',
  })
  expect(values(root.process.tags)).toEqual({
    ...types,
    'service.namespace': 'string shop',
    'service.instance.id': 'string f-1',
  })
  expect(values(span(1).tags)).toMatchObject({
    'span.kind': 'string client',
    'otel.status_code': 'string ERROR',
    error: 'bool true',
    'otel.status_description': 'string it broke',
    'w3c.tracestate': 'string vendor=a,other=b',
  })
  const reference = (refType: string, trace: number, id: number) => ({
    refType,
    traceID: traceId(trace),
    spanID: spanId(id),
  })
  const parent = reference('CHILD_OF', 4, 400)
  expect(span(3).references).toEqual([
    parent,
    reference('FOLLOWS_FROM', 1004, 1),
    reference('CHILD_OF', 1004, 2),
    reference('FOLLOWS_FROM', 1004, 3),
  ])
  expect(span(4).references).toEqual([{ ...parent, refType: 'FOLLOWS_FROM' }])
  const logs = span(5).logs
  expect(logs.map(({ timestamp }) => timestamp - logs[0]!.timestamp)).toEqual([0, 1, 2, 3])
  expect(
    logs.map(({ fields }) => fields.filter(({ key }) => key === 'event').map(({ value }) => value)),
  ).toEqual([['exception'], ['own'], ['bare'], []])
  expect(values(logs[0]!.fields)).toEqual({
    ...types,
    event: 'string exception',
    'exception.message': 'string no',
  })
})
