import { uncompressSync } from 'snappy'
import { describe, expect, test } from 'vitest'
import { createExporter } from '../../../test/support/create-test.ts'
import { HttpBackend, type ReceivedRequest } from '../../../test/support/http-backend.ts'
import {
  type Attributes,
  attributesOf,
  Double,
  decodeBatch,
  decodeMessage,
  type LogInput,
  logs,
  type Plain,
  type Scope,
  START_TIME,
} from '../../../test/support/otlp.ts'
import { silentLogger } from '../../component/logger.ts'
import { PartialError } from '../../component/partial-error.ts'
import { DownstreamError, RetryableError } from '../../errors.ts'
import type { Batch } from '../../otlp/batch.ts'
import definition from './index.ts'

const PUSH = '/loki/api/v1/push'
const start = () => new HttpBackend().start()

async function make(backend: HttpBackend, config: object = {}) {
  const warnings: string[] = []
  const logger = { ...silentLogger, warn: (message: string) => void warnings.push(message) }
  const raw = { endpoint: backend.url + PUSH, ...config }
  const exporter = createExporter(definition, raw, { signal: 'logs', logger })
  await exporter.start()
  return Object.assign(exporter, { warnings })
}

const failure = (promise: Promise<void>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  )

interface Group {
  readonly resource?: Attributes
  readonly scope?: Scope
  readonly logs: readonly (string | LogInput)[]
}
const one = (group: Group) => logs(group)

/** Streams of a protobuf push: name -> [time in nanoseconds, line, metadata]. */
function streamsOf(request: ReceivedRequest | undefined): Record<string, unknown[]> {
  const body = uncompressSync(request?.body ?? Buffer.alloc(0)) as Buffer
  const push = decodeMessage('logproto.PushRequest', body)
  const entries = (stream: Plain) =>
    stream.entries.map((entry: Plain) => {
      const nanos = BigInt(entry.timestamp.seconds ?? 0) * 1_000_000_000n + BigInt(entry.timestamp.nanos ?? 0)
      const metadata = (entry.structuredMetadata ?? []).map((pair: Plain) => [pair.name, pair.value])
      return metadata.length > 0 ? [nanos, entry.line, Object.fromEntries(metadata)] : [nanos, entry.line]
    })
  return Object.fromEntries((push.streams ?? []).map((stream: Plain) => [stream.labels, entries(stream)]))
}

async function push(config: object, group: Group): Promise<Record<string, unknown[]>> {
  await using backend = await start()
  await using exporter = await make(backend, config)
  await exporter.consume(one(group))
  return streamsOf(backend.requests[0])
}

/** The one line of one record. */
async function line(record: LogInput, resource: Attributes = {}, config: object = {}): Promise<string> {
  const streams = await push(config, {
    resource,
    logs: [record],
    scope: { name: 'lib', version: '1', attributes: { s: true } },
  })
  return (Object.values(streams)[0] as [bigint, string][])[0]![1]
}

/** The one stream name of one record. */
async function labels(record: LogInput, resource: Attributes = {}, config: object = {}): Promise<string> {
  return Object.keys(await push(config, { resource, logs: [record] }))[0] ?? ''
}

test('pushes snappy protobuf with default labels', async () => {
  await using backend = await start()
  await using exporter = await make(backend)
  const resource = {
    'service.name': 'shop',
    'service.namespace': 'eu',
    'service.instance.id': 'i1',
    host: 'h',
  }
  await exporter.consume(
    logs({
      resource,
      logs: [
        { body: 'hello', severityNumber: 9 },
        { body: 'two', severityNumber: 10 },
      ],
    }),
  )
  const [request] = backend.requests
  expect([request?.method, request?.url, request?.headers['content-type']]).toEqual([
    'POST',
    PUSH,
    'application/x-protobuf',
  ])
  expect(request?.headers['content-encoding']).toBeUndefined()
  expect(request?.headers['x-scope-orgid']).toBeUndefined()
  const rest = `"resources":{"host":"h","service.instance.id":"i1","service.name":"shop","service.namespace":"eu"}`
  expect(streamsOf(request)).toEqual({
    '{exporter="OTLP", instance="i1", job="eu/shop", level="INFO"}': [
      [START_TIME, `{"body":"hello",${rest}}`],
    ],
    '{exporter="OTLP", instance="i1", job="eu/shop", level="INFO2"}': [
      [START_TIME, `{"body":"two",${rest}}`],
    ],
  })
  expect(exporter.warnings.some((warning) => warning.includes('otlp_http'))).toBe(true)
})

