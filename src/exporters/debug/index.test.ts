import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, test } from 'vitest'
import { createExporter } from '../../../test/support/create-test.ts'
import { Double, logs, metrics, traces } from '../../../test/support/otlp.ts'
import type { LogFields, Logger } from '../../component/logger.ts'
import type { Batch } from '../../otlp/batch.ts'
import definition from './index.ts'

const TIME = 1581452772_000000321n // 2020-02-11 20:26:12.000000321
const TRACE_ID = '0102030405060708090a0b0c0d0e0f10'
const SPAN_ID = '1112131415161718'

class RecordingLogger implements Logger {
  readonly lines: { level: string; message: string; fields?: LogFields | undefined }[] = []
  readonly debugEnabled = true
  error = (message: string, fields?: LogFields) => void this.lines.push({ level: 'error', message, fields })
  warn = (message: string, fields?: LogFields) => void this.lines.push({ level: 'warn', message, fields })
  info = (message: string, fields?: LogFields) => void this.lines.push({ level: 'info', message, fields })
  debug = (message: string, fields?: LogFields) => void this.lines.push({ level: 'debug', message, fields })
  child = () => this
}

/** What an exporter of this config logs for these batches. */
async function logged(config: unknown, ...batches: Batch[]) {
  const logger = new RecordingLogger()
  await using debug = createExporter(definition, config, { logger })
  await debug.start()
  for (const batch of batches) await debug.consume(batch)
  return logger.lines
}

const text = async (verbosity: string, batch: Batch) =>
  (await logged({ verbosity }, batch))[1]?.message.split('\n')

const spanBatch = traces({
  resource: { 'service.name': 'shop', pid: 7 },
  schemaUrl: 'https://s/1',
  scope: { name: 'lib', version: '1.2', attributes: { k: true } },
  spans: [
    {
      name: 'GET /',
      traceId: TRACE_ID,
      spanId: SPAN_ID,
      traceState: 'a=b',
      kind: 2,
      startTimeUnixNano: TIME,
      endTimeUnixNano: 1581452773_500000000n,
      attributes: {
        s: 'v',
        i: 5,
        d: new Double(1.5),
        m: { a: 1 },
        l: ['x', 2],
        b: Buffer.from([1]),
        none: null,
      },
      status: { code: 2, message: 'bad' },
      events: [{ name: 'e', timeUnixNano: TIME, attributes: { x: 'y' } }],
      links: [{ traceId: TRACE_ID, spanId: SPAN_ID, droppedAttributesCount: 4 }],
    },
    { name: 'plain', traceId: '', spanId: '', startTimeUnixNano: 0n, endTimeUnixNano: 0n },
  ],
})

const point = { startTimeUnixNano: TIME, timeUnixNano: TIME, attributes: { host: 'a' } }
const exemplar = {
  timeUnixNano: TIME,
  asInt: 15n,
  traceId: TRACE_ID,
  spanId: SPAN_ID,
  filteredAttributes: { f: 'g' },
}
const metricBatch = metrics({
  metrics: [
    {
      name: 'up',
      unit: '1',
      gauge: { dataPoints: [{ ...point, asInt: 12n }, { ...point, asDouble: 1.23 }, point] },
    },
    {
      name: 'n',
      sum: { dataPoints: [{ ...point, asDouble: 1 }], aggregationTemporality: 2, isMonotonic: true },
    },
    {
      name: 'h',
      histogram: {
        dataPoints: [
          {
            ...point,
            count: 3n,
            sum: 9.5,
            min: 0,
            max: 5,
            explicitBounds: [1, 2.5],
            bucketCounts: [1n, 0n, 2n],
            exemplars: [exemplar],
          },
        ],
        aggregationTemporality: 1,
      },
    },
    {
      name: 'x',
      exponentialHistogram: {
        dataPoints: [
          {
            ...point,
            count: 5n,
            scale: 1,
            zeroCount: 1n,
            positive: { offset: 1, bucketCounts: [1n, 2n] },
            negative: { bucketCounts: [1n, 3n] },
          },
        ],
      },
    },
    {
      name: 's',
      summary: {
        dataPoints: [{ ...point, count: 1n, sum: 15, quantileValues: [{ quantile: 0.5, value: 15 }] }],
      },
    },
  ],
})

