import { expect, test } from 'vitest'
import { decode, type Plain } from '../../test/support/otlp.ts'
import { WireError } from '../errors.ts'
import type { Signal } from './batch.ts'
import { decodeJson } from './json-decode.ts'

function request(signal: Signal, json: string): Plain {
  return decode(signal, decodeJson(signal, Buffer.from(json)))
}

/** A span, log record or number data point given by the inside of its JSON object. */
function span(inside: string): Plain {
  const json = `{"resourceSpans":[{"scopeSpans":[{"spans":[{${inside}}]}]}]}`
  return request('traces', json).resourceSpans[0].scopeSpans[0].spans[0]
}
function log(inside: string): Plain {
  const json = `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{${inside}}]}]}]}`
  return request('logs', json).resourceLogs[0].scopeLogs[0].logRecords[0]
}
function metric(inside: string): Plain {
  const json = `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{${inside}}]}]}]}`
  return request('metrics', json).resourceMetrics[0].scopeMetrics[0].metrics[0]
}
function point(inside: string): Plain {
  return metric(`"gauge":{"dataPoints":[{${inside}}]}`).gauge.dataPoints[0]
}
function histogram(inside: string): Plain {
  return metric(`"histogram":{"dataPoints":[{${inside}}]}`).histogram.dataPoints[0]
}
function exponential(inside: string): Plain {
  return metric(`"exponentialHistogram":{"dataPoints":[{${inside}}]}`).exponentialHistogram.dataPoints[0]
}
function value(json: string): Plain {
  return log(`"body":${json}`).body
}
/** The error that decoding gives: its message. */
function refusal(decodeIt: () => unknown): string {
  try {
    decodeIt()
  } catch (error) {
    expect(error).toBeInstanceOf(WireError)
    return error instanceof Error ? error.message : ''
  }
  throw new Error('it was accepted')
}

test('what holds nothing gives no bytes', () => {
  for (const json of [
    '{}',
    ' {\n}\t',
    '{"test":"data"}',
    '{"resourceSpans":[]}',
    '{"resourceSpans":null}',
    'null',
  ])
    expect(decodeJson('traces', Buffer.from(json)).length).toBe(0)
  expect(decodeJson('logs', Buffer.from('\ufeff{}')).length).toBe(0)
})

test('keys in lowerCamelCase, snake_case or written with escapes', () => {
  expect(span('"traceState":"a"')).toEqual({ traceState: 'a' })
  expect(span('"trace_state":"a"')).toEqual({ traceState: 'a' })
  expect(span('"\\u0074raceState" : "a"')).toEqual({ traceState: 'a' })
  expect(span('"TraceState":"a"')).toEqual({})
  expect(request('traces', '{"resource_spans":[{"scope_spans":[{"schema_url":"u"}]}]}')).toEqual({
    resourceSpans: [{ scopeSpans: [{ schemaUrl: 'u' }] }],
  })
})

test('unknown keys are stepped over whatever they hold', () => {
  const unknown = '"x":{"a":[{},[],"]}\\"",-1.5e+3,true,false,null]},"y":"\\ud83d","z":0,"":1'
  expect(span(`${unknown},"name":"n",${unknown}`)).toEqual({ name: 'n' })
  for (const broken of [
    '{"a" 1}',
    '[1,]',
    '{,}',
    'tru',
    '01',
    '1.',
    '-',
    '.5',
    '+1',
    '[1 2]',
    "'a'",
    '"\\x"',
    '"a\nb"',
    '',
  ])
    refusal(() => span(`"x":${broken}`))
})

