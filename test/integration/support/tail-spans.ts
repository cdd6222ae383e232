/**
 * What the generated traces are made of: values on and around every bound that the policies of
 * tail-configs.ts look at, of every kind, missing and empty; times at whole milliseconds; ids that share
 * halves.
 */
import { randomSource } from '../../../bench/support/payload.ts'
import { type Attributes, anyValue, Double, keyValues, type Plain, type Value } from '../../support/otlp.ts'

/** Marks the span ids: 4 bytes, then the number of the span from 1. */
export const SPAN_ID_MARK = 0x5eed0000

export class Dice {
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

const BASE_NANOS = 1_790_000_000_000_000_000n
const MS = 1_000_000

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
// biome-ignore format: a table.
const TRACE_STATES = [
  'vendor=a', 'vendor=b', 'vendor=c', 'vendor=a,other=1', 'other=1,vendor=b', ' vendor=a', 'vendor=a ',
  'other=1 , vendor=b', 'vendor=a,', ',vendor=a', ',,', 'vendor', 'vendor=', '=a', 'Vendor=a',
  'vendor=a,vendor=b', 'vendor=b,other=1,other=2', 'vendor=a,bad key=1', 'vendor=a=b', 'tenant@vendor=a',
  '1t@vendor=a,vendor=a',
  '1vendor=a', 'vendor=a,1vendor=b', 'vendor =a', 'vendor= a', 'vendor=A', 'vendor=ab', '\tvendor=a\t',
  'vendor=a,other=\u00fc', 'ot=th:8;rv:00000000000001,vendor=b', `vendor=a,${'k'.repeat(257)}=1`,
  `vendor=b,other=${'v'.repeat(257)}`, `vendor=b,other=${'v'.repeat(256)}`, `${'k'.repeat(256)}=1,vendor=a`,
  [...Array.from({ length: 31 }, (_, index) => `k${index}=v`), 'vendor=a'].join(','),
  [...Array.from({ length: 32 }, (_, index) => `k${index}=v`), 'vendor=a'].join(','),
  'vendor=a;b', 'vendor=a,@x=1', 'vendor=a,a@b@c=1', 'vendor=a,t@=1', 'vendor=b,_x=1', 'vendor=b,x_-*/=1',
]

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

export interface Origin {
  readonly label: string
  readonly plain: Plain
}

export function makeResources(dice: Dice): Origin[] {
  const resources: Origin[] = [{ label: '', plain: undefined }]
  for (let index = 0; index < 40; index++) {
    const label = `service-${index}`
    const own: Attributes = { 'service.name': label, 'host.name': `host-${index % 5}` }
    const extra = index % 4 === 0 ? attributeList(dice, 0.3) : []
    resources.push({ label, plain: { attributes: [...keyValues(own), ...extra] } })
  }
  // Whatever the seed: an empty string, and values of another type.
  const odd: Attributes[] = [{ tier: '' }, { tier: 450, 'http.code': 'gold', canary: 'true' }]
  for (const [index, attributes] of odd.entries()) {
    const label = `odd-${index}`
    resources.push({ label, plain: { attributes: keyValues({ 'service.name': label, ...attributes }) } })
  }
  return resources
}

export function makeScopes(): Origin[] {
  const named = ['http', 'db', 'queue'].map((name) => ({ label: name, plain: { name, version: '1.2.0' } }))
  return [{ label: '', plain: undefined }, ...named]
}

export interface Times {
  readonly start: bigint
  readonly end: bigint
}

/** Nanoseconds that a trace lasts: on and just beside the edges of whole milliseconds, or anything. */
function traceNanos(dice: Dice): number {
  if (dice.chance(0.4)) {
    const edgeMs = dice.pick([0, 1, 2, 999, 1000, 1000, 1000, 1001, 1002])
    return Math.max(0, edgeMs * MS + dice.pick([-1, 0, 0, 1, 500_000, MS - 1]))
  }
  if (dice.chance(0.15)) return 1_002 * MS + dice.below(4_000_000_000)
  return Math.floor(10 ** (3 + dice.next() * 5.9))
}

/** Times of the spans of one trace: the first starts first, some span ends last. */
export function traceTimes(dice: Dice, count: number): Times[] {
  const nanos = traceNanos(dice)
  const last = dice.below(count)
  return Array.from({ length: count }, (_, index) => {
    const start = index === 0 ? 0 : dice.below(nanos + 1)
    const end = index === last ? nanos : start + dice.below(nanos - start + 1)
    return { start: BASE_NANOS + BigInt(start), end: BASE_NANOS + BigInt(end) }
  })
}

/** One trace in 40 has odd times: spans that end before they start, or without start or end. */
export function oddTimes(dice: Dice, times: Times[]): Times[] {
  const kind = dice.below(4)
  if (kind === 0) return times.map(({ start, end }) => ({ start: end, end: start }))
  const odd = dice.below(times.length)
  return times.map(({ start, end }, index) => {
    if (index !== odd) return { start, end }
    return { start: kind === 2 ? start : 0n, end: kind === 1 ? end : 0n }
  })
}

export function makeSpan(dice: Dice, id: Buffer, number: number, times: Times, root: boolean): Plain {
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

/** Random ids; some share a half with the one before, or are nearly empty. The first is none at all. */
export function makeId(dice: Dice, index: number, before: Buffer): Buffer {
  if (index === 0) return Buffer.alloc(0)
  const id = Buffer.from(Array.from({ length: 16 }, () => dice.below(256)))
  if (index % 50 === 1) before.copy(id, 0, 0, 8)
  if (index % 50 === 2) before.copy(id, 8, 8, 16)
  if (index % 50 === 3) id.fill(0, 0, 12)
  if (index % 50 === 4) id.fill(0, 4, 16)
  return id
}
