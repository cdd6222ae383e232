/** Traces that use all that Jaeger can show, and what a Jaeger answers about them in a form that can be compared. */
import type { Batch } from '../../../src/otlp/batch.ts'
import { type Attributes, Double, type SpanInput, traces } from '../../support/otlp.ts'

const BASE = BigInt(Math.floor(Date.now() / 1000) - 60) * 1_000_000_000n
const ALL_TYPES: Attributes = {
  text: 'plain "quoted" \u{1f600}',
  empty: '',
  yes: true,
  no: false,
  int: -42,
  big: 9_007_199_254_740_993n,
  double: new Double(2.5),
  whole: new Double(3),
  bytes: new Uint8Array([0, 1, 254, 255]),
  list: ['a', 1, new Double(0.5), true],
  map: { b: 'x', a: { deep: [1] } },
  'http.status_code': 200,
}

export const traceId = (index: number) => `5b8aa5a2d2c872e8321cf373${index.toString(16).padStart(8, '0')}`
export const spanId = (index: number) => `eee19b7e${index.toString(16).padStart(8, '0')}`

function spanOf(trace: number, index: number, more: Partial<SpanInput> = {}): SpanInput {
  return {
    traceId: traceId(trace),
    spanId: spanId(trace * 100 + index),
    name: `operation ${index}`,
    startTimeUnixNano: BASE + BigInt(index) * 1_000_000n,
    endTimeUnixNano: BASE + BigInt(index) * 1_000_000n + 1_500_000n,
    ...more,
  }
}

/** The spans of one trace as one service sees them; `first` is the index of its first span. */
function spansOf(trace: number, first: number): SpanInput[] {
  const parentSpanId = spanId(trace * 100 + first)
  const time = BASE + 5_000_000n
  const link = (index: number, attributes: Attributes = {}) => ({
    traceId: traceId(trace + 1000),
    spanId: spanId(index),
    attributes,
  })
  const of = (index: number, more: Partial<SpanInput>) =>
    spanOf(trace, first + index, { parentSpanId, ...more })
  return [
    spanOf(trace, first, { name: 'GET /cart', kind: 2, attributes: ALL_TYPES, status: { code: 1 } }),
    of(1, { kind: 3, status: { code: 2, message: 'it broke' }, traceState: 'vendor=a,other=b' }),
    of(2, { kind: 1, status: { code: 2 } }),
    of(3, {
      kind: 4,
      links: [link(1), link(2, { 'opentracing.ref_type': 'child_of' }), link(3, { why: 'x' })],
    }),
    of(4, {
      kind: 5,
      links: [
        {
          traceId: traceId(trace),
          spanId: parentSpanId,
          attributes: { 'opentracing.ref_type': 'follows_from' },
        },
      ],
    }),
    of(5, {
      events: [
        { timeUnixNano: time, name: 'exception', attributes: { 'exception.message': 'no', ...ALL_TYPES } },
        { timeUnixNano: time + 1_000n, name: 'named by attribute', attributes: { event: 'own' } },
        { timeUnixNano: time + 2_000n, name: 'bare' },
        { timeUnixNano: time + 3_000n, attributes: { only: 'attributes' } },
      ],
    }),
    of(6, {
      attributes: { 'span.kind': 'mine', error: false, 'otel.status_code': 'own' },
      kind: 2,
      status: { code: 2 },
    }),
    of(7, { status: { code: 0, message: 'said without a code' }, endTimeUnixNano: 0n, flags: 0x101 }),
    of(8, { endTimeUnixNano: BASE - 1_000_000_000n, name: '' }),
  ]
}

const RESOURCES: readonly Attributes[] = [
  { 'service.name': 'front', 'service.namespace': 'shop', 'service.instance.id': 'f-1', ...ALL_TYPES },
  { 'service.name': 'back', 'host.name': 'alpha' },
  { 'host.name': 'nameless' },
  {},
]

export const TRACES = 24
export const SPANS = TRACES * 9 * 2

/** Each trace has spans of two services, in different requests. */
export function jaegerInput(): Batch[] {
  const batches: Batch[] = []
  for (let trace = 0; trace < TRACES; trace++) {
    for (const part of [0, 1])
      batches.push(
        traces({
          resource: RESOURCES[(trace + part) % RESOURCES.length]!,
          ...(trace % 3 > 0 && {
            scope: { name: 'lib', version: trace % 3 > 1 ? '1.2' : '', attributes: { s: 1 } },
          }),
          spans: spansOf(trace, part * 50),
        }),
      )
  }
  return batches
}

export interface Tag {
  readonly key: string
  readonly type: string
  readonly value: unknown
}

export interface JaegerSpan {
  readonly traceID: string
  readonly spanID: string
  readonly operationName: string
  readonly references: readonly { refType: string; traceID: string; spanID: string }[]
  readonly startTime: number
  readonly duration: number
  readonly tags: readonly Tag[]
  readonly logs: readonly { timestamp: number; fields: readonly Tag[] }[]
  readonly warnings: readonly string[] | null
  readonly flags?: number
  readonly process: { readonly serviceName: string; readonly tags: readonly Tag[] }
}

interface Answer {
  readonly data: readonly {
    readonly spans: readonly (JaegerSpan & { readonly processID: string })[]
    readonly processes: Readonly<Record<string, JaegerSpan['process']>>
  }[]
}

/** All spans by their ids; processes stand in the spans, tags are in the order of their keys. */
export async function allSpans(queryUrl: string): Promise<Map<string, JaegerSpan>> {
  const spans = new Map<string, JaegerSpan>()
  for (let trace = 0; trace < TRACES; trace++) {
    const response = await fetch(`${queryUrl}/api/traces/${traceId(trace)}`)
    if (!response.ok) continue
    const { data } = (await response.json()) as Answer
    for (const { spans: found, processes } of data)
      for (const { processID, ...span } of found) {
        const key = `${span.traceID} ${span.spanID}`
        if (spans.has(key)) throw new Error(`${key} is there twice`)
        const process = processes[processID]!
        const logs = span.logs.map((log) => ({ ...log, fields: sorted(log.fields) }))
        spans.set(key, {
          ...span,
          logs,
          tags: sorted(span.tags),
          process: { ...process, tags: sorted(process.tags) },
        })
      }
  }
  return spans
}

function sorted(tags: readonly Tag[] | null | undefined): Tag[] {
  const keyOf = ({ key, value }: Tag) => `${key}\0${String(value)}`
  return [...(tags ?? [])].sort((left, right) => (keyOf(left) < keyOf(right) ? -1 : 1))
}