test('ids are hex of any case and of one length; an empty one is absent', () => {
  expect(span('"traceId":"5B8efff798038103d269b633813fc60C","spanId":"eee19b7ec3c1b174"')).toEqual({
    traceId: Buffer.from('5b8efff798038103d269b633813fc60c', 'hex'),
    spanId: Buffer.from('eee19b7ec3c1b174', 'hex'),
  })
  expect(span('"traceId":"","parentSpanId":""')).toEqual({})
  expect(span(`"traceId":"${'0'.repeat(32)}"`).traceId).toEqual(Buffer.alloc(16))
  expect(span('"links":[{"spanId":"eee19b7ec3c1b174"}]').links[0].spanId.length).toBe(8)
  expect(log('"spanId":"eee19b7ec3c1b174"').spanId.length).toBe(8)
  expect(point('"exemplars":[{"spanId":"\\u0065ee19b7ec3c1b174"}]').exemplars[0].spanId[0]).toBe(0xee)
  expect(refusal(() => span('"traceId":"5b8e"'))).toMatch(/traceId must have 32 hex digits at byte \d+/)
  expect(refusal(() => span('"spanId":"eee19b7ec3c1b17"'))).toMatch(/16 hex digits/)
  expect(refusal(() => span('"spanId":"eee19b7ec3c1b17g"'))).toMatch(/not hex/)
  refusal(() => span('"spanId":1'))
})

test('other bytes are base64, in both alphabets, padded or not', () => {
  const f = (text: string, want: string) =>
    expect(value(`{"bytesValue":"${text}"}`)).toEqual({ bytesValue: Buffer.from(want, 'hex') })
  f('', '')
  f('AQID', '010203')
  f('AQI=', '0102')
  f('AQ==', '01')
  f('AQ', '01')
  f('+/8A', 'fbff00')
  f('-_8A', 'fbff00')
  f('+\\/8A', 'fbff00')
  f('A'.repeat(800), '00'.repeat(600))
  for (const wrong of ['A', 'AQI*', 'AQ=', 'A===', '====', 'AQ==AQ=='])
    refusal(() => value(`{"bytesValue":"${wrong}"}`))
})

test('64-bit integers are strings or numbers, exact over all bits', () => {
  const f = (json: string, want: string) => expect(value(`{"intValue":${json}}`)).toEqual({ intValue: want })
  f('0', '0')
  f('-0', '0')
  f('"-5"', '-5')
  f('9007199254740993', '9007199254740993')
  f('"9223372036854775807"', '9223372036854775807')
  f('-9223372036854775808', '-9223372036854775808')
  f('4294967296', '4294967296')
  f('-4294967296', '-4294967296')
  f('"007"', '7')
  f('"+7"', '7')
  f('1.0', '1')
  f('-1e3', '-1000')
  f('"12.5e1"', '125')
  f('"\\u0031\\u0030"', '10')
  for (const wrong of [
    '9223372036854775808',
    '-9223372036854775809',
    '1e19',
    '1.5',
    '1.',
    '"1."',
    '1.e3',
    '""',
    '"a"',
    '01',
    '-',
    '1e999999999',
    '"1 "',
    'true',
    '[]',
    `1${'0'.repeat(30)}`,
  ])
    refusal(() => value(`{"intValue":${wrong}}`))
  expect(span('"startTimeUnixNano":"18446744073709551615","endTimeUnixNano":1544712660300000001')).toEqual({
    startTimeUnixNano: '18446744073709551615',
    endTimeUnixNano: '1544712660300000001',
  })
  expect(span('"startTimeUnixNano":1544712660000000000.0')).toEqual({
    startTimeUnixNano: '1544712660000000000',
  })
  refusal(() => span('"startTimeUnixNano":"18446744073709551616"'))
  refusal(() => span('"startTimeUnixNano":-1'))
  expect(histogram('"count":"3","bucketCounts":["1",2,null,"18446744073709551615"]')).toMatchObject({
    count: '3',
    bucketCounts: ['1', '2', '0', '18446744073709551615'],
  })
  expect(point('"asInt":"-12"').asInt).toBe('-12')
  expect(
    exponential('"zeroCount":"9","scale":-3,"positive":{"offset":"-2","bucketCounts":["300",0]}'),
  ).toMatchObject({ zeroCount: '9', scale: -3, positive: { offset: -2, bucketCounts: ['300', '0'] } })
})

