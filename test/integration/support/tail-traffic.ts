/**
 * Generated traces for the comparison of tail sampling: 1 to 8 spans each, several resources and scopes. The
 * spans of a trace lie in several requests, between those of others.
 *
 * Every span has its number in its span id, so that a receiver can tell exactly which spans came through.
 */
import { encode, type Plain } from '../../support/otlp.ts'
import {
  Dice,
  makeId,
  makeResources,
  makeScopes,
  makeSpan,
  type Origin,
  oddTimes,
  type Times,
  traceTimes,
} from './tail-spans.ts'

export interface Traffic {
  readonly requests: readonly Buffer[]
  /** By trace: the id as hex, the first of its spans, how many there are, what `latency` goes by. */
  readonly traces: readonly TraceFacts[]
  /** By span: its trace, and the labels of the resource and the scope that it belongs to. */
  readonly traceOf: Int32Array
  readonly resourceOf: readonly string[]
  readonly scopeOf: readonly string[]
  /** By trace: the first and the last request that has a span of it. */
  readonly firstRequest: Int32Array
  readonly lastRequest: Int32Array
}

export interface TraceFacts {
  readonly id: string
  readonly firstSpan: number
  readonly spanCount: number
  /** Latest end - earliest start, of all spans. */
  readonly nanos: bigint
  /** The same without the first span to arrive, if that has neither start nor end. */
  readonly nanosWithoutUntimedFirst: bigint
}

const SPANS_PER_REQUEST = 100
/** The spans of a trace lie in at most this many requests in a row. */
const SPREAD_REQUESTS = 16

interface Placed {
  readonly number: number
  readonly span: Plain
  readonly resource: number
  readonly scope: number
}

export function makeTraffic(seed: number, traceCount: number): Traffic {
  const dice = new Dice(seed)
  const resources = makeResources(dice)
  const scopes = makeScopes()
  const requestCount = Math.ceil((traceCount * 4.5) / SPANS_PER_REQUEST) + SPREAD_REQUESTS
  const placed: Placed[][] = Array.from({ length: requestCount }, () => [])
  const traces: MadeTrace[] = []
  const [traceOf, resourceOf, scopeOf]: [number[], string[], string[]] = [[], [], []]
  const firstRequest = new Int32Array(traceCount).fill(requestCount)
  const lastRequest = new Int32Array(traceCount)
  const ids = new Set<string>()
  let id: Buffer = Buffer.alloc(16)
  for (let trace = 0; trace < traceCount; trace++) {
    do id = makeId(dice, trace, id.length === 0 ? Buffer.alloc(16) : id)
    while (ids.has(id.toString('hex')))
    ids.add(id.toString('hex'))
    const count = 1 + dice.below(8)
    const odd = dice.chance(1 / 40)
    const times = odd ? oddTimes(dice, traceTimes(dice, count)) : traceTimes(dice, count)
    const base = Math.floor((trace / traceCount) * (requestCount - SPREAD_REQUESTS))
    const firstSpan = traceOf.length
    const own = [dice.below(resources.length), dice.below(resources.length)]
    // Where times are odd the order of the spans counts: they come in one request.
    const spread = odd || dice.chance(0.3) ? 1 : SPREAD_REQUESTS
    for (const [index, time] of times.entries()) {
      const number = traceOf.length
      const root = index === 0 ? dice.chance(0.85) : dice.chance(0.02)
      const span = makeSpan(dice, id, number, time, root)
      const [resource, scope] = [dice.pick(own), dice.below(scopes.length)]
      const request = base + dice.below(spread)
      placed[request]?.push({ number, span, resource, scope })
      firstRequest[trace] = Math.min(firstRequest[trace] ?? 0, request)
      lastRequest[trace] = Math.max(lastRequest[trace] ?? 0, request)
      traceOf.push(trace)
      resourceOf.push(resources[resource]?.label ?? '')
      scopeOf.push(scopes[scope]?.label ?? '')
    }
    traces.push({ id: id.toString('hex').padStart(32, '0'), firstSpan, times })
  }
  const requests = placed.map((list) => encodeRequest(dice, list, resources, scopes))
  const firstToArrive = new Int32Array(traceCount).fill(-1)
  for (const { number } of placed.flat()) {
    const trace = traceOf[number] ?? 0
    if (firstToArrive[trace] === -1) firstToArrive[trace] = number
  }
  return {
    requests,
    traces: traces.map((made, trace) => factsOf(made, firstToArrive[trace] ?? 0)),
    traceOf: Int32Array.from(traceOf),
    resourceOf,
    scopeOf,
    firstRequest,
    lastRequest,
  }
}

interface MadeTrace {
  readonly id: string
  readonly firstSpan: number
  readonly times: readonly Times[]
}

function factsOf({ id, firstSpan, times }: MadeTrace, firstToArrive: number): TraceFacts {
  const nanos = durationOf(times)
  const first = times[firstToArrive - firstSpan]
  const rest = times.filter((time) => time !== first)
  const untimedFirst = first?.start === 0n && first.end === 0n && rest.length > 0
  const nanosWithoutUntimedFirst = untimedFirst ? durationOf(rest) : nanos
  return { id, firstSpan, spanCount: times.length, nanos, nanosWithoutUntimedFirst }
}

function durationOf(times: readonly Times[]): bigint {
  let [start, end] = [2n ** 64n, 0n]
  for (const time of times) {
    if (time.start < start) start = time.start
    if (time.end > end) end = time.end
  }
  return end - start
}

/** Spans in any order; neighbours of one resource (and scope) share it, and a resource may come twice. */
function encodeRequest(
  dice: Dice,
  list: Placed[],
  resources: readonly Origin[],
  scopes: readonly Origin[],
): Buffer {
  for (let index = list.length - 1; index > 0; index--) {
    const other = dice.below(index + 1)
    const [a, b] = [list[index], list[other]]
    if (a && b) [list[index], list[other]] = [b, a]
  }
  if (dice.chance(0.8)) list.sort((a, b) => a.resource - b.resource || a.scope - b.scope)
  const resourceSpans: Plain[] = []
  let [lastResource, lastScope] = [-1, -1]
  for (const { span, resource, scope } of list) {
    if (resource !== lastResource) {
      resourceSpans.push({ resource: resources[resource]?.plain, scopeSpans: [] })
      lastScope = -1
    }
    const scopeSpans = resourceSpans.at(-1).scopeSpans
    if (scope !== lastScope) scopeSpans.push({ scope: scopes[scope]?.plain, spans: [] })
    scopeSpans.at(-1).spans.push(span)
    lastResource = resource
    lastScope = scope
  }
  return Buffer.from(encode('traces', { resourceSpans }))
}