test('encoding json sends the same as JSON', async () => {
  await using backend = await start()
  const config = { encoding: 'json', structured_metadata: ['user.id'], compression: 'none' }
  await using exporter = await make(backend, config)
  const record = { body: 'hello', attributes: { 'user.id': 7 }, timeUnixNano: 1_700_000_000_000_000_001n }
  await exporter.consume(logs({ logs: [record, { body: 'early', timeUnixNano: 5n }] }))
  expect(backend.requests[0]?.headers['content-type']).toBe('application/json')
  expect(JSON.parse(backend.requests[0]?.body.toString() ?? '')).toEqual({
    streams: [
      {
        stream: { exporter: 'OTLP' },
        values: [
          ['5', '{"body":"early"}'],
          ['1700000000000000001', '{"body":"hello"}', { user_id: '7' }],
        ],
      },
    ],
  })
})

describe('labels', () => {
  test('default labels can be turned off one by one; a stream never has none', async () => {
    const resource = { 'service.name': 'a', 'service.instance.id': 'i' }
    const f = async (enabled: object, want: string) =>
      expect(await labels({ severityNumber: 17 }, resource, { default_labels_enabled: enabled })).toBe(want)
    await f({}, '{exporter="OTLP", instance="i", job="a", level="ERROR"}')
    await f({ exporter: false, level: false }, '{instance="i", job="a"}')
    await f({ exporter: false, job: false, instance: false, level: false }, '{exporter="OTLP"}')
  })

  test('the level is the severity number, unless there is a level attribute', async () => {
    expect(await labels({ severityNumber: 21 })).toBe('{exporter="OTLP", level="FATAL"}')
    expect(await labels({ severityNumber: 9, attributes: { level: 'notice' } })).toBe(
      '{exporter="OTLP", level="notice"}',
    )
    expect(await labels({ severityNumber: 0 })).toBe('{exporter="OTLP"}')
    expect(await labels({ severityNumber: 99 })).toBe('{exporter="OTLP"}')
  })

  test('hints promote attributes, as a list or an array, nested ones too, and take them out of the line', async () => {
    const record = {
      body: 'x',
      attributes: {
        'loki.attribute.labels': 'event.domain, http.method,missing',
        'event.domain': 'browser',
        http: { method: 'GET' },
        kept: 1,
      },
    }
    expect(await labels(record)).toBe('{event_domain="browser", exporter="OTLP", http_method="GET"}')
    expect(await line(record, { a: 'b' })).toBe(
      '{"body":"x","attributes":{"http":{"method":"GET"},"kept":1},"resources":{"a":"b"},' +
        '"instrumentation_scope":{"name":"lib","version":"1","attributes":{"s":true}}}',
    )
    const resource = { 'loki.resource.labels': ['pod.name', 'n'], 'pod.name': 'p', n: 5, other: true }
    expect(await labels({ body: 'x' }, resource)).toBe('{exporter="OTLP", n="5", pod_name="p"}')
    const both = { body: 'x', attributes: { 'loki.resource.labels': 'other' } }
    expect(await labels(both, resource)).toBe('{exporter="OTLP", n="5", other="true", pod_name="p"}')
  })

  test('label names are made valid and values escaped', async () => {
    const f = async (name: string, value: string, want: string) => {
      const attributes = { 'loki.attribute.labels': name, [name]: value }
      const config = { default_labels_enabled: { exporter: false } }
      expect(await labels({ attributes }, {}, config)).toBe(want)
    }
    await f('a.b-c/d', 'v', '{a_b_c_d="v"}')
    await f('1st', 'v', '{key_1st="v"}')
    await f('_private', 'v', '{key_private="v"}')
    await f('a', 'say "hi"\\\n\t', '{a="say \\"hi\\"\\\\\\n\\t"}')
    await f('a', '\u0001\u00fc\u00a0\u{1f600}', '{a="\\x01\u00fc\\u00a0\u{1f600}"}')
  })

  test('the old labels block', async () => {
    const config = {
      labels: {
        attributes: { severity: '', env: 'environment' },
        resource: { 'k8s.pod': 'pod' },
        record: { traceID: 'trace' },
      },
    }
    const traceId = 'ab'.repeat(16)
    const record = {
      body: 'text',
      traceId,
      severityText: 'WARN',
      attributes: { env: 'dev', severity: 'low', n: 1 },
    }
    const resource = { 'k8s.pod': 'p1', host: 'h' }
    expect(await labels(record, resource, config)).toBe(
      `{environment="dev", pod="p1", severity="low", trace="${traceId}"}`,
    )
    expect(await line(record, resource, config)).toBe(
      'severity=WARN n="1" host=h instrumentation_scope_name=lib instrumentation_scope_version=1 text',
    )
    expect(await labels(record, resource, { ...config, default_labels_enabled: {} })).toContain(
      'exporter="OTLP"',
    )
  })
})