const logBatch = logs({
  resource: { 'service.name': 'shop' },
  logs: [
    {
      body: 'a line',
      severityNumber: 10,
      severityText: 'Info',
      timeUnixNano: TIME,
      attributes: { k: 'v' },
      traceId: TRACE_ID,
      spanId: SPAN_ID,
      flags: 1,
      eventName: 'started',
    },
    { body: { user: 'ann', ids: [1, 9007199254740993n] } },
  ],
})

test('basic: one line a batch with its counts', async () => {
  expect(await logged({}, spanBatch, metricBatch, logBatch)).toEqual([
    { level: 'info', message: 'Traces', fields: { 'resource spans': 1, spans: 2 } },
    { level: 'info', message: 'Metrics', fields: { 'resource metrics': 1, metrics: 5, 'data points': 7 } },
    { level: 'info', message: 'Logs', fields: { 'resource logs': 1, 'log records': 2 } },
  ])
})

test('normal: one line for each resource, scope and item', async () => {
  expect(await text('normal', spanBatch)).toEqual([
    'ResourceTraces #0 [https://s/1] service.name=shop pid=7',
    'ScopeTraces #0 lib@1.2 k=true',
    `GET / ${TRACE_ID} ${SPAN_ID} s=v i=5 d=1.5 m={"a":1} l=["x",2] b=AQ== none=`,
    'plain  ',
  ])
  expect(await text('normal', metricBatch)).toEqual([
    'ResourceMetrics #0',
    'ScopeMetrics #0',
    'up{host=a} 12',
    'up{host=a} 1.23',
    'up{host=a} ',
    'n{host=a} 1',
    'h{host=a} count=3 sum=9.5 min=0 max=5 le1=1 le2.5=0 2',
    'x{host=a} count=5 le1=1 le1.4142135623730951=3 le1.4142135623730951=1 le2.0000000000000004=2 zero_count0=1',
    's{host=a} count=1 sum=15.000000 q0.5=15',
  ])
  expect(await text('normal', logBatch)).toEqual([
    'ResourceLog #0 service.name=shop',
    'ScopeLog #0',
    'a line k=v',
    '{"user":"ann","ids":[1,9007199254740993]}',
  ])
})

test('detailed: every field of a span', async () => {
  expect(await text('detailed', spanBatch)).toEqual([
    'ResourceSpans #0',
    'Resource SchemaURL: https://s/1',
    'Resource attributes:',
    '     -> service.name: Str(shop)',
    '     -> pid: Int(7)',
    'ScopeSpans #0',
    'ScopeSpans SchemaURL: ',
    'InstrumentationScope lib 1.2',
    'InstrumentationScope attributes:',
    '     -> k: Bool(true)',
    'Span #0',
    `    Trace ID       : ${TRACE_ID}`,
    '    Parent ID      : ',
    `    ID             : ${SPAN_ID}`,
    '    Name           : GET /',
    '    Kind           : Server',
    '    TraceState     : a=b',
    '    Start time     : 2020-02-11 20:26:12.000000321 +0000 UTC',
    '    End time       : 2020-02-11 20:26:13.5 +0000 UTC',
    '    Status code    : Error',
    '    Status message : bad',
    'Attributes:',
    '     -> s: Str(v)',
    '     -> i: Int(5)',
    '     -> d: Double(1.5)',
    '     -> m: Map({"a":1})',
    '     -> l: Slice(["x",2])',
    '     -> b: Bytes(AQ==)',
    '     -> none: Empty()',
    '    DroppedAttributesCount: 0',
    'Events:',
    'SpanEvent #0',
    '     -> Name: e',
    '     -> Timestamp: 2020-02-11 20:26:12.000000321 +0000 UTC',
    '     -> DroppedAttributesCount: 0',
    '     -> Attributes::',
    '          -> x: Str(y)',
    '    DroppedEventsCount: 0',
    'Links:',
    'SpanLink #0',
    `     -> Trace ID: ${TRACE_ID}`,
    `     -> ID: ${SPAN_ID}`,
    '     -> TraceState: ',
    '     -> DroppedAttributesCount: 4',
    '    DroppedLinksCount: 0',
    'Span #1',
    '    Trace ID       : ',
    '    Parent ID      : ',
    '    ID             : ',
    '    Name           : plain',
    '    Kind           : Unspecified',
    '    Start time     : 1970-01-01 00:00:00 +0000 UTC',
    '    End time       : 1970-01-01 00:00:00 +0000 UTC',
    '    Status code    : Unset',
    '    Status message : ',
    '    DroppedAttributesCount: 0',
    '    DroppedEventsCount: 0',
    '    DroppedLinksCount: 0',
  ])
})

