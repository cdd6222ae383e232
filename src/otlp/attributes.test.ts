import { expect, test } from 'vitest'
import { type Attributes, Double, encodeMessage, keyValues } from '../../test/support/otlp.ts'
import {
  AttributeCursor,
  anyValueToJs,
  attributesToJs,
  encodeAttribute,
  findAttribute,
  type JsValue,
  jsToAnyValue,
  keyBytes,
  renameAttribute,
  writeAttribute,
  writeStringAttribute,
} from './attributes.ts'
import { RESOURCE, SPAN } from './fields.ts'
import { receiveRequest } from './receive.ts'
import { WireWriter } from './wire.ts'

const RESOURCE_TYPE = 'opentelemetry.proto.resource.v1.Resource'
const cursor = new AttributeCursor()

function resource(attributes: Attributes): Uint8Array {
  return encodeMessage(RESOURCE_TYPE, { attributes: keyValues(attributes), droppedAttributesCount: 7 })
}

test('an attribute is found by its key wherever it lies, and its text is that of the Go collector', () => {
  const f = (value: Attributes[string], want: string) => {
    const long = 'k'.repeat(200)
    const bytes = resource({ first: 'x', '': 'empty key', [long]: value, key: value, keys: 'no', last: 1 })
    for (const key of ['key', long]) {
      expect(findAttribute(bytes, 0, bytes.length, RESOURCE.attributes, keyBytes(key), cursor)).toBe(true)
      expect(cursor.key()).toBe(key)
      expect(cursor.value.text()).toBe(want)
    }
    expect(findAttribute(bytes, 0, bytes.length, RESOURCE.attributes, keyBytes('ke'), cursor)).toBe(false)
    expect(findAttribute(bytes, 0, bytes.length, RESOURCE.attributes, keyBytes(''), cursor)).toBe(true)
    expect(cursor.value.text()).toBe('empty key')
  }
  f('plain', 'plain')
  f('', '')
  f('z'.repeat(300), 'z'.repeat(300))
  f('\u00fc\u{1f600} text', '\u00fc\u{1f600} text')
  f(true, 'true')
  f(false, 'false')
  f(0, '0')
  f(-1, '-1')
  f(9223372036854775807n, '9223372036854775807')
  f(-9223372036854775808n, '-9223372036854775808')
  f(2n ** 49n, '562949953421312')
  f(new Double(1), '1')
  f(new Double(-0), '-0')
  f(0.1, '0.1')
  f(new Double(1e21), '1e+21')
  f(1e-7, '1e-7')
  f(0.000001, '0.000001')
  f(Number.NaN, 'json: unsupported value: NaN')
  f(Number.NEGATIVE_INFINITY, 'json: unsupported value: -Inf')
  f(Buffer.from([0xfb, 0xff]), '+/8=')
  f(null, '')
  f([], '[]')
  f({}, '{}')
  f([1, 'a', null, 2.5, true, [false]], '[1,"a",null,2.5,true,[false]]')
  f({ b: 1, a: { c: Buffer.from('hi') } }, '{"a":{"c":"aGk="},"b":1}')
  f({ '\u{1f600}': 1, '\uffee': 2 }, '{"\uffee":2,"\u{1f600}":1}')
  f(['<a&b>\u2028\n'], '["\\u003ca\\u0026b\\u003e\\u2028\\n"]')
  f([Number.NaN], '')
})

test('an empty attribute is not mistaken for the field behind it', () => {
  // attributes: {} and then attributes: { key: 'a' }; the second begins like the inside of the first would.
  const bytes = Uint8Array.of(0x0a, 0x00, 0x0a, 0x03, 0x0a, 0x01, 0x61)
  expect(findAttribute(bytes, 0, bytes.length, RESOURCE.attributes, keyBytes('a'), cursor)).toBe(true)
  expect([cursor.fieldStart, cursor.fieldEnd]).toEqual([2, 7])
  expect(findAttribute(bytes, 0, bytes.length, RESOURCE.attributes, keyBytes(''), cursor)).toBe(true)
  expect([cursor.fieldStart, cursor.fieldEnd]).toEqual([0, 2])
})

