/**
 * Random OTLP requests for property tests, made by walking the proto definitions, and a small encoder of OTLP/JSON written against
 * those definitions alone. Both know nothing of src/otlp. A seed gives the same request always.
 */
import protobuf from 'protobufjs'
import type { Signal } from '../../src/otlp/batch.ts'
import { messageType, type Plain } from '../support/otlp.ts'

export const REQUEST_NAMES: Record<Signal, string> = {
  traces: 'opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest',
  metrics: 'opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest',
  logs: 'opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest',
}

const IDS: Readonly<Record<string, number>> = { traceId: 16, spanId: 8, parentSpanId: 8 }

export class Random {
  #state: number
  constructor(seed: number) {
    this.#state = seed >>> 0
  }
  /** 0 to 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  below(limit: number): number {
    return Math.floor(this.next() * limit)
  }
  chance(probability: number): boolean {
    return this.next() < probability
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T // The list is not empty.
  }
  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)))
  }
}

const TEXTS = [
  '',
  'a',
  'GET',
  'service.name',
  '__proto__',
  'constructor',
  'line\nbreak "quoted" \\ \t',
  '\u0000\u001f\u007f',
]
const WIDE = [
  '\u00e9\u00fc',
  '\u20ac 12',
  '\u{1f600}',
  '\ufffd',
  '\u2028',
  'x'.repeat(140),
  '\u4e2d'.repeat(60),
]
const DOUBLES = [
  0,
  -0,
  1,
  -1,
  0.1,
  1.5,
  19.99,
  1e-7,
  5e-324,
  1e21,
  1.7976931348623157e308,
  123456.789,
  1 / 3,
  2 ** 53,
  1e15 + 0.3,
]
const ODD_DOUBLES = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]

function text(random: Random): string {
  const choice = random.next()
  if (choice < 0.4) return random.pick(TEXTS)
  if (choice < 0.6) return random.pick(WIDE)
  return Array.from({ length: random.below(40) }, () => String.fromCharCode(32 + random.below(95))).join('')
}

function integer(random: Random, bits: number, signed: boolean): string {
  const choice = random.next()
  let value = 0n
  if (choice < 0.3) value = BigInt(random.below(300))
  else if (choice < 0.9)
    value = BigInt(`0x${random.bytes(8).toString('hex')}`) >> BigInt(random.below(64) + 64 - bits)
  else value = (1n << BigInt(bits)) - 1n
  return (signed ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value)).toString()
}

function scalar(random: Random, field: protobuf.Field): Plain {
  if (field.resolvedType instanceof protobuf.Enum) return random.below(6)
  switch (field.type) {
    case 'string':
      return text(random)
    case 'bytes':
      return random.chance(0.1) ? Buffer.alloc(0) : random.bytes(IDS[field.name] ?? random.below(40))
    case 'bool':
      return random.chance(0.5)
    case 'double':
      return random.chance(0.1)
        ? random.pick(ODD_DOUBLES)
        : random.chance(0.5)
          ? random.pick(DOUBLES)
          : (random.next() - 0.5) * 10 ** (random.below(30) - 15)
    case 'fixed64':
    case 'uint64':
      return integer(random, 64, false)
    case 'sfixed64':
    case 'int64':
      return integer(random, 64, true)
    case 'uint32':
    case 'fixed32':
      return Number(integer(random, 32, false))
    default:
      return Number(integer(random, 32, true))
  }
}

/** A random object of this type in protobufjs' plain form. Zeros may be written out. */
export function randomMessage(random: Random, type: protobuf.Type, depth = 0): Plain {
  const object: Plain = {}
  const members = new Map<protobuf.OneOf, string>()
  for (const oneof of type.oneofsArray) members.set(oneof, random.pick(oneof.fieldsArray).name)
  for (const field of type.fieldsArray) {
    if (field.partOf && members.get(field.partOf) !== field.name) continue
    if (random.chance(depth > 12 ? 0.8 : 0.25)) continue
    field.resolve()
    const inner = field.resolvedType instanceof protobuf.Type ? field.resolvedType : undefined
    if (inner && depth > 16) continue
    const make = () => (inner ? randomMessage(random, inner, depth + 1) : scalar(random, field))
    object[field.name] = field.repeated ? Array.from({ length: random.below(4) }, make) : make()
  }
  return object
}

export function randomRequest(seed: number, signal: Signal): Uint8Array {
  const type = messageType(REQUEST_NAMES[signal])
  const random = new Random(seed)
  return Buffer.from(type.encode(type.fromObject(randomMessage(random, type))).finish())
}

/** Everything that the bytes mean, with defaults filled in, so that two encodings of one message are equal. */
export function meaning(signal: Signal, bytes: Uint8Array): Plain {
  const type = messageType(REQUEST_NAMES[signal])
  return type.toObject(type.decode(Buffer.from(bytes)), { longs: String, bytes: Buffer, defaults: true })
}

/**
 * OTLP/JSON of an object in the plain form. With `random`, the freedom that a sender has is used: key case, white space, order
 * of keys, integers in quotes or not, escapes, unknown keys, nulls.
 */
export function referenceJson(object: Plain, type: protobuf.Type, random?: Random): string {
  const entries = type.fieldsArray
    .filter((field) => object[field.name] !== undefined)
    .map((field) => {
      field.resolve()
      const one = (value: Plain) => referenceValue(value, field, random)
      const value = object[field.name]
      return [
        keyText(field.name, random),
        field.repeated ? `[${value.map(one).join(gap(random, ','))}]` : one(value),
      ]
    })
  if (random?.chance(0.2)) entries.push(['"unknownKey"', '{"a":[1,-2.5e3,{"b":null}],"c":"]}\\""}'])
  if (random?.chance(0.5)) entries.reverse()
  return `{${gap(random)}${entries.map((pair) => pair.join(gap(random, ':'))).join(gap(random, ','))}${gap(random)}}`
}

function gap(random: Random | undefined, separator = ''): string {
  if (!random?.chance(0.1)) return separator
  return random.pick([' ', '\n\t']) + separator + random.pick(['', '\r\n '])
}

function keyText(name: string, random: Random | undefined): string {
  if (random?.chance(0.1)) return `"${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}"`
  if (random?.chance(0.02)) return `"\\u00${name.charCodeAt(0).toString(16)}${name.slice(1)}"`
  return `"${name}"`
}

function referenceValue(value: Plain, field: protobuf.Field, random: Random | undefined): string {
  if (field.resolvedType instanceof protobuf.Type) return referenceJson(value, field.resolvedType, random)
  if (field.resolvedType instanceof protobuf.Enum) {
    const name = field.resolvedType.valuesById[value]
    return name !== undefined && random?.chance(0.3) ? `"${name}"` : String(value)
  }
  if (field.type === 'bytes') return JSON.stringify(value.toString(field.name in IDS ? 'hex' : 'base64'))
  if (field.type === 'double') {
    if (!Number.isFinite(value)) return `"${value}"`
    const digits = Object.is(value, -0) ? '-0' : String(value)
    return random?.chance(0.2) ? `"${digits}"` : digits
  }
  if (field.type === 'string' && random?.chance(0.2))
    return `"${value.replace(/[\s\S]/g, (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)}"`
  if (field.type === 'string' || field.type === 'bool') return JSON.stringify(value)
  const quoted = /64/.test(field.type) ? !random?.chance(0.3) : (random?.chance(0.2) ?? false)
  return quoted ? `"${value}"` : String(value)
}