test('32-bit integers are numbers or strings', () => {
  expect(span('"droppedAttributesCount":7,"flags":"257"')).toEqual({ droppedAttributesCount: 7, flags: 257 })
  expect(span('"flags":4294967295').flags).toBe(4294967295)
  refusal(() => span('"flags":4294967296'))
  refusal(() => span('"droppedAttributesCount":-1'))
  refusal(() => exponential('"scale":2147483648'))
})

test('enums are integers or names', () => {
  expect(span('"kind":2').kind).toBe(2)
  expect(span('"kind":77').kind).toBe(77)
  expect(span('"kind":"SPAN_KIND_CONSUMER","status":{"code":"STATUS_CODE_ERROR"}')).toEqual({
    kind: 5,
    status: { code: 2 },
  })
  expect(log('"severityNumber":"SEVERITY_NUMBER_WARN2"').severityNumber).toBe(14)
  const sum = metric(
    '"sum":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_CUMULATIVE","isMonotonic":true}',
  ).sum
  expect(sum).toMatchObject({ aggregationTemporality: 2, isMonotonic: true })
  expect(refusal(() => span('"kind":"SERVER"'))).toMatch(/unknown name of kind at byte/)
})

test('doubles are numbers, numeric strings and three words', () => {
  const f = (json: string, want: number) => expect(point(`"asDouble":${json}`).asDouble).toBe(want)
  f('0', 0)
  f('-0', -0)
  f('-0.0', -0)
  f('1', 1)
  f('1.5', 1.5)
  f('"1.5"', 1.5)
  f('0.1', 0.1)
  f('123456.789e-3', 123.456789)
  f('1E5', 1e5)
  f('5e-324', 5e-324)
  f('1.7976931348623157e308', Number.MAX_VALUE)
  f('0.30000000000000004', 0.30000000000000004)
  f('9007199254740993', 9007199254740992)
  f('0.000000000000001', 1e-15)
  f('"NaN"', Number.NaN)
  f('"Infinity"', Number.POSITIVE_INFINITY)
  f('"-Infinity"', Number.NEGATIVE_INFINITY)
  for (const wrong of [
    'NaN',
    'Infinity',
    '"nan"',
    '""',
    '1.',
    '.5',
    '00',
    '-',
    '1e',
    '1e400',
    '"1 "',
    '"0x1"',
    'false',
    '1..2',
  ])
    refusal(() => point(`"asDouble":${wrong}`))
  expect(histogram('"explicitBounds":[0,1.5,"Infinity"]').explicitBounds).toEqual([
    0,
    1.5,
    Number.POSITIVE_INFINITY,
  ])
})

test('booleans are true and false', () => {
  expect(value('{"boolValue":true}')).toEqual({ boolValue: true })
  for (const wrong of ['"true"', '1', 'True', 'fals', 'truefalse'])
    refusal(() => value(`{"boolValue":${wrong}}`))
})

test('null is the default of anything', () => {
  const fields = ['traceId', 'name', 'kind', 'startTimeUnixNano', 'attributes', 'status', 'flags']
  expect(span(fields.map((name) => `"${name}":null`).join())).toEqual({})
  expect(value('{"intValue":null}')).toEqual({})
  expect(
    span('"attributes":[{"key":"a","value":null},{"key":"b","value":{"stringValue":null}}]').attributes,
  ).toEqual([{ key: 'a' }, { key: 'b', value: {} }])
  expect(value('{"arrayValue":{"values":[null,{"boolValue":true}]}}')).toEqual({
    arrayValue: { values: [{}, { boolValue: true }] },
  })
})

test('any value of every type', () => {
  expect(value('{}')).toEqual({})
  expect(value('{"stringValue":""}')).toEqual({ stringValue: '' })
  expect(value('{"kvlistValue":{"values":[{"key":"a","value":{"arrayValue":{"values":[]}}}]}}')).toEqual({
    kvlistValue: { values: [{ key: 'a', value: { arrayValue: {} } }] },
  })
  expect(value('{"intValue":"1","stringValue":"last"}')).toEqual({ stringValue: 'last' })
})

