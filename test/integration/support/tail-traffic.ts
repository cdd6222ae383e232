/**
 * Generated traces for the comparison of tail sampling: 1 to 8 spans each, several resources and scopes, values on and
 * around every bound that the policies of tail-configs.ts look at. The spans of a trace lie in several requests.
 *
 * Every span has its number in its span id, so that a receiver can tell exactly which spans came through.
 */

import { randomSource } from '../../../bench/support/payload.ts'
import {
  type Attributes,
  anyValue,
  Double,
  encode,
  keyValues,
  type Plain,
  type Value,
} from '../../support/otlp.ts'

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
  /** Some span has no start or no end time. */
  readonly untimed: boolean
}

/** Marks the span ids: 4 bytes, then the number of the span from 1. */
export const SPAN_ID_MARK = 0x5eed0000
const SPANS_PER_REQUEST = 100
/** The spans of a trace lie in at most this many requests in a row. */
const SPREAD_REQUESTS = 24
const BASE_NANOS = 1_790_000_000_000_000_000n
const MS = 1_000_000

class Dice {
  readonly next: () => number
  constructor(seed: number) {
    this.next = randomSource(seed)
    for (let index = 0; index < 20; index++) this.next()
  }
  below(limit: number): number {
    return Math.floor(this.next() * limit)
  }
  chance(probability: number): boolean {
    return this.next() < probability
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T // The lists are not empty.
  }
}

const BIG = [2n ** 53n + 1n, -(2n ** 63n), 2n ** 63n - 1n, -1n, 127n, 128n]
const NUMBERS = [399, 400, 401, 450, 499, 500, 501, 599, 600, -6, -5, -4, 0, 4, 5, 6, 1, 200, 201, 204, 302]
const TIERS = [
  'gold',
  'silver',
  'bronze',
  'gold ',
  'Gold',
  'go',
  'goldfish',
  'marigold',
  'g\u00f6ld',
  'line\nbreak',
  'x'.repeat(300),
]
const TRACE_STATES = [
  'vendor=a', 'vendor=b', 'vendor=c', 'vendor=a,other=1', 'other=1,vendor=b', ' vendor=a', 'vendor=a ', 'other=1 , vendor=b',
  'vendor=a,', ',vendor=a', ',,', 'vendor', 'vendor=', '=a', 'Vendor=a', 'vendor=a,vendor=b', 'vendor=b,other=1,other=2',
  'vendor=a,bad key=1', 'vendor=a=b', 'tenant@vendor=a', '1t@vendor=a,vendor=a', '1vendor=a', 'vendor=a,1vendor=b', 'vendor =a', 'vendor= a',
  'vendor=A', 'vendor=ab', '\tvendor=a\t', 'vendor=a,other=\u00fc', 'ot=th:8;rv:00000000000001,vendor=b', `vendor=a,${'k'.repeat(257)}=1`,
  `vendor=b,other=${'v'.repeat(257)}`, `vendor=b,other=${'v'.repeat(256)}`, `${'k'.repeat(256)}=1,vendor=a`,
  [...Array.from({ length: 31 }, (_, index) => `k${index}=v`), 'vendor=a'].join(','),
  [...Array.from({ length: 32 }, (_, index) => `k${index}=v`), 'vendor=a'].join(','),
  'vendor=a;b', 'vendor=a,@x=1', 'vendor=a,a@b@c=1', 'vendor=a,t@=1', 'vendor=b,_x=1', 'vendor=b,x_-*/=1',
] // biome-ignore format: a table.

/** A value for `key` of any kind, mostly of the kind that its policies look at. */
function valueFor(dice: Dice, key: string): Value {
  if (dice.chance(0.25)) {
    const other = [
      true,
      false,
      'gold',
      '450',
      '',
      null,
      new Double(450),
      new Double(0),
      450,
      0,
      [450, 'gold', true],
    ]
    return dice.pick<Value>([...other, { gold: 450 }, new Uint8Array([1, 2]), new Uint8Array(0), []])
  }
  if (key === 'http.code') return dice.chance(0.1) ? dice.pick(BIG) : dice.pick(NUMBERS)
  if (key === 'tier') return dice.chance(0.15) ? '' : dice.pick(TIERS)
  return dice.chance(0.5)
}