test('detailed: data points of every kind', async () => {
  const lines = (await text('detailed', metricBatch)) ?? []
  const part = (from: string, count: number) => lines.slice(lines.indexOf(from), lines.indexOf(from) + count)
  const head = [
    'Data point attributes:',
    '     -> host: Str(a)',
    'StartTimestamp: 2020-02-11 20:26:12.000000321 +0000 UTC',
    'Timestamp: 2020-02-11 20:26:12.000000321 +0000 UTC',
  ]
  expect(part('Metric #0', 11)).toEqual([
    'Metric #0',
    'Descriptor:',
    '     -> Name: up',
    '     -> Description: ',
    '     -> Unit: 1',
    '     -> DataType: Gauge',
    'NumberDataPoints #0',
    ...head,
  ])
  expect(lines.filter((line) => line.startsWith('Value:'))).toEqual([
    'Value: 12',
    'Value: 1.230000',
    'Value: 1.000000',
  ])
  expect(part('     -> DataType: Sum', 3)).toEqual([
    '     -> DataType: Sum',
    '     -> IsMonotonic: true',
    '     -> AggregationTemporality: Cumulative',
  ])
  expect(part('HistogramDataPoints #0', 21)).toEqual([
    'HistogramDataPoints #0',
    ...head,
    'Count: 3',
    'Sum: 9.500000',
    'Min: 0.000000',
    'Max: 5.000000',
    'ExplicitBounds #0: 1.000000',
    'ExplicitBounds #1: 2.500000',
    'Buckets #0, Count: 1',
    'Buckets #1, Count: 0',
    'Buckets #2, Count: 2',
    'Exemplars:',
    'Exemplar #0',
    `     -> Trace ID: ${TRACE_ID}`,
    `     -> Span ID: ${SPAN_ID}`,
    '     -> Timestamp: 2020-02-11 20:26:12.000000321 +0000 UTC',
    '     -> Value: 15',
    '     -> FilteredAttributes:',
  ])
  expect(lines.filter((line) => line.startsWith('Bucket '))).toEqual([
    'Bucket [-2.000000, -1.414214), Count: 3',
    'Bucket [-1.414214, -1.000000), Count: 1',
    'Bucket [0, 0], Count: 1',
    'Bucket (1.414214, 2.000000], Count: 1',
    'Bucket (2.000000, 2.828427], Count: 2',
  ])
  expect(lines.at(-1)).toBe('QuantileValue #0: Quantile 0.500000, Value 15.000000')
})

test('detailed: every field of a log record', async () => {
  const lines = await text('detailed', logBatch)
  expect(lines?.slice(0, 21)).toEqual([
    'ResourceLog #0',
    'Resource SchemaURL: ',
    'Resource attributes:',
    '     -> service.name: Str(shop)',
    'ScopeLogs #0',
    'ScopeLogs SchemaURL: ',
    'InstrumentationScope  ',
    'LogRecord #0',
    'ObservedTimestamp: 1970-01-01 00:00:00 +0000 UTC',
    'Timestamp: 2020-02-11 20:26:12.000000321 +0000 UTC',
    'SeverityText: Info',
    'SeverityNumber: Info2(10)',
    'EventName: started',
    'Body: Str(a line)',
    'Attributes:',
    '     -> k: Str(v)',
    `Trace ID: ${TRACE_ID}`,
    `Span ID: ${SPAN_ID}`,
    'Flags: 1',
    'LogRecord #1',
    'ObservedTimestamp: 1970-01-01 00:00:00 +0000 UTC',
  ])
  expect(lines).toContain('Body: Map({"user":"ann","ids":[1,9007199254740993]})')
})

