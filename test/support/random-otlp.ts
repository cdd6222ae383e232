/**
 * Random OTLP requests of all signals for property tests and benches, in the plain form of otlp.ts and as
 * bytes.
 *
 * They are made by walking the message definitions, so no field is left out: all five metric types,
 * exemplars, links, events, every kind of AnyValue, nested and empty, extremes of 64-bit integers and
 * doubles, text beyond ASCII. A seed gives the same request always. `oddBytes` is the same request as another
 * encoder might write it (odd-encoder.ts).
 */
import fc from 'fast-check'
import protobuf from 'protobufjs'
import type { Signal } from '../../src/otlp/batch.ts'
import { encodeOddly, type Random } from './odd-encoder.ts'
import { encode, messageType, type Plain, REQUESTS } from './otlp.ts'

export type { Random } from './odd-encoder.ts'

/** A small seeded generator: the low bits of a Weyl sequence, mixed. */
export function seeded(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x9e3779b9) >>> 0
    let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b)
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32
  }
}

export interface RandomRequest {
  readonly signal: Signal
  readonly object: Plain
  /** As protobufjs encodes it. */
  readonly bytes: Uint8Array
  /** The same as another encoder might, with unknown fields; decodes to the same object. */
  readonly oddBytes: Uint8Array
}

/** `many`: at most this many of each repeated thing, 3 if not given. */
export function randomRequest(signal: Signal, random: Random, many = 3): RandomRequest {
  const object = randomMessage(messageType(REQUESTS[signal]), random, many, 0)
  return { signal, object, bytes: encode(signal, object), oddBytes: encodeOddly(signal, object, random) }
}

export function arbitraryRequest(signal: Signal, many = 3): fc.Arbitrary<RandomRequest> {
  return fc
    .record({ seed: fc.nat(), limit: fc.integer({ min: 1, max: many }) })
    .map(({ seed, limit }) => randomRequest(signal, seeded(seed), limit))
}

/** A random request of a random signal. */
export function arbitraryAnyRequest(many = 3): fc.Arbitrary<RandomRequest> {
  return fc
    .constantFrom<Signal>('traces', 'metrics', 'logs')
    .chain((signal) => arbitraryRequest(signal, many))
}

const TEXTS = [
  '',
  'a',
  'GET /',
  'stra\u00dfe',
  '\u{1f600}\u{10ffff}',
  '\0\n"\\',
  '\u2028<&>',
  'x'.repeat(130),
]
/** Few, so that they meet: edits look for them. */
const KEYS = ['service.name', 'host', 'env', '', 'http.route', '\u043a\u043b\u044e\u0447', 'long.'.repeat(30)]
const SIGNED = [
  '0',
  '1',
  '-1',
  '9007199254740993',
  '9223372036854775807',
  '-9223372036854775808',
  '127',
  '128',
]
const UNSIGNED = [
  '0',
  '1',
  '18446744073709551615',
  '9223372036854775808',
  '1700000000123456789',
  '4294967296',
]
const DOUBLES = [
  0,
  -0,
  1,
  -1.5,
  0.1,
  1e300,
  5e-324,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  Number.NaN,
]
const UINT32 = [0, 1, 127, 128, 70_000, 4294967295]
const INT32 = [0, 1, -1, 100, 2147483647, -2147483648]

/** Messages below this depth hold no more messages: 6 is where the values of attributes of exemplars are. */
const DEEPEST = 14

function randomMessage(type: protobuf.Type, random: Random, many: number, depth: number): Plain {
  const object: Plain = {}
  const chosen = new Map(type.oneofsArray.map((oneof) => [oneof, pick(oneof.fieldsArray, random)]))
  for (const field of type.fieldsArray) {
    if (field.partOf && chosen.get(field.partOf) !== field) continue
    if (random() < (depth === 0 ? 0 : depth > 8 ? 0.5 : 0.15)) continue
    const inner = field.resolvedType instanceof protobuf.Type ? field.resolvedType : undefined
    if (inner && depth >= DEEPEST) continue
    const make = () => (inner ? randomMessage(inner, random, many, depth + 1) : randomScalar(field, random))
    object[field.name] = field.repeated
      ? Array.from({ length: Math.floor(random() * (many + 1)) }, make)
      : make()
  }
  return object
}

function randomScalar(field: protobuf.Field, random: Random): Plain {
  if (field.resolvedType instanceof protobuf.Enum) return Math.floor(random() * 6)
  switch (field.type) {
    case 'string':
      return pick(field.name === 'key' ? KEYS : TEXTS, random)
    case 'bytes': {
      const length =
        field.name === 'traceId' ? 16 : /pan_?Id$/.test(field.name) ? 8 : Math.floor(random() * 20)
      return Buffer.from(
        Array.from({ length: random() < 0.1 ? 0 : length }, () => Math.floor(random() * 256)),
      )
    }
    case 'bool':
      return random() < 0.5
    case 'double':
      return pick(DOUBLES, random)
    case 'int64':
    case 'sfixed64':
      return pick(SIGNED, random)
    case 'uint64':
    case 'fixed64':
      return pick(UNSIGNED, random)
    case 'int32':
    case 'sint32':
      return pick(INT32, random)
    default:
      return pick(UINT32, random)
  }
}

function pick<T>(from: readonly T[], random: Random): T {
  return from[Math.floor(random() * from.length)]!
}