describe('lines', () => {
  const full = {
    body: { user: 'ann', n: [1, 2] },
    severityNumber: 13,
    severityText: 'WARN',
    flags: 1,
    traceId: 'ab'.repeat(16),
    spanId: 'cd'.repeat(8),
    attributes: { z: new Double(1.5), a: '<b>' },
  } satisfies LogInput
  const resource = { 'r.x': 'y' }

  test('json', async () => {
    expect(await line(full, resource)).toBe(
      `{"body":{"n":[1,2],"user":"ann"},"traceid":"${full.traceId}","spanid":"${full.spanId}","severity":"WARN",` +
        '"flags":1,"attributes":{"a":"\\u003cb\\u003e","z":1.5},"resources":{"r.x":"y"},' +
        '"instrumentation_scope":{"name":"lib","version":"1","attributes":{"s":true}}}',
    )
    const bodies = [undefined, '', 5n, true, Buffer.from('hi'), new Double(Number.NaN)] as const
    const lines = []
    for (const body of bodies) {
      const record = body === undefined ? {} : { body }
      const streams = await push({}, { logs: [record] })
      lines.push((Object.values(streams)[0] as [bigint, string][])[0]?.[1])
    }
    expect(lines).toEqual([
      '{}',
      '{"body":""}',
      '{"body":5}',
      '{"body":true}',
      '{"body":"aGk="}',
      '{"body":"NaN"}',
    ])
  })

  test('logfmt', async () => {
    const config = { format: 'logfmt' }
    const tail =
      'instrumentation_scope_name=lib instrumentation_scope_version=1 instrumentation_scope_attribute_s=true'
    expect(await line(full, resource, config)).toBe(
      `user=ann n_0=1 n_1=2 traceID=${full.traceId} spanID=${full.spanId} severity=WARN flags=1 ` +
        `attribute_z=1.5 attribute_a=<b> resource_r.x=y ${tail}`,
    )
    const f = async (body: LogInput['body'], want: string) =>
      expect(await line({ body: body ?? '', severityText: 'INFO' }, {}, config)).toBe(`${want} ${tail}`)
    await f('hello world', 'msg="hello world" severity=INFO')
    await f('msg="hello world" severity=low', 'msg="hello world" severity=INFO')
    await f('a=1 b="x', 'msg="a=1 b=\\"x" severity=INFO')
    await f(['a', { b: 'c' }], 'body_0=a body_1_b=c severity=INFO')
    await f(7n, 'msg=7 severity=INFO')
    await f('null', 'msg="null" severity=INFO')
  })

  test('raw, and hints over the config', async () => {
    expect(await line(full, resource, { format: 'raw' })).toBe('{"n":[1,2],"user":"ann"}')
    const hinted = { body: 'plain', attributes: { 'loki.format': 'raw' } }
    expect(await line(hinted, resource, { format: 'json' })).toBe('plain')
    expect(await line({ body: 'plain' }, { 'loki.format': 'logfmt' })).toContain('msg=plain')
  })

  test('a format that does not exist drops the record and counts it', async () => {
    await using backend = await start()
    await using exporter = await make(backend)
    const records = [{ body: 'a', attributes: { 'loki.format': 'xml' } }, { body: 'b' }]
    const error = await failure(exporter.consume(logs({ logs: records })))
    expect(error).toMatchObject({ droppedItems: 1, failed: undefined, retryable: false })
    expect(Object.values(streamsOf(backend.requests[0])).flat().length).toBe(1)
  })
})

