/**
 * Logs to a real Loki by the push API (protobuf and JSON) and by its OTLP endpoint, with two shards and several tenants.
 * Guarantee: query_range answers every record once, with the labels, structured metadata and line that are asked for, and to
 * its tenant alone; by OTLP as from the Go collector.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Batch } from '../../src/otlp/batch.ts'
import { type Attributes, type LogInput, logs } from '../support/otlp.ts'
import { eventually, freePort, startGoCollector, startLoki } from '../support/peers.ts'
import { startWeir } from '../support/weir.ts'
import { allEntries, allSeries, type LokiEntry } from './support/loki-query.ts'
import { postAll } from './support/prom-query.ts'

const HTTP = 'receivers/otlp/protocols/http'
const BASE = BigInt(Math.floor(Date.now() / 1000) - 120) * 1_000_000_000n
const BATCHES = 20
const TRACE = '5b8aa5a2d2c872e8321cf3730a0b0c0d'
const SPAN = 'eee19b7e0a0b0c0d'
const PLAIN_TEXT = 'it is "quoted", \\ and\ttabbed \u{1f600}\nin two lines'

let loki: Awaited<ReturnType<typeof startLoki>>
beforeAll(async () => {
  loki = await startLoki()
})
afterAll(() => loki?.stop())

function config(receiver: string, exporters: Readonly<Record<string, object>>, service: object) {
  return {
    receivers: { otlp: { protocols: { http: { endpoint: receiver } } } },
    exporters,
    service: {
      ...service,
      telemetry: { metrics: { level: 'none' } },
      pipelines: { logs: { receivers: ['otlp'], exporters: Object.keys(exporters) } },
    },
  }
}

async function throughWeir(exporters: Readonly<Record<string, object>>, batches: readonly Batch[]) {
  await using weir = await startWeir(config('127.0.0.1:0', exporters, { shards: 2 }))
  await postAll(weir.address(HTTP), 'logs', batches.map(bytesOf))
  expect(await weir.stop()).toBe(0)
  expect(weir.log.filter(({ level }) => level === 'error')).toEqual([])
}

const bytesOf = (batch: Batch) => Buffer.concat(batch.chunks)

function stored(tenant: string, count: number): Promise<LokiEntry[]> {
  return eventually(
    () => allEntries(loki.url, tenant),
    (entries) => entries.length >= count,
    30_000,
  )
}

let clock = 0n
const nextTime = () => BASE + ++clock * 1_000_001n

interface Case {
  readonly record: LogInput
  readonly resource: Attributes
  readonly tenant: 'own' | 'other'
  readonly want: Omit<LokiEntry, 'time'>
}

const SHOP: Attributes = {
  'service.name': 'shop',
  'service.namespace': 'eu',
  'service.instance.id': 'i-1',
  'host.name': 'h',
}
const SCOPE = { name: 'lib', version: '1' }
const LABELS = { exporter: 'OTLP', job: 'eu/shop', instance: 'i-1' }
const REST =
  '"resources":{"host.name":"h","service.instance.id":"i-1","service.name":"shop","service.namespace":"eu"}'
const SCOPE_JSON = '"instrumentation_scope":{"name":"lib","version":"1"}'
const SCOPE_LOGFMT = 'instrumentation_scope_name=lib instrumentation_scope_version=1'

/** One record of each kind; `index` makes it its own. Loki adds service_name, and detected_level where it finds none. */
function casesOf(index: number): Case[] {
  const at = (name: string) => `${name} ${index}`
  const found = (labels: Record<string, string>) => ({
    ...labels,
    service_name: labels['job'] ?? 'unknown_service',
  })
  return [
    {
      record: {
        body: at('as json'),
        severityNumber: 9,
        severityText: 'Info',
        attributes: { 'user.id': index, n: 1 },
      },
      resource: SHOP,
      tenant: 'own',
      want: {
        labels: found({ ...LABELS, level: 'INFO' }),
        line: `{"body":"as json ${index}","severity":"Info","attributes":{"n":1},${REST},${SCOPE_JSON}}`,
        metadata: { user_id: String(index) },
      },
    },
    {
      record: {
        body: at('as logfmt'),
        severityNumber: 17,
        traceId: TRACE,
        spanId: SPAN,
        attributes: { 'loki.format': 'logfmt', code: 'a b' },
      },
      resource: {},
      tenant: 'own',
      want: {
        labels: found({ exporter: 'OTLP', level: 'ERROR' }),
        line: `msg="as logfmt ${index}" traceID=${TRACE} spanID=${SPAN} attribute_code="a b" ${SCOPE_LOGFMT}`,
        metadata: { trace_id: TRACE },
      },
    },
    {
      record: {
        body: `${PLAIN_TEXT} ${index}`,
        severityNumber: 13,
        attributes: { 'loki.attribute.labels': 'http.method, 1st', 'http.method': 'GET', '1st': 'one "two"' },
      },
      resource: { ...SHOP, 'loki.format': 'raw', 'loki.resource.labels': ['host.name'] },
      tenant: 'own',
      want: {
        labels: found({ ...LABELS, level: 'WARN', http_method: 'GET', key_1st: 'one "two"', host_name: 'h' }),
        line: `${PLAIN_TEXT} ${index}`,
        metadata: {},
      },
    },
    {
      record: {
        body: { order: index, items: ['a', 'b'] },
        severityNumber: 5,
        attributes: { 'loki.format': 'raw' },
      },
      resource: { 'service.name': 'pay', 'loki.tenant': 'team', team: 'TENANT' },
      tenant: 'other',
      want: {
        labels: found({ exporter: 'OTLP', job: 'pay', level: 'DEBUG' }),
        line: `{"items":["a","b"],"order":${index}}`,
        metadata: {},
      },
    },
  ]
}

