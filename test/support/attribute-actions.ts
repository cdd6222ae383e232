/**
 * The attribute actions in the plainest way, on decoded attribute lists: what the byte edits of the
 * processors `resource` and `attributes` are compared with. Also random lists and actions for that, on
 * few keys so that they meet.
 */
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import type { Plain } from './otlp.ts'

const keyArbitrary = fc.constantFrom('a', 'b', 'c', 'env', 'http.url', 'k'.repeat(130))

const valueArbitrary: fc.Arbitrary<Plain> = fc.oneof(
  fc
    .oneof(fc.string(), fc.constantFrom('', '12', '-7.5', 'GET /x', 'v'.repeat(300)))
    .map((stringValue) => ({ stringValue })),
  fc.boolean().map((boolValue) => ({ boolValue })),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((int) => ({ intValue: int.toString() })),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((doubleValue) => ({ doubleValue })),
  fc
    .array(fc.string({ unit: 'grapheme-ascii' }))
    .map((list) => ({ arrayValue: { values: list.map((stringValue) => ({ stringValue })) } })),
  fc.constant({}),
)

/** Attribute lists of the plain form; keys may occur twice. */
export const attributesArbitrary: fc.Arbitrary<Plain[]> = fc.array(
  fc.record({ key: keyArbitrary, value: valueArbitrary }),
  {
    maxLength: 9,
  },
)

const patternArbitrary = fc.constantFrom('^a$', 'b|c', '^http', '.', 'nothing')
const setArbitrary = fc
  .tuple(
    keyArbitrary,
    fc.constantFrom('insert', 'update', 'upsert'),
    fc.oneof(
      fc.record({
        value: fc.oneof(fc.string({ minLength: 1 }), fc.integer(), fc.boolean(), fc.constant(2.5)),
      }),
      fc.record({ from_attribute: keyArbitrary }),
      fc.record({ from_attribute: keyArbitrary, default_value: fc.constantFrom('none', 5) }),
      fc.record({ default_value: fc.constant('alone') }),
    ),
  )
  .map(([key, action, source]) => ({ key, action, ...source }))

/** One valid action of any kind. */
export const actionArbitrary: fc.Arbitrary<Record<string, unknown>> = fc.oneof(
  { weight: 3, arbitrary: setArbitrary },
  {
    weight: 2,
    arbitrary: fc.record(
      { key: keyArbitrary, pattern: patternArbitrary, action: fc.constantFrom('delete', 'hash') },
      { requiredKeys: ['key', 'action'] },
    ),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      key: keyArbitrary,
      action: fc.constant('extract'),
      pattern: fc.constantFrom('(?P<a>\\d+)', '^(?P<b>[A-Z]+) (?P<c>/.*)?'),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      key: keyArbitrary,
      action: fc.constant('convert'),
      converted_type: fc.constantFrom('int', 'double', 'string'),
    }),
  },
)

/** The attributes after the actions. */
export function applyActions(attributes: readonly Plain[], actions: readonly Plain[]): Plain[] {
  const list: Plain[] = attributes.map((pair) => ({ ...pair }))
  for (const action of actions) apply(list, action)
  return list
}

function apply(list: Plain[], action: Plain): void {
  const find = (key: string) => list.find((pair) => (pair.key ?? '') === key)
  const put = (key: string, value: Plain) => {
    const pair = find(key)
    if (pair) pair.value = value
    else list.push({ key, value })
  }
  const matching = () =>
    action.pattern ? list.filter((pair) => new RegExp(action.pattern).test(pair.key)) : []
  const target = find(action.key)
  switch (action.action) {
    case 'insert':
    case 'update':
    case 'upsert': {
      const source = action.from_attribute && find(action.from_attribute)
      const given = action.value ?? (source ? undefined : action.default_value)
      if (given === undefined && !source) return
      if (action.action === (target ? 'insert' : 'update')) return
      put(action.key, given === undefined ? (source.value ?? {}) : constant(given))
      return
    }
    case 'delete': {
      for (const pair of [target, ...matching()]) if (list.includes(pair)) list.splice(list.indexOf(pair), 1)
      return
    }
    case 'hash':
      if (target) target.value = hashed(target.value)
      for (const pair of matching()) pair.value = hashed(pair.value)
      return
    case 'extract': {
      const groups = new RegExp(action.pattern.replaceAll('?P<', '?<')).exec(
        target?.value?.stringValue ?? '',
      )?.groups
      if (target?.value?.stringValue === undefined || !groups) return
      for (const [name, text] of Object.entries(groups)) put(name, { stringValue: text ?? '' })
      return
    }
    default:
      if (target) target.value = converted(target.value, action.converted_type)
  }
}

function constant(value: unknown): Plain {
  if (typeof value === 'string') return { stringValue: value }
  if (typeof value === 'boolean') return { boolValue: value }
  return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value }
}

function hashed(value: Plain): Plain {
  const bytes = Buffer.alloc(8)
  let input: Buffer
  if (value?.stringValue) input = Buffer.from(value.stringValue)
  else if (value?.boolValue !== undefined) input = Buffer.from([value.boolValue ? 1 : 0])
  else if (value?.intValue !== undefined) {
    bytes.writeBigInt64LE(BigInt(value.intValue))
    input = bytes
  } else if (value?.doubleValue !== undefined) {
    bytes.writeDoubleLE(value.doubleValue)
    input = bytes
  } else return value
  return { stringValue: createHash('sha256').update(input).digest('hex') }
}

function converted(value: Plain, to: string): Plain {
  if (to === 'string') return { stringValue: textOf(value) }
  const text = value?.stringValue
  const int = to === 'int'
  if (value?.boolValue !== undefined)
    return int ? { intValue: value.boolValue ? '1' : '0' } : { doubleValue: value.boolValue ? 1 : 0 }
  if (value?.intValue !== undefined) return int ? value : { doubleValue: Number(value.intValue) }
  if (value?.doubleValue !== undefined) {
    if (!int) return value
    const least = (-(2n ** 63n)).toString()
    return {
      intValue:
        Math.abs(value.doubleValue) < 2 ** 63 ? BigInt(Math.trunc(value.doubleValue)).toString() : least,
    }
  }
  if (text !== undefined && int && /^[-+]?\d+$/.test(text)) {
    const parsed = BigInt(text.replace('+', ''))
    return BigInt.asIntN(64, parsed) === parsed ? { intValue: parsed.toString() } : value
  }
  if (
    text !== undefined &&
    !int &&
    /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text) &&
    Number.isFinite(Number(text))
  )
    return { doubleValue: Number(text) }
  return value
}

function textOf(value: Plain): string {
  if (value?.stringValue !== undefined) return value.stringValue
  if (value?.intValue !== undefined) return value.intValue
  if (value?.boolValue !== undefined) return String(value.boolValue)
  if (value?.doubleValue !== undefined)
    return Object.is(value.doubleValue, -0) ? '-0' : String(value.doubleValue)
  if (value?.arrayValue === undefined) return ''
  const texts = (value.arrayValue.values ?? []).map((entry: Plain) => entry.stringValue)
  return JSON.stringify(texts).replace(/[<>&]/g, (char) => `\\u00${char.charCodeAt(0).toString(16)}`)
}
