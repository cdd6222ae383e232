/**
 * OTLP/JSON. What is accepted is JSON to JSON.parse as well, passes the door of protobuf, and has the items that the parsed text has.
 * No key reaches a prototype.
 *
 * An input is a byte that chooses the signal, then the text.
 */
import { InvalidError } from '../../../src/errors.ts'
import { SIGNALS, type Signal } from '../../../src/otlp/batch.ts'
import { decodeJson } from '../../../src/otlp/json-decode.ts'
import { checkChunk, receiveRequest } from '../../../src/otlp/receive.ts'
import { Random, REQUEST_NAMES, randomRequest, referenceJson } from '../../property/json-random.ts'
import { messageType, type Plain } from '../../support/otlp.ts'
import { type Draw, mutateBytes } from '../draw.ts'
import type { Target } from '../target.ts'

const SEEDS = 120
/** What a sender may write, and what none should. */
const TOKENS = [
  ...['{', '}', '[', ']', ',', ':', 'null', 'true', 'false', '{}', '[]', '""', '"a"', '\\u0000', '\\ud800'],
  ...[
    '0',
    '-0',
    '-1',
    '1e3',
    '1.5',
    '"1"',
    '"-1"',
    '"1e400"',
    '18446744073709551615',
    '"9223372036854775808"',
  ],
  ...['"NaN"', '"Infinity"', '01', '.5', '1.', '+1', '0x1', '"0x1"', '\ufeff', '//', '"\t"', '"\u00ff"'],
  ...[
    '"__proto__":{"polluted":1},',
    '"constructor":{"prototype":{"polluted":1}},',
    '"spans":',
    '"dataPoints":',
  ],
  ...[
    '"attributes":[{"key":"__proto__","value":{"stringValue":"x"}}],',
    '"kind":"SPAN_KIND_SERVER",',
    '"kind":99,',
  ],
  ...['"traceId":"0102030405060708090a0b0c0d0e0f10",', '"traceId":"zz",', '"trace_id":"",', '"asInt":"12",'],
  ...['"intValue":9007199254740993,', '"bytesValue":"AAE=",', '"bytesValue":"*",', '"severityNumber":"x",'],
]

const SCALAR = /:\s*(?:"(?:[^"\\]|\\.)*"|-?[0-9.eE+]+|true|false|null)/g
const VALUES = [
  ...[
    'null',
    'true',
    '0',
    '1',
    '-1',
    '"1"',
    '"-1"',
    '""',
    '"a"',
    '"\\u00e9\\n"',
    '1.5',
    '"NaN"',
    '1e3',
    '{}',
    '[]',
  ],
  ...[
    '"9223372036854775808"',
    '18446744073709551615',
    '"SPAN_KIND_CLIENT"',
    '2',
    '1e400',
    '"AAE="',
    '"0102030405060708"',
  ],
]

export function jsonTarget(): Target {
  return {
    seeds(draw) {
      const seeds: Uint8Array[] = []
      for (let index = 0; index < SEEDS; index++) {
        const signal = SIGNALS[index % SIGNALS.length] ?? 'traces'
        const type = messageType(REQUEST_NAMES[signal])
        const bytes = randomRequest(draw.below(2 ** 31), signal)
        const object: Plain = type.toObject(type.decode(bytes), { longs: String, bytes: Buffer })
        const text = referenceJson(object, type, new Random(draw.below(2 ** 31)))
        seeds.push(Buffer.concat([Buffer.from([index % SIGNALS.length]), Buffer.from(text)]))
      }
      return seeds.filter(({ length }) => length < 8000)
    },
    next(draw, pool) {
      const base = draw.pick(pool)
      const text = mutate(draw, base.subarray(1), draw.pick(pool).subarray(1))
      return Buffer.concat([base.subarray(0, 1), text])
    },
    run(input) {
      const signal = SIGNALS[(input[0] ?? 0) % SIGNALS.length] ?? 'traces'
      const accepted = judged(signal, input.subarray(1))
      if (Object.hasOwn(Object.prototype, 'polluted')) throw new Error('a prototype was reached')
      return accepted
    },
  }
}

function mutate(draw: Draw, text: Uint8Array, other: Uint8Array): Uint8Array {
  if (draw.chance(0.2)) return mutateBytes(draw, text, other)
  if (draw.chance(0.6)) return swapValues(draw, text)
  let mutant = Buffer.from(text)
  for (let count = 1 + draw.below(3); count > 0; count--) {
    const at = boundary(draw, mutant)
    const end = draw.chance(0.5) ? at : boundary(draw, mutant, at)
    const from = boundary(draw, other)
    const piece = draw.chance(0.6)
      ? Buffer.from(draw.pick(TOKENS))
      : other.subarray(from, boundary(draw, other, from))
    const times = draw.chance(0.02) ? 1 + draw.below(300) : 1
    mutant = Buffer.concat([mutant.subarray(0, at), ...Array(times).fill(piece), mutant.subarray(end)])
  }
  return mutant.length > 20_000 ? mutant.subarray(0, 20_000) : mutant
}

/** Some of the scalars become others, which leaves it JSON. */
function swapValues(draw: Draw, text: Uint8Array): Buffer {
  const share = draw.pick([0.01, 0.05, 0.3])
  const swapped = Buffer.from(text)
    .toString()
    .replace(SCALAR, (whole) => (draw.chance(share) ? `:${draw.pick(VALUES)}` : whole))
  return Buffer.from(swapped)
}

/** A place behind punctuation; from `after` on it is the next one. */
function boundary(draw: Draw, text: Uint8Array, after = -1): number {
  for (let at = after < 0 ? draw.below(text.length + 1) : after + 1 + draw.below(3); at < text.length; at++)
    if ('{}[],:"'.includes(String.fromCharCode(text[at] ?? 0))) return at + (after < 0 ? 1 : 0)
  return text.length
}

function judged(signal: Signal, text: Uint8Array): boolean {
  let bytes: Uint8Array
  try {
    bytes = decodeJson(signal, text)
  } catch (error) {
    if (!(error instanceof InvalidError)) throw error
    return false
  }
  const { chunk, itemCount: items } = receiveRequest(signal, bytes)
  if (checkChunk(signal, chunk) !== items) throw new Error('another number of items')
  let parsed: Plain
  try {
    // A byte order mark is stepped over, as RFC 8259 allows.
    parsed = JSON.parse(
      Buffer.from(text)
        .toString()
        .replace(/^\ufeff/, ''),
    )
  } catch (error) {
    throw new Error('accepted, which JSON.parse refuses', { cause: error })
  }
  // Lists that come twice add up, which JSON.parse does not know.
  const counted = countItems(signal, parsed)
  if (items < counted) throw new Error(`${items} items, JSON.parse sees ${counted}`)
  return true
}

const LISTS: Readonly<Record<Signal, readonly (readonly string[])[]>> = {
  traces: [['resourceSpans', 'resource_spans'], ['scopeSpans', 'scope_spans'], ['spans']],
  logs: [
    ['resourceLogs', 'resource_logs'],
    ['scopeLogs', 'scope_logs'],
    ['logRecords', 'log_records'],
  ],
  metrics: [],
}

/** Of metrics 0: a member of the oneof takes the place of those before it. */
function countItems(signal: Signal, parsed: Plain): number {
  let level: Plain[] = [parsed]
  const lists = LISTS[signal]
  if (lists.length === 0) return 0
  for (const names of lists)
    level = level.flatMap(
      (object) => names.flatMap((name) => (Object.hasOwn(object ?? {}, name) ? object[name] : [])) ?? [],
    )
  return level.filter((item) => item !== undefined && item !== null).length
}