test('zero is kept in a oneof and where its presence says something, and left out elsewhere', () => {
  expect(point('"asInt":"0","flags":0,"timeUnixNano":"0"')).toEqual({ asInt: '0' })
  expect(value('{"boolValue":false}')).toEqual({ boolValue: false })
  expect(histogram('"sum":0,"min":0,"max":0,"count":0')).toMatchObject({ sum: 0, min: 0, max: 0 })
  expect(decodeJson('traces', Buffer.from('{"resourceSpans":[{"schemaUrl":""}]}'))).toEqual(
    Buffer.from([10, 0]),
  )
})

test('of a scalar given twice the last counts, lists add up', () => {
  expect(span('"name":"a","name":"b"')).toEqual({ name: 'b' })
  expect(span('"kind":2,"name":"a","kind":0,"name":""')).toEqual({})
  expect(span('"events":[{"name":"a"}],"name":"n","events":[{"name":"b"}]').events).toHaveLength(2)
})

test('strings: escapes, pairs of surrogates, long ones, other scripts', () => {
  const f = (json: string, want: string) => expect(value(`{"stringValue":"${json}"}`).stringValue).toBe(want)
  f('\\"\\\\\\/\\b\\f\\n\\r\\t', '"\\/\b\f\n\r\t')
  f('\\u0041\\u00e9\\u20AC\\ud83d\\ude00', 'A\u00e9\u20ac\u{1f600}')
  f('\\ud83d', '\ufffd')
  f('\\ud83dx', '\ufffdx')
  f('\\ude00\\ud83d\\u0041', '\ufffd\ufffdA')
  f('\u00e9\u{1f600}', '\u00e9\u{1f600}')
  for (const length of [1, 2, 3, 4, 5, 107, 108, 119, 120, 121, 126, 127, 128, 129, 16383, 16384, 300_000]) {
    f('x'.repeat(length), 'x'.repeat(length))
    const [pair] = span(
      `"attributes":[{"key":"k","value":{"stringValue":"${'y'.repeat(length)}"}}]`,
    ).attributes
    expect(pair.value.stringValue.length).toBe(length)
    expect(
      span(`"attributes":[{"key":"${'k'.repeat(length)}","value":{"boolValue":true}}]`).attributes[0].key
        .length,
    ).toBe(length)
  }
  for (const wrong of ['\\u12g4', '\\u12', '\\x', '\u0001', '\n', '\\'])
    refusal(() => value(`{"stringValue":"${wrong}"}`))
})

test('bytes that are not UTF-8 become U+FFFD', () => {
  const body = Buffer.concat([
    Buffer.from('{"resourceSpans":[{"schemaUrl":"a'),
    Buffer.from([0xff, 0xc3]),
    Buffer.from('b"}]}'),
  ])
  expect(decode('traces', decodeJson('traces', body)).resourceSpans[0].schemaUrl).toBe('a\ufffd\ufffdb')
})

test('attributes with and without white space are the same', () => {
  const pairs = [
    '{"key":"s","value":{"stringValue":"v"}}',
    '{"key":"i","value":{"intValue":"-9223372036854775808"}}',
    '{"key":"i","value":{"intValue":12}}',
    '{"key":"b","value":{"boolValue":true}}',
    '{"key":"d","value":{"doubleValue":-1.25}}',
    '{"key":"a","value":{"arrayValue":{"values":[{"intValue":1}]}}}',
    '{"key":"x","value":{"bytesValue":"AQ=="}}',
    '{"key":"","value":{"stringValue":""}}',
    '{"key":"two","value":{"stringValue":"a","intValue":"1"}}',
    '{"key":"more","value":{"intValue":"1"},"unknown":[]}',
    '{"value":{"intValue":"1"},"key":"turned"}',
  ]
  const compact = `"attributes":[${pairs.join()}]`
  const spaced = compact.replace(/[{}[\]:,]/g, ' $& ')
  expect(span(spaced)).toEqual(span(compact))
  expect(span(compact).attributes.map((pair: Plain) => pair.key)).toEqual([
    's',
    'i',
    'i',
    'b',
    'd',
    'a',
    'x',
    undefined,
    'two',
    'more',
    'turned',
  ])
})