const KEYS = ['http.code', 'tier', 'canary']

function attributeList(dice: Dice, chance: number): Plain[] {
  const list: Plain[] = keyValues({ 'http.route': `/items/${dice.below(50)}` })
  for (const key of KEYS) {
    if (!dice.chance(chance)) continue
    list.push({ key, value: anyValue(valueFor(dice, key)) })
    if (dice.chance(0.05)) list.push({ key, value: anyValue(valueFor(dice, key)) }) // The first counts.
    if (dice.chance(0.02)) list.unshift({ key }) // Without any value.
  }
  if (dice.chance(0.05)) list.push({ key: '', value: anyValue('gold') })
  return list
}

interface Origin {
  readonly label: string
  readonly plain: Plain
}

function makeResources(dice: Dice): Origin[] {
  const resources: Origin[] = [{ label: '', plain: undefined }]
  for (let index = 0; index < 40; index++) {
    const label = `service-${index}`
    const own: Attributes = { 'service.name': label, 'host.name': `host-${index % 5}` }
    const extra = index % 4 === 0 ? attributeList(dice, 0.3) : []
    resources.push({ label, plain: { attributes: [...keyValues(own), ...extra] } })
  }
  return resources
}

function makeScopes(): Origin[] {
  const named = ['http', 'db', 'queue'].map((name) => ({ label: name, plain: { name, version: '1.2.0' } }))
  return [{ label: '', plain: undefined }, ...named]
}

interface Times {
  readonly start: bigint
  readonly end: bigint
}

/** Nanoseconds that a trace lasts: on, just below and just above the edges of whole milliseconds, or anything. */
function traceNanos(dice: Dice): number {
  if (dice.chance(0.4)) {
    const edgeMs = dice.pick([0, 1, 2, 999, 1000, 1000, 1000, 1001, 1002])
    return Math.max(0, edgeMs * MS + dice.pick([-1, 0, 0, 1, 500_000, MS - 1]))
  }
  if (dice.chance(0.15)) return 1_002 * MS + dice.below(4_000_000_000)
  return Math.floor(10 ** (3 + dice.next() * 5.9))
}

/** Times of the spans of one trace. The first starts first and some span ends last, so it lasts what traceNanos says. */
function traceTimes(dice: Dice, count: number): Times[] {
  const nanos = traceNanos(dice)
  const last = dice.below(count)
  return Array.from({ length: count }, (_, index) => {
    const start = index === 0 ? 0 : dice.below(nanos + 1)
    const end = index === last ? nanos : start + dice.below(nanos - start + 1)
    return { start: BASE_NANOS + BigInt(start), end: BASE_NANOS + BigInt(end) }
  })
}

/** One trace in 40 has odd times: spans that end before they start, or without start or end. */
function oddTimes(dice: Dice, times: Times[]): Times[] {
  const kind = dice.below(4)
  if (kind === 0) return times.map(({ start, end }) => ({ start: end, end: start }))
  const odd = dice.below(times.length)
  return times.map(({ start, end }, index) => {
    if (index !== odd) return { start, end }
    return { start: kind === 2 ? start : 0n, end: kind === 1 ? end : 0n }
  })
}