test('loglevel of the former logging exporter is understood, verbosity wins, and both name debug', async () => {
  const f = async (config: Record<string, unknown>, want: number) => {
    const lines = await logged(config, spanBatch)
    expect(lines.filter(({ level }) => level === 'info')).toHaveLength(want === 1 ? 1 : 2)
    expect(
      lines
        .filter(({ level }) => level === 'info')
        .at(-1)
        ?.message.split('\n'),
    ).toHaveLength(want)
    return lines.filter(({ level }) => level === 'warn').map(({ message }) => message)
  }
  expect(await f({ loglevel: 'debug' }, 58)).toEqual([
    'loglevel is deprecated: use the debug exporter with verbosity',
  ])
  await f({ loglevel: 'INFO' }, 4)
  await f({ loglevel: 'warn' }, 1)
  await f({ loglevel: 'error' }, 1)
  await f({ loglevel: 'debug', verbosity: 'basic' }, 1)
  expect(await f({}, 1)).toEqual([])
  expect(definition.deprecatedTypes).toEqual(['logging'])
})

test('sampling: the first ones of each second, then every n-th', async () => {
  const logger = new RecordingLogger()
  await using debug = createExporter(definition, { sampling_initial: 2, sampling_thereafter: 3 }, { logger })
  const send = async (count: number) => {
    for (let index = 0; index < count; index++) await debug.consume(spanBatch)
    return logger.lines.splice(0).length
  }
  expect(await send(10)).toBe(2 + 2)
  expect(await send(1)).toBe(1)
  await debug.clock.advance(1000)
  expect(await send(3)).toBe(2)
  await using none = createExporter(definition, { sampling_thereafter: 0 }, { logger })
  for (let index = 0; index < 9; index++) await none.consume(spanBatch)
  expect(logger.lines).toHaveLength(2)
})

test('output_paths: files instead of the log', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'weir-debug-'))
  const file = path.join(folder, 'out.txt')
  const config = { use_internal_logger: false, output_paths: [file], verbosity: 'normal' }
  expect(await logged(config, logBatch, logBatch)).toEqual([])
  const once =
    'Logs\t{"resource logs": 1, "log records": 2}\nResourceLog #0 service.name=shop\nScopeLog #0\na line k=v\n{"user":"ann","ids":[1,9007199254740993]}\n'
  expect(await readFile(file, 'utf8')).toBe(once + once)
  await rm(folder, { recursive: true })
  const [warning] = await logged({ output_paths: ['stderr'] })
  expect(warning?.message).toMatch(/output_paths has no effect/)
})

test('config: the queue is off unless it is asked for, wrong values are refused', () => {
  const sending = (config: unknown) => definition.sending?.(definition.config.parse(config))
  expect(sending({})).toMatchObject({ timeoutMs: 0, retry: { enabled: false }, queue: undefined })
  expect(sending({ sending_queue: { queue_size: 5 } })?.queue).toMatchObject({
    queueSize: 5,
    numConsumers: 1,
  })
  const f = (config: Record<string, unknown>, message: RegExp) =>
    expect(() => definition.config.parse(config)).toThrow(message)
  f({ verbosity: 'none' }, /verbosity/)
  f({ loglevel: 'loud' }, /expected debug, info, warn or error/)
  f({ loglevel: '__proto__' }, /expected debug/)
  f({ sampling_initial: -1 }, /sampling_initial/)
  f({ output_paths: [] }, /output_paths/)
  f({ output: { record: { enabled: false } } }, /not supported/)
})
