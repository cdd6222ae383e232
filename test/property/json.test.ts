/**
 * OTLP/JSON both ways, for random requests of all signals, with protobufjs and a JSON encoder of the tests as oracles; and what
 * no input may do, whatever it is. fast-check prints the seed of a failure.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { InvalidError } from '../../src/errors.ts'
import { SIGNALS, type Signal } from '../../src/otlp/batch.ts'
import { decodeJson } from '../../src/otlp/json-decode.ts'
import { encodeJson, JsonBuffer } from '../../src/otlp/json-encode.ts'
import { messageType, type Plain } from '../support/otlp.ts'
import { meaning, Random, REQUEST_NAMES, randomRequest, referenceJson } from './json-random.ts'

const seeds = fc.integer({ min: 0, max: 2 ** 31 - 1 })
const signals = fc.constantFrom(...SIGNALS)

function toJson(signal: Signal, ...chunks: Uint8Array[]): Buffer {
  const out = new JsonBuffer(16)
  encodeJson(signal, chunks, out)
  return Buffer.from(out.take())
}

function wireObject(signal: Signal, bytes: Uint8Array): Plain {
  const type = messageType(REQUEST_NAMES[signal])
  return type.toObject(type.decode(bytes), { longs: String, bytes: Buffer })
}

test('decode(encode(x)) means x', () => {
  fc.assert(
    fc.property(seeds, signals, (seed, signal) => {
      const bytes = randomRequest(seed, signal)
      const json = toJson(signal, bytes)
      JSON.parse(json.toString())
      expect(meaning(signal, decodeJson(signal, json))).toEqual(meaning(signal, bytes))
    }),
    { numRuns: 600 },
  )
})

test('what is written is what another encoder writes', () => {
  fc.assert(
    fc.property(seeds, signals, (seed, signal) => {
      const bytes = randomRequest(seed, signal)
      const reference = referenceJson(wireObject(signal, bytes), messageType(REQUEST_NAMES[signal]))
      expect(withoutDefaults(JSON.parse(toJson(signal, bytes).toString()))).toEqual(
        withoutDefaults(JSON.parse(reference)),
      )
    }),
    { numRuns: 300 },
  )
})

/** The reference writes zeros that are on the wire, which may be left out except in a oneof. */
function withoutDefaults(value: Plain, oneof = false): Plain {
  if (Array.isArray(value)) return value.map((entry) => withoutDefaults(entry, true))
  if (typeof value !== 'object' || value === null) return value
  const kept = Object.entries(value)
    .map(([key, entry]) => [key, withoutDefaults(entry)] as const)
    .filter(([key, entry]) => {
      if (/Value$|Strindex$|^(asInt|asDouble|sum|min|max)$/.test(key))
        return key !== 'keyStrindex' || entry !== 0
      if (Array.isArray(entry)) return entry.length > 0
      return oneof || !['', 0, '0', false].includes(entry as never) || Object.is(entry, -0)
    })
  return Object.fromEntries(kept)
}

test('any JSON that a sender may write means the same', () => {
  fc.assert(
    fc.property(seeds, signals, (seed, signal) => {
      const bytes = randomRequest(seed, signal)
      const type = messageType(REQUEST_NAMES[signal])
      const json = referenceJson(wireObject(signal, bytes), type, new Random(seed + 1))
      expect(meaning(signal, decodeJson(signal, Buffer.from(json)))).toEqual(meaning(signal, bytes))
    }),
    { numRuns: 600 },
  )
})

test('chunks become one document with the items of all', () => {
  fc.assert(
    fc.property(seeds, signals, (seed, signal) => {
      const chunks = [0, 1, 2].map((step) => randomRequest(seed + step, signal))
      const decoded = decodeJson(signal, toJson(signal, ...chunks))
      expect(meaning(signal, decoded)).toEqual(meaning(signal, Buffer.concat(chunks)))
    }),
    { numRuns: 60 },
  )
})