test('depth is limited, for known and for unknown keys, with a clean error', () => {
  const nested = (depth: number) => {
    const json = `${'{"arrayValue":{"values":['.repeat(depth)}{}${']}}'.repeat(depth)}`
    return () => value(json)
  }
  expect(nested(40)()).toBeDefined()
  expect(refusal(nested(60))).toMatch(/nested too deeply at byte \d+/)
  expect(refusal(nested(100_000))).toMatch(/nested too deeply/)
  expect(refusal(() => span(`"x":${'['.repeat(100_000)}`))).toMatch(/nested too deeply/)
  expect(refusal(() => span(`"x":${'{"a":'.repeat(100_000)}`))).toMatch(/nested too deeply/)
})

test('__proto__ and constructor are keys like any other', () => {
  const [pair] = span(
    '"__proto__":{"polluted":1},"attributes":[{"key":"__proto__","value":{"stringValue":"x"}}]',
  ).attributes
  expect(pair).toEqual({ key: '__proto__', value: { stringValue: 'x' } })
  expect(({} as Plain).polluted).toBeUndefined()
})

test('what is not such JSON is refused with its place', () => {
  const f = (json: string, want: RegExp) =>
    expect(refusal(() => decodeJson('traces', Buffer.from(json)))).toMatch(want)
  f('', /the JSON text ends too early at byte 0/)
  f('[]', /expected \{ at byte 0/)
  f('"a"', /expected \{ at byte 0/)
  f('{"a":1', /ends too early at byte 6/)
  f('{"a":1}x', /expected the end of the JSON text at byte 7/)
  f('{"a":1,}', /expected a key at byte 7/)
  f('{"resourceSpans":{}}', /expected \[ for resourceSpans at byte 17/)
  f('{"resourceSpans":[1]}', /expected \{ for resourceSpans at byte 18/)
  f('{"resourceSpans":[{"resource":[]}]}', /expected \{ for resource at byte 30/)
  f('{"resourceSpans":[{}', /ends too early/)
  f('{"resourceSpans":[{}}', /expected , or \] at byte 20/)
  f('{"resourceSpans":[{},]}', /expected \{ for resourceSpans at byte 21/)
  f('{"resourceSpans":[{"schemaUrl":1}]}', /expected a string at byte 31/)
  f('{"resourceSpans":[{"schemaUrl":"\0"}]}', /control character in a string at byte 32/)
  f('{"resourceSpans":[{}]\0}', /expected , or } at byte 21/)
})

test('a packed list of many small numbers grows the output as it needs', () => {
  const counts = Array.from({ length: 50_000 }, (_, index) => index % 10)
  const found = histogram(
    `"explicitBounds":[${counts.join()}],"bucketCounts":[${counts.join()}],"sum":1,"min":1,"max":1`,
  )
  expect(found.explicitBounds).toEqual(counts)
  expect(found.bucketCounts).toEqual(counts.map(String))
  const doubled = histogram(Array.from({ length: 20_000 }, () => '"sum":1,"min":2,"max":3').join())
  expect(doubled).toMatchObject({ sum: 1, min: 2, max: 3 })
})

test('the result is as small as its content and is not touched by the next call', () => {
  const first = decodeJson('traces', Buffer.from('{"resourceSpans":[{"schemaUrl":"aaaa"}]}'))
  const copy = Buffer.from(first)
  decodeJson('traces', Buffer.from('{"resourceSpans":[{"schemaUrl":"bbbb"}]}'))
  expect(first).toEqual(copy)
  expect(first.buffer.byteLength).toBe(first.length)
})