function withTenant(attributes: Attributes, tenant: string): Attributes {
  return 'team' in attributes ? { ...attributes, team: tenant } : attributes
}

const PUSH_VARIANTS: Readonly<Record<string, object>> = {
  protobuf: {},
  json: { encoding: 'json' },
  'json-gzip': { encoding: 'json', compression: 'gzip' },
}

for (const [name, settings] of Object.entries(PUSH_VARIANTS)) {
  test(`push API, ${name}: each record once, to its tenant, with its labels, metadata and line`, async () => {
    const [own, other] = [`own-${name}`, `other-${name}`]
    const batches: Batch[] = []
    const want: Record<Case['tenant'], LokiEntry[]> = { own: [], other: [] }
    for (let index = 0; index < BATCHES; index++) {
      const groups = casesOf(index).map(({ record, resource, tenant, want: expected }) => {
        const time = nextTime()
        want[tenant].push({ ...expected, time: String(time) })
        return {
          resource: withTenant(resource, other),
          scope: SCOPE,
          logs: [{ ...record, timeUnixNano: time }],
        }
      })
      batches.push(logs(...groups))
    }
    const exporter = {
      endpoint: `${loki.url}/loki/api/v1/push`,
      tenant_id: own,
      structured_metadata: ['user.id', 'trace_id'],
      ...settings,
    }
    await throughWeir({ loki: exporter }, batches)
    const [mine, theirs] = [await stored(own, want.own.length), await stored(other, want.other.length)]
    expect(mine.map(withoutDetected)).toEqual(want.own)
    expect(theirs.map(withoutDetected)).toEqual(want.other)
    expect(await allEntries(loki.url, `nobody-${name}`)).toEqual([])
    expect(await allSeries(loki.url, own)).toEqual(labelSets(want.own))
    expect(await allSeries(loki.url, other)).toEqual(labelSets(want.other))
    console.log(`push ${name}: ${mine.length} + ${theirs.length} records`)
  })
}

/** Without what Loki finds out by itself. */
function withoutDetected(entry: LokiEntry): LokiEntry {
  const { detected_level: _, ...metadata } = entry.metadata
  return { ...entry, metadata }
}

function labelSets(entries: readonly LokiEntry[]): Record<string, string>[] {
  const sets = new Map(entries.map(({ labels }) => [JSON.stringify(Object.entries(labels).sort()), labels]))
  return [...sets].sort(([left], [right]) => (left < right ? -1 : 1)).map(([, labels]) => labels)
}

function otlpBatches(): Batch[] {
  return Array.from({ length: BATCHES }, (_, index) =>
    logs(
      {
        resource: { ...SHOP, 'k8s.pod.name': 'pod-1', 'deployment.environment.name': 'prod' },
        scope: { ...SCOPE, attributes: { s: true } },
        logs: [
          {
            body: `${PLAIN_TEXT} ${index}`,
            timeUnixNano: nextTime(),
            observedTimeUnixNano: BASE,
            severityNumber: 9,
            severityText: 'INFO',
            traceId: TRACE,
            spanId: SPAN,
            flags: 1,
            attributes: { 'user.id': index, list: [1, 'a'], map: { deep: 'x' } },
          },
          { body: { order: index }, timeUnixNano: nextTime(), severityNumber: 17 },
        ],
      },
      { resource: { 'service.name': 'pay' }, logs: [{ body: `plain ${index}`, timeUnixNano: nextTime() }] },
    ),
  )
}

for (const encoding of ['proto', 'json']) {
  test(`OTLP endpoint, ${encoding}: as from Go`, async () => {
    const batches = otlpBatches()
    const [weirTenant, goTenant] = [`otlp-weir-${encoding}`, `otlp-go-${encoding}`]
    const exporter = (tenant: string) => ({
      otlp_http: { endpoint: `${loki.url}/otlp`, encoding, headers: { 'X-Scope-OrgID': tenant } },
    })
    const port = await freePort()
    {
      await using _ = await startGoCollector(config(`127.0.0.1:${port}`, exporter(goTenant), {}), port)
      await postAll(`127.0.0.1:${port}`, 'logs', batches.map(bytesOf))
    }
    await throughWeir(exporter(weirTenant), batches)
    const go = await stored(goTenant, BATCHES * 3)
    const weir = await stored(weirTenant, BATCHES * 3)
    expect(weir).toEqual(go)
    expect(weir).toHaveLength(BATCHES * 3)
    expect(await allSeries(loki.url, weirTenant)).toEqual(await allSeries(loki.url, goTenant))
    const [first] = weir
    expect(first?.labels).toEqual({
      service_name: 'shop',
      service_namespace: 'eu',
      service_instance_id: 'i-1',
      k8s_pod_name: 'pod-1',
      deployment_environment_name: 'prod',
    })
    expect(first?.line).toBe(`${PLAIN_TEXT} 0`)
    expect(first?.metadata).toMatchObject({
      host_name: 'h',
      scope_name: 'lib',
      scope_version: '1',
      s: 'true',
      user_id: '0',
      trace_id: TRACE,
      span_id: SPAN,
      severity_number: '9',
      severity_text: 'INFO',
      flags: '1',
      map_deep: 'x',
      observed_timestamp: String(BASE),
    })
    console.log(`otlp ${encoding}: ${weir.length} records`)
  })
}
