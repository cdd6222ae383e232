/**
 * The OpenTelemetry SDK for JavaScript in use: every kind of span, metric and log record that it makes, sent
 * over one transport. Each exporter is doubled, so that a mirror gets the very same export calls and shows
 * what was sent. Over 300 lines, since what is sent reads best in one place.
 */
import { credentials } from '@grpc/grpc-js'
import {
  type Attributes,
  createTraceState,
  type Logger,
  type Meter,
  ROOT_CONTEXT,
  type SeverityNumber,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
  ValueType,
} from '@opentelemetry/api'
import { OTLPLogExporter as GrpcLogs } from '@opentelemetry/exporter-logs-otlp-grpc'
import { OTLPLogExporter as JsonLogs } from '@opentelemetry/exporter-logs-otlp-http'
import { OTLPLogExporter as ProtoLogs } from '@opentelemetry/exporter-logs-otlp-proto'
import { OTLPMetricExporter as GrpcMetrics } from '@opentelemetry/exporter-metrics-otlp-grpc'
import {
  AggregationTemporalityPreference,
  OTLPMetricExporter as JsonMetrics,
} from '@opentelemetry/exporter-metrics-otlp-http'
import { OTLPMetricExporter as ProtoMetrics } from '@opentelemetry/exporter-metrics-otlp-proto'
import { OTLPTraceExporter as GrpcTraces } from '@opentelemetry/exporter-trace-otlp-grpc'
import { OTLPTraceExporter as JsonTraces } from '@opentelemetry/exporter-trace-otlp-http'
import { OTLPTraceExporter as ProtoTraces } from '@opentelemetry/exporter-trace-otlp-proto'
import { type Resource, resourceFromAttributes } from '@opentelemetry/resources'
import {
  BatchLogRecordProcessor,
  LoggerProvider,
  type LogRecordExporter,
  type ReadableLogRecord,
} from '@opentelemetry/sdk-logs'
import {
  AggregationType,
  MeterProvider,
  PeriodicExportingMetricReader,
  type PushMetricExporter,
  type ResourceMetrics,
} from '@opentelemetry/sdk-metrics'
import {
  BatchSpanProcessor,
  type ReadableSpan,
  type SpanExporter,
  TracerProvider,
} from '@opentelemetry/sdk-trace'

export type Transport = 'grpc' | 'http/protobuf' | 'http/json'

export interface ClientSettings {
  readonly transport: Transport
  readonly gzip: boolean
  readonly delta: boolean
  /** Where it goes: host:port for gRPC, the base URL for HTTP. */
  readonly endpoint: string
  readonly mirror: string
  /** The authority of `endpoint`, which then speaks TLS; the mirror never does. */
  readonly authority?: string
  readonly resource: Attributes
  readonly schemaUrl?: string
  /** How often everything is made. */
  readonly rounds: number
}

type Result = { code: number; error?: Error | undefined }

/** The part of every exporter that is doubled. */
interface Exporter<Items> {
  export(items: Items, done: (result: Result) => void): void
  shutdown(): Promise<void>
}

/** Sends all there is and returns when the exporters have said that it arrived; throws if one has not. */
export async function runClient(settings: ClientSettings): Promise<void> {
  const failures: unknown[] = []
  const double = <Items, E extends Exporter<Items>>(make: (endpoint: string) => E) => {
    const [main, mirror] = [make(settings.endpoint), make(settings.mirror)]
    return doubled<Items, E>(main, mirror, (error) => failures.push(error))
  }
  const make = exportersOf(settings)
  const resource = resourceFromAttributes(settings.resource as Parameters<typeof resourceFromAttributes>[0], {
    ...(settings.schemaUrl !== undefined && { schemaUrl: settings.schemaUrl }),
  })
  await sendTraces(resource, double<ReadableSpan[], SpanExporter>(make.traces), settings.rounds)
  await sendMetrics(resource, double<ResourceMetrics, PushMetricExporter>(make.metrics), settings.rounds)
  await sendLogs(resource, double<ReadableLogRecord[], LogRecordExporter>(make.logs), settings.rounds)
  if (failures.length > 0) throw new AggregateError(failures, `exports failed: ${String(failures[0])}`)
}