test('fields in any order, twice, in runs, and unknown ones, still make valid JSON of the same meaning', () => {
  fc.assert(
    fc.property(seeds, signals, (seed, signal) => {
      const bytes = shuffled(new Random(seed), randomRequest(seed, signal), 0)
      const decoded = decodeJson(signal, toJson(signal, bytes))
      expect(meaning(signal, decoded)).toEqual(meaning(signal, bytes))
    }),
    { numRuns: 300 },
  )
})

/** Reorders and repeats top-level fields of messages that are surely messages: resources and scopes. */
function shuffled(random: Random, bytes: Buffer | Uint8Array, depth: number): Buffer {
  const fields: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const tag = bytes[at]!
    if ((tag & 7) !== 2 || tag > 127) return Buffer.from(bytes)
    let length = 0
    let shift = 0
    let from = at + 1
    do {
      length |= (bytes[from]! & 127) << shift
      shift += 7
    } while (bytes[from++]! > 127)
    const content = bytes.subarray(from, from + length)
    const inner = depth < 3 && tag >>> 3 < 3 ? shuffled(random, content, depth + 1) : Buffer.from(content)
    fields.push(lenField(tag, inner))
    // No message above the items knows field 15.
    if (depth < 3 && random.chance(0.1)) fields.push(lenField(15 * 8 + 2, random.bytes(3)))
    at = from + length
  }
  if (depth === 0) return Buffer.concat(fields)
  const order = fields.map((field) => ({ field, place: random.next() })).sort((a, b) => a.place - b.place)
  const repeated = order.flatMap(({ field }) => (random.chance(0.1) ? [field, field] : [field]))
  return Buffer.concat(repeated)
}

function lenField(tag: number, content: Buffer): Buffer {
  const head = [tag]
  let length = content.length
  for (; length > 127; length >>>= 7) head.push((length & 127) | 128)
  return Buffer.concat([Buffer.from([...head, length]), content])
}

/** Decodes, or refuses as bad input; anything else is a failure. */
function survives(signal: Signal, body: Uint8Array): boolean {
  let bytes: Uint8Array
  try {
    bytes = decodeJson(signal, body)
  } catch (error) {
    expect(error).toBeInstanceOf(InvalidError)
    return false
  }
  meaning(signal, bytes)
  return true
}

test('random bytes are refused or decoded, and never crash', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), signals, (body, signal) => {
      survives(signal, body)
    }),
    { numRuns: 1000 },
  )
})

test('mutated and cut JSON is refused or decoded, and never crashes', () => {
  let decoded = 0
  fc.assert(
    fc.property(seeds, signals, (seed, signal) => {
      const random = new Random(seed)
      const type = messageType(REQUEST_NAMES[signal])
      const object = wireObject(signal, randomRequest(seed, signal))
      const body = Buffer.from(referenceJson(object, type, random))
      for (let round = 0; round < 10; round++) {
        const mutant = Buffer.from(body)
        for (let count = random.below(3); count >= 0; count--)
          mutant[random.below(mutant.length)] = random.chance(0.7)
            ? random.pick(PUNCTUATION)
            : random.below(256)
        const cut = random.chance(0.3) ? mutant.subarray(0, random.below(mutant.length)) : mutant
        if (survives(signal, cut)) decoded++
      }
    }),
    { numRuns: 300 },
  )
  expect(decoded).toBeGreaterThan(0)
})
const PUNCTUATION = [...Buffer.from('{}[]",:\\ 0-9eEn.tf\0')]

test('random and cut protobuf gives valid JSON or a clean error', () => {
  fc.assert(
    fc.property(seeds, signals, (seed, signal) => {
      const random = new Random(seed)
      const bytes = Buffer.from(randomRequest(seed, signal))
      for (let count = random.below(4); count >= 0 && bytes.length > 0; count--)
        bytes[random.below(bytes.length)] = random.below(256)
      const out = new JsonBuffer(16)
      out.byte(0x20)
      try {
        encodeJson(signal, [bytes], out)
        JSON.parse(Buffer.from(out.take()).toString())
      } catch (error) {
        expect(error).toBeInstanceOf(InvalidError)
        expect(out.length).toBe(1)
      }
    }),
    { numRuns: 1000 },
  )
})