function makeSpan(dice: Dice, id: Buffer, number: number, times: Times, root: boolean): Plain {
  const spanId = Buffer.alloc(8)
  spanId.writeUInt32BE(SPAN_ID_MARK)
  spanId.writeUInt32BE(number + 1, 4)
  const span: Plain = {
    traceId: id,
    spanId,
    name: `op-${dice.below(20)}`,
    kind: dice.below(6),
    startTimeUnixNano: String(times.start),
    endTimeUnixNano: String(times.end),
    attributes: dice.chance(0.1) ? [] : attributeList(dice, 0.12),
  }
  if (!root) span.parentSpanId = Buffer.from(spanId).fill(7, 0, 4)
  else if (dice.chance(0.1)) span.parentSpanId = Buffer.alloc(8)
  if (dice.chance(0.2)) span.traceState = dice.pick(TRACE_STATES)
  if (dice.chance(0.3))
    span.flags = dice.chance(0.3)
      ? dice.pick([1, 0x101, 0x301, 3, 0xffffffff])
      : dice.pick([0, 2, 0x100, 0x300, 0xfffffffe])
  if (dice.chance(0.5)) span.status = makeStatus(dice)
  if (dice.chance(0.05))
    span.events = [
      { timeUnixNano: String(times.start), name: 'event', attributes: keyValues({ tier: 'gold' }) },
    ]
  if (dice.chance(0.05))
    span.links = [{ traceId: id, spanId, traceState: 'vendor=a', attributes: keyValues({ canary: true }) }]
  return span
}

function makeStatus(dice: Dice): Plain {
  const code = dice.chance(0.1)
    ? 2
    : dice.chance(0.25)
      ? 1
      : dice.chance(0.02)
        ? dice.pick([3, 7, 31, 34])
        : 0
  return {
    ...(code > 0 || dice.chance(0.5) ? { code } : {}),
    ...(dice.chance(0.2) ? { message: 'ERROR' } : {}),
  }
}

/** Random ids; some share a half with the one before, or are nearly empty. The first is that of spans without an id. */
function makeId(dice: Dice, index: number, before: Buffer): Buffer {
  if (index === 0) return Buffer.alloc(0)
  const id = Buffer.from(Array.from({ length: 16 }, () => dice.below(256)))
  if (index % 50 === 1) before.copy(id, 0, 0, 8)
  if (index % 50 === 2) before.copy(id, 8, 8, 16)
  if (index % 50 === 3) id.fill(0, 0, 12)
  if (index % 50 === 4) id.fill(0, 4, 16)
  return id
}

interface Placed {
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
  const traces: TraceFacts[] = []
  const [traceOf, resourceOf, scopeOf]: [number[], string[], string[]] = [[], [], []]
  const firstRequest = new Int32Array(traceCount).fill(requestCount)
  const lastRequest = new Int32Array(traceCount)
  const ids = new Set<string>()
  let id = Buffer.alloc(16)
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
    const spread = dice.chance(0.3) ? 1 : SPREAD_REQUESTS
    for (const [index, time] of times.entries()) {
      const root = index === 0 ? dice.chance(0.85) : dice.chance(0.02)
      const span = makeSpan(dice, id, traceOf.length, time, root)
      const [resource, scope] = [dice.pick(own), dice.below(scopes.length)]
      const request = base + dice.below(spread)
      placed[request]?.push({ span, resource, scope })
      firstRequest[trace] = Math.min(firstRequest[trace] ?? 0, request)
      lastRequest[trace] = Math.max(lastRequest[trace] ?? 0, request)
      traceOf.push(trace)
      resourceOf.push(resources[resource]?.label ?? '')
      scopeOf.push(scopes[scope]?.label ?? '')
    }
    traces.push({
      id: id.toString('hex').padStart(32, '0'),
      firstSpan,
      spanCount: count,
      ...durationOf(times),
    })
  }
  const requests = placed.map((list) => encodeRequest(dice, list, resources, scopes))
  return {
    requests,
    traces,
    traceOf: Int32Array.from(traceOf),
    resourceOf,
    scopeOf,
    firstRequest,
    lastRequest,
  }
}

function durationOf(times: readonly Times[]): { nanos: bigint; untimed: boolean } {
  const least = (a: bigint, b: bigint) => (a < b ? a : b)
  const most = (a: bigint, b: bigint) => (a > b ? a : b)
  const start = times.map((time) => time.start).reduce(least)
  const end = times.map((time) => time.end).reduce(most)
  return { nanos: end - start, untimed: times.some((time) => time.start === 0n || time.end === 0n) }
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