test('lengths in more bytes than they need are read', () => {
  const right = Buffer.from('0a8b000a8100611284000a810062', 'hex')
  expect(findAttribute(right, 0, right.length, RESOURCE.attributes, keyBytes('a'), cursor)).toBe(true)
  expect(cursor.value.text()).toBe('b')
})

test('next() walks all attributes and find() goes on from there', () => {
  const bytes = resource({ a: 1, b: 'x', c: [1n, 'y', { d: null }], b2: new Double(1) })
  const want = { a: 1n, b: 'x', c: [1n, 'y', { d: null }], b2: 1 }
  expect(attributesToJs(bytes, 0, bytes.length, RESOURCE.attributes)).toEqual(want)
  cursor.reset(bytes, 0, bytes.length, RESOURCE.attributes)
  expect(cursor.find(keyBytes('b'))).toBe(true)
  expect(cursor.next() && cursor.key()).toBe('c')
  expect(cursor.find(keyBytes('a'))).toBe(false)
  expect(cursor.next()).toBe(false)
})

test('what is encoded here is what protobufjs encodes', () => {
  const f = (value: JsValue & Attributes[string]) => {
    const pair = { key: 'the key', value: keyValues({ x: value })[0].value }
    const want = encodeMessage('opentelemetry.proto.common.v1.KeyValue', pair)
    expect(Buffer.from(encodeAttribute('the key', value))).toEqual(want)
    const outer = encodeMessage('opentelemetry.proto.trace.v1.Span', { attributes: [pair] })
    const writer = new WireWriter(8)
    expect(Buffer.from(writeAttribute(writer, SPAN.attributes, 'the key', value).finish())).toEqual(outer)
    expect(attributesToJs(outer, 0, outer.length, SPAN.attributes)).toEqual({
      'the key': anyValueToJs(jsToAnyValue(value)),
    })
  }
  f('text')
  f('x'.repeat(5000))
  f(true)
  f(-3n)
  f(12)
  f(1.5)
  f(Number.POSITIVE_INFINITY)
  f(new Uint8Array([1, 2, 3]))
  f([])
  f({})
  f([1n, 'a', [true, [null]], { k: { l: 'm'.repeat(200) } }])
})

test('an attribute is renamed without decoding its value', () => {
  const bytes = resource({ old: { deep: [1, 2] } })
  findAttribute(bytes, 0, bytes.length, RESOURCE.attributes, keyBytes('old'), cursor)
  const renamed = new WireWriter().len(RESOURCE.attributes, renameAttribute(cursor, 'new')).finish()
  expect(attributesToJs(renamed, 0, renamed.length, RESOURCE.attributes)).toEqual({ new: { deep: [1n, 2n] } })
})

test('a string attribute is written from bytes', () => {
  const f = (key: string, text: string) => {
    const bytes = writeStringAttribute(new WireWriter(), 9, keyBytes(key), keyBytes(text)).finish()
    expect(attributesToJs(bytes, 0, bytes.length, 9)).toEqual({ [key]: text })
  }
  f('k', '')
  f('key', 'v'.repeat(127))
  f('key'.repeat(50), 'v'.repeat(20_000))
})

test('a value nested too deeply is refused', () => {
  const f = (levels: number) => {
    let value: JsValue = 'x'
    for (let level = 0; level < levels; level++) value = { k: value }
    return () =>
      receiveRequest('metrics', exemplarWith(writeAttribute(new WireWriter(), 7, 'a', value).finish()))
  }
  expect(f(30)().itemCount).toBe(1)
  expect(f(31)).toThrow(/nested too deeply, or contains itself/)
})

/** The deepest place of an attribute: an exemplar of a gauge. */
function exemplarWith(attribute: Uint8Array): Uint8Array {
  const writer = new WireWriter().begin(1).begin(2).begin(2).begin(5).begin(1).len(5, attribute)
  return writer.end().end().end().end().end().finish()
}

test('an own property called __proto__ stays data', () => {
  const bytes = resource(JSON.parse('{"__proto__": {"a": 1}}'))
  const read = attributesToJs(bytes, 0, bytes.length, RESOURCE.attributes)
  expect(Object.keys(read)).toEqual(['__proto__'])
  expect(Object.getPrototypeOf(read)).toBe(Object.prototype)
})
