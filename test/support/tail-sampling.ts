/**
 * Traces for the tests of tail sampling: plain objects in, encoded batches out, and what came out of a sink
 * by trace.
 */
import type { Batch } from '../../src/otlp/batch.ts'
import { Batch as TraceBatch } from '../../src/otlp/batch.ts'
import { anyValue, decodeBatch, encode, keyValues, type Plain, type Value } from './otlp.ts'

export interface TestSpan {
  /** 32 hex digits; short ones are filled up on the left. */
  readonly trace: string
  readonly resource?: Readonly<Record<string, Value>>
  readonly scope?: string
  readonly name?: string
  readonly startMs?: number
  readonly endMs?: number
  readonly status?: number
  readonly attributes?: Readonly<Record<string, Value>>
  readonly traceState?: string
  readonly flags?: number
  /** False: the span has a parent. */
  readonly root?: boolean
}

export function traceId(trace: string): Buffer {
  return Buffer.from(trace.padStart(32, '0'), 'hex')
}

let counter = 1

export function plainSpan(span: TestSpan): Plain {
  const spanId = Buffer.alloc(8)
  spanId.writeUInt32BE(counter++, 4)
  return {
    traceId: traceId(span.trace),
    spanId,
    ...(span.root === false ? { parentSpanId: Buffer.from('0102030405060708', 'hex') } : {}),
    ...(span.traceState === undefined ? {} : { traceState: span.traceState }),
    name: span.name ?? 'span',
    startTimeUnixNano: nanos(span.startMs ?? 1000),
    endTimeUnixNano: nanos(span.endMs ?? 1001),
    attributes: Object.entries(span.attributes ?? {}).map(([key, value]) => ({
      key,
      value: anyValue(value),
    })),
    ...(span.status === undefined ? {} : { status: { code: span.status } }),
    ...(span.flags === undefined ? {} : { flags: span.flags }),
  }
}

/** Milliseconds, also broken ones, after some day in 2023, in nanoseconds. */
function nanos(ms: number): string {
  return String(1_700_000_000_000_000_000n + BigInt(Math.round(ms * 1e6)))
}

/** One request; neighbours with the same resource (and scope) share a ResourceSpans (and ScopeSpans). */
export function request(...spans: readonly TestSpan[]): Batch {
  const resourceSpans: Plain[] = []
  let lastResource: string | undefined
  let lastScope: string | undefined
  for (const span of spans) {
    const resource = JSON.stringify(span.resource ?? {}, (_, value) =>
      typeof value === 'bigint' ? `${value}n` : value,
    )
    if (resource !== lastResource) {
      resourceSpans.push({ resource: { attributes: keyValues(span.resource ?? {}) }, scopeSpans: [] })
      lastScope = undefined
    }
    lastResource = resource
    const scopes = resourceSpans.at(-1).scopeSpans
    const scope = span.scope ?? ''
    if (scope !== lastScope) scopes.push({ scope: { name: scope }, spans: [] })
    lastScope = scope
    scopes.at(-1).spans.push(plainSpan(span))
  }
  return new TraceBatch('traces', [encode('traces', { resourceSpans })], spans.length)
}

/** Trace ids (without leading zeros) of what the batches hold, with the number of spans of each. */
export function spansByTrace(batches: readonly Batch[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const batch of batches)
    for (const resource of decodeBatch(batch).resourceSpans ?? [])
      for (const scope of resource.scopeSpans ?? [])
        for (const span of scope.spans ?? []) {
          const id = span.traceId.toString('hex').replace(/^0+/, '')
          counts.set(id, (counts.get(id) ?? 0) + 1)
        }
  return counts
}

/** The ids alone, sorted. */
export function keptTraces(batches: readonly Batch[]): string[] {
  return [...spansByTrace(batches).keys()].sort()
}