test('entries of a stream are in the order of time, which is the observed one or now if there is none', async () => {
  const streams = await push(
    {},
    {
      logs: [
        { body: 'c', timeUnixNano: 3_000_000_000n },
        { body: 'a', timeUnixNano: 1_000_000_001n },
        { body: 'b', timeUnixNano: 0, observedTimeUnixNano: 2_000_000_000n },
        { body: 'now', timeUnixNano: 0 },
      ],
    },
  )
  const entries = streams['{exporter="OTLP"}'] as [bigint, string][]
  expect(entries.map(([, text]) => JSON.parse(text).body)).toEqual(['a', 'b', 'c', 'now'])
  expect(entries.map(([time]) => time).slice(0, 3)).toEqual([1_000_000_001n, 2_000_000_000n, 3_000_000_000n])
  expect(entries[3]?.[0]).toBe(1_700_000_001_000n * 1_000_000n) // The scripted wall clock.
})

test('structured metadata: all attributes, or the named ones', async () => {
  const traceId = 'ab'.repeat(16)
  const record = {
    body: 'x',
    traceId,
    attributes: { 'user.id': 7, 'loki.attribute.labels': 'env', env: 'dev', m: { a: 1 } },
  }
  const resource = { 'k8s.pod': 'p' }
  const f = async (structured_metadata: unknown) =>
    (Object.values(await push({ structured_metadata }, { resource, logs: [record] }))[0] as unknown[])[0]
  const inLine = '"resources":{"k8s.pod":"p"}'
  expect(await f(true)).toEqual([
    START_TIME,
    `{"body":"x","traceid":"${traceId}",${inLine}}`,
    { trace_id: traceId, user_id: '7', m: '{"a":1}' },
  ])
  expect(await f(['k8s.pod', 'm.a', 'missing', 'span_id'])).toEqual([
    START_TIME,
    `{"body":"x","traceid":"${traceId}","attributes":{"m":{"a":1},"user.id":7}}`,
    { k8s_pod: 'p', m_a: '1' },
  ])
  expect(await f(false)).toHaveLength(2)
})

describe('tenants', () => {
  async function tenants(config: object, batch: Batch): Promise<unknown> {
    await using backend = await start()
    await using exporter = await make(backend, config)
    await exporter.consume(batch)
    const rows = backend.requests.map((request) => [
      request.headers['x-scope-orgid'],
      Object.values(streamsOf(request)).flat().length,
    ])
    return rows.sort((a, b) => (String(a[0]) < String(b[0]) ? -1 : 1))
  }

  test('static: by header, tenant_id or tenant', async () => {
    const batch = logs({ logs: ['a', 'b'] })
    expect(await tenants({ headers: { 'X-Scope-OrgID': 'h' } }, batch)).toEqual([['h', 2]])
    expect(await tenants({ tenant_id: 'caxton' }, batch)).toEqual([['caxton', 2]])
    expect(await tenants({ tenant: { source: 'static', value: 's' } }, batch)).toEqual([['s', 2]])
  })

  test('the hint names the attribute; each tenant gets a request of its own, the others the static one', async () => {
    const hint = { 'loki.tenant': 'org' }
    const batch = logs(
      { resource: { ...hint, org: 'r' }, logs: [{ body: '1', attributes: { org: 'ignored' } }] },
      {
        resource: hint,
        logs: [
          { body: '2', attributes: { org: 'a' } },
          { body: '3', attributes: { org: 'b' } },
        ],
      },
      { logs: [{ body: '4', attributes: { ...hint, org: 'a' } }, { body: '5' }] },
    )
    const want = [
      ['a', 2],
      ['b', 1],
      ['fallback', 1],
      ['r', 1],
    ]
    expect(await tenants({ headers: { 'X-Scope-OrgID': 'fallback' } }, batch)).toEqual(want)
  })

  test('from an attribute or from the metadata of the request', async () => {
    const batch = logs(
      { resource: { org: 'r' }, logs: ['a'] },
      { logs: [{ body: 'b', attributes: { org: 'x' } }] },
    )
    expect(await tenants({ tenant: { source: 'attributes', value: 'org' } }, batch)).toEqual([
      ['r', 1],
      ['x', 1],
    ])
    const context = { metadata: new Map([['x-team', ['t']]]) }
    const config = { tenant: { source: 'context', value: 'X-Team' } }
    expect(await tenants(config, batch.withContext(context))).toEqual([['t', 2]])
  })
})