function doubled<Items, E extends Exporter<Items>>(main: E, mirror: E, failed: (error: unknown) => void): E {
  return new Proxy(main, {
    get(target, key) {
      if (key === 'export')
        return (items: Items, done: (result: Result) => void) =>
          mirror.export(items, (first) =>
            target.export(items, (second) => {
              for (const { code, error } of [first, second]) if (code !== 0) failed(error ?? code)
              done(second)
            }),
          )
      if (key === 'shutdown')
        return async () => {
          await Promise.all([target.shutdown(), mirror.shutdown()])
        }
      const value = Reflect.get(target, key)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

function exportersOf({ transport, gzip, delta, endpoint, authority }: ClientSettings) {
  // Each version of the base package has an enum of its own; the words are the same.
  const compression = (gzip ? 'gzip' : 'none') as never
  const temporalityPreference = delta
    ? AggregationTemporalityPreference.DELTA
    : AggregationTemporalityPreference.CUMULATIVE
  const options = (base: string, path: string) => {
    const ca = base === endpoint && authority !== undefined ? Buffer.from(authority) : undefined
    return {
      url: transport === 'grpc' ? `${ca ? 'https' : 'http'}://${base}` : base + path,
      compression,
      temporalityPreference,
      ...(ca && { credentials: credentials.createSsl(ca), httpAgentOptions: { ca } }),
    }
  }
  const [Traces, Metrics, Logs] = {
    grpc: [GrpcTraces, GrpcMetrics, GrpcLogs] as const,
    'http/protobuf': [ProtoTraces, ProtoMetrics, ProtoLogs] as const,
    'http/json': [JsonTraces, JsonMetrics, JsonLogs] as const,
  }[transport]
  return {
    traces: (base: string) => new Traces(options(base, '/v1/traces')),
    metrics: (base: string) => new Metrics(options(base, '/v1/metrics')),
    logs: (base: string) => new Logs(options(base, '/v1/logs')),
  }
}

const ALL_KINDS: Attributes = {
  text: 'stra\u00dfe \u{1f600}',
  empty: '',
  yes: true,
  no: false,
  zero: 0,
  int: 42,
  negative: -7,
  large: Number.MAX_SAFE_INTEGER,
  double: 0.1,
  tiny: 5e-324,
  infinite: Number.POSITIVE_INFINITY,
  texts: ['a', '', 'c'],
  ints: [1, 2, 3],
  doubles: [0.5, -1e-300],
  flags: [true, false],
  nothing: [],
}

async function sendTraces(resource: Resource, exporter: SpanExporter, rounds: number): Promise<void> {
  const provider = new TracerProvider({
    resource,
    spanLimits: { attributeCountLimit: 20, eventCountLimit: 4, linkCountLimit: 3 },
    spanProcessors: [new BatchSpanProcessor({ exporter, maxExportBatchSize: 50, maxQueueSize: 100_000 })],
  })
  const tracers = [
    provider.getTracer('plain'),
    provider.getTracer('versioned', '1.2.3', { schemaUrl: 'https://example.test/schema/1' }),
  ]
  for (let round = 0; round < rounds; round++) for (const tracer of tracers) makeTrace(tracer, round)
  await provider.forceFlush()
  await provider.shutdown()
}

function makeTrace(tracer: Tracer, round: number): void {
  const remote = {
    traceId: round.toString(16).padStart(31, '0').padStart(32, 'a'),
    spanId: 'b7ad6b7169203331',
    traceFlags: TraceFlags.SAMPLED,
    traceState: createTraceState('vendor=one,other=t61rcWkgMzE'),
    isRemote: true,
  }
  const incoming = trace.setSpanContext(ROOT_CONTEXT, remote)
  const root = tracer.startSpan('root', { root: true, kind: SpanKind.SERVER, attributes: ALL_KINDS })
  const continued = tracer.startSpan('continued', { kind: SpanKind.CONSUMER }, incoming)
  const inside = trace.setSpan(ROOT_CONTEXT, root)
  const child = tracer.startSpan(
    'child',
    {
      kind: SpanKind.CLIENT,
      startTime: [1_700_000_000, 123_456_789],
      links: [
        { context: remote, attributes: { reason: 'retry', attempt: round } },
        { context: root.spanContext() },
      ],
    },
    inside,
  )
  child.addEvent('plain')
  child.addEvent('with attributes', { ...ALL_KINDS }, [1_700_000_001, 1])
  child.recordException(new TypeError('broken \u00e9'))
  child.setStatus({ code: SpanStatusCode.ERROR, message: 'it broke' })
  child.end([1_700_000_002, 999_999_999])
  const crowded = tracer.startSpan('crowded', { kind: SpanKind.PRODUCER }, inside)
  for (let index = 0; index < 30; index++) crowded.setAttribute(`key-${index}`, index)
  for (let index = 0; index < 8; index++) crowded.addEvent(`event-${index}`)
  for (let index = 0; index < 6; index++) crowded.addLink({ context: remote })
  crowded.setStatus({ code: SpanStatusCode.OK })
  crowded.end()
  continued.end()
  root.end()
}

async function sendMetrics(resource: Resource, exporter: PushMetricExporter, rounds: number): Promise<void> {
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
  const provider = new MeterProvider({
    resource,
    readers: [reader],
    views: [
      { instrumentName: 'exponential', aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM } },
      {
        instrumentName: 'bounds',
        aggregation: {
          type: AggregationType.EXPLICIT_BUCKET_HISTOGRAM,
          options: { boundaries: [0, 0.5, 10] },
        },
      },
    ],
  })
  const meters = [
    provider.getMeter('meter'),
    provider.getMeter('other', '2', { schemaUrl: 'https://example.test/2' }),
  ]
  const recorders = meters.map(instruments)
  for (let round = 0; round < rounds; round++) {
    for (const record of recorders) record(round)
    await provider.forceFlush()
  }
  await provider.shutdown()
}

function instruments(meter: Meter): (round: number) => void {
  const counter = meter.createCounter('requests', {
    unit: '{request}',
    description: 'how many',
    valueType: ValueType.INT,
  })
  const cost = meter.createCounter('cost', { unit: 'EUR' })
  const active = meter.createUpDownCounter('active', { valueType: ValueType.INT })
  const gauge = meter.createGauge('temperature', { unit: 'Cel' })
  const level = meter.createGauge('level', { valueType: ValueType.INT })
  const duration = meter.createHistogram('duration', { unit: 's', description: 'how long' })
  const bounds = meter.createHistogram('bounds')
  const exponential = meter.createHistogram('exponential', { unit: 'By' })
  let observed = 0
  meter.createObservableCounter('cpu.time').addCallback((result) => {
    result.observe(++observed * 1.5, { cpu: 0 })
    result.observe(observed, { cpu: 1, mode: 'user' })
  })
  meter
    .createObservableUpDownCounter('queue', { valueType: ValueType.INT })
    .addCallback((result) => result.observe(-3))
  meter.createObservableGauge('load').addCallback((result) => result.observe(0.25, { ...ALL_KINDS }))
  return (round) => {
    counter.add(1)
    counter.add(round + 2, ALL_KINDS)
    cost.add(0.1, { route: '/a' })
    active.add(round % 2 === 0 ? 5 : -9, { pool: 'x' })
    gauge.record(-273.15, { room: 'north' })
    level.record(Number.MAX_SAFE_INTEGER)
    for (let index = 0; index < 20; index++) {
      const attributes = { route: `/${index % 3}` }
      duration.record(index * 0.7, attributes)
      bounds.record(index === 0 ? 0 : 1 / index, attributes)
      exponential.record(index === 0 ? 0 : 2 ** index, attributes)
    }
  }
}

const BODIES: readonly unknown[] = [
  'a line',
  '',
  42,
  -0.5,
  true,
  ['a', 1, null, [2.5]],
  { user: { name: 'ann', tags: ['x'], age: 7 }, empty: {}, none: null },
  new Uint8Array([0, 1, 254, 255]),
  undefined,
]

async function sendLogs(resource: Resource, exporter: LogRecordExporter, rounds: number): Promise<void> {
  const provider = new LoggerProvider({
    resource,
    logRecordLimits: { attributeCountLimit: 20 },
    processors: [new BatchLogRecordProcessor({ exporter, maxExportBatchSize: 40, maxQueueSize: 100_000 })],
  })
  const loggers = [
    provider.getLogger('logger'),
    provider.getLogger('other', '0.1', {
      schemaUrl: 'https://example.test/3',
      attributes: { part: 'db', size: 3 },
    }),
  ]
  for (let round = 0; round < rounds; round++) for (const logger of loggers) makeLogs(logger, round)
  await provider.forceFlush()
  await provider.shutdown()
}

function makeLogs(logger: Logger, round: number): void {
  const traced = trace.setSpanContext(ROOT_CONTEXT, {
    traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
    spanId: '00f067aa0ba902b7',
    traceFlags: TraceFlags.SAMPLED,
  })
  for (const [index, body] of BODIES.entries()) {
    const severityNumber = ((round * BODIES.length + index) % 25) as SeverityNumber // 0 to 24, as the enum.
    logger.emit({
      severityNumber,
      severityText: `level ${severityNumber}`,
      body,
      timestamp: [1_700_000_000 + index, 987_654_321],
      ...(index % 2 === 0 && { context: traced, eventName: 'shop.order.placed' }),
      attributes: { ...ALL_KINDS, nested: { deep: [{ a: 1n }, null] }, raw: new Uint8Array([7, 8]) },
    })
  }
  logger.emit({
    body: 'crowded',
    attributes: Object.fromEntries(Array.from({ length: 40 }, (_, at) => [`k${at}`, at])),
  })
  logger.emit({ body: 'thrown', exception: new RangeError('too far') })
}