test('4xx but 429 is permanent, all else is retryable, with Retry-After', async () => {
  await using backend = await start()
  await using exporter = await make(backend)
  for (const status of [400, 401, 404, 413, 429, 500, 502, 503]) {
    backend.script.push({ status, headers: { 'retry-after': '7' }, body: 'entry too far behind' })
    const error = await failure(exporter.consume(logs({ logs: ['a'] })))
    const retryable = status === 429 || status >= 500
    expect(error, String(status)).toBeInstanceOf(retryable ? RetryableError : DownstreamError)
    expect(String(error)).toContain('entry too far behind')
    if (status === 429) expect(error).toMatchObject({ retryAfterMs: 7000 })
  }
  backend.script.push({ status: 204 }, { status: 260 })
  await exporter.consume(logs({ logs: ['a'] }))
  await exporter.consume(logs({ logs: ['a'] }))
})

test('when some tenants fail only their records are handed back, and all are accounted for', async () => {
  await using backend = await start()
  await using exporter = await make(backend, { tenant: { source: 'attributes', value: 'org' } })
  backend.always = (request, response) => {
    const status = { down: 503, bad: 400, good: 204 }[String(request.headers['x-scope-orgid'])] ?? 500
    response.writeHead(status).end()
  }
  const record = (body: string, org: string) => ({ body, attributes: { org, id: body } })
  const batch = logs(
    { resource: { r: 1 }, logs: [record('1', 'good'), record('2', 'down'), record('3', 'bad')] },
    { resource: { r: 2 }, logs: [record('4', 'down'), record('5', 'good')] },
  )
  const error = await failure(exporter.consume(batch))
  expect(error).toBeInstanceOf(PartialError)
  expect(exporter.exporter.releases).toBe(true)
  for (const chunk of batch.chunks) chunk.fill(0) // Its memory may be used again.
  const { failed, droppedItems } = error as PartialError
  expect([failed?.itemCount, droppedItems]).toEqual([2, 1])
  const rows = decodeBatch(failed!).resourceLogs.map((resource: Plain) => [
    attributesOf(resource.resource.attributes)['r'],
    resource.scopeLogs[0].logRecords.map((log: Plain) => log.body.stringValue),
  ])
  expect(rows).toEqual([
    [1n, ['2']],
    [2n, ['4']],
  ])
})

test('checks its config, and old forms warn', async () => {
  const f = (config: object, path: string) => {
    const result = definition.config.safeParse({ endpoint: 'http://loki:3100/loki/api/v1/push', ...config })
    expect(result.error?.issues.map((issue) => issue.path.join('.')) ?? []).toEqual(path === '' ? [] : [path])
  }
  f({ tenant_id: 'caxton' }, '')
  f({ tenant_id: 'a', tenant: { source: 'static', value: 'b' } }, 'tenant_id')
  f({ tenant: { source: 'header', value: 'b' } }, 'tenant.source')
  f({ labels: {} }, 'labels')
  f({ labels: { attributes: { a: 'not valid' } } }, 'labels.attributes.a')
  f({ labels: { attributes: { a: '' }, record: { body: 'x' } } }, 'labels.record')
  f({ default_labels_enabled: { jobs: true } }, 'default_labels_enabled')
  f({ format: 'xml' }, 'format')
  f({ endpoint: 'loki:3100' }, 'endpoint')
  await using backend = await start()
  await using exporter = await make(backend, {
    tenant_id: 'x',
    format: 'json',
    labels: { attributes: { a: '' } },
  })
  expect(exporter.warnings.length).toBe(4)
})
