/** Random logs: every record becomes one entry with a line, under at least one label, whatever is in it. */
import { expect, test } from 'vitest'
import { Double, decodeMessage, logs, type Plain } from '../../../test/support/otlp.ts'
import { randomRequest, seeded } from '../../../test/support/random-otlp.ts'
import type { Counter } from '../../component/telemetry.ts'
import { Batch } from '../../otlp/batch.ts'
import { config } from './config.ts'
import { encodePush, jsonBody } from './push-request.ts'
import { Converter, selectRecords } from './streams.ts'

test('random logs in every format: no record is lost, and a selection of all is all', () => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  let records = 0
  for (let round = 0; round < 150; round++) {
    const batch = new Batch('logs', [randomRequest('logs', seeded(seed + round)).bytes])
    for (const format of ['json', 'logfmt', 'raw', 'body'] as const) {
      const parsed = config.parse({
        endpoint: 'http://loki/push',
        format,
        structured_metadata: round % 2 === 0,
      })
      const converted = new Converter(parsed, 'tenant').convert(batch, 1_700_000_000_000)
      let entries = 0
      for (const push of converted.pushes) {
        const decoded = decodeMessage('logproto.PushRequest', encodePush(push))
        for (const stream of decoded.streams) {
          expect(stream.labels, `seed ${seed + round}`).toMatch(/^\{[a-zA-Z_][a-zA-Z0-9_]*="/)
          entries += stream.entries.length
        }
        const json = JSON.parse(Buffer.from(jsonBody(push)).toString())
        const inJson = json.streams.reduce((sum: number, stream: Plain) => sum + stream.values.length, 0)
        expect(inJson).toBe(push.records)
        if (format === 'json')
          for (const stream of json.streams) for (const [, line] of stream.values) JSON.parse(line)
      }
      expect(entries + converted.droppedRecords, `seed ${seed + round}`).toBe(batch.itemCount)
      if (converted.droppedRecords === 0)
        expect(selectRecords(batch, converted, new Set(converted.pushes)).itemCount).toBe(batch.itemCount)
      records += batch.itemCount
    }
  }
  expect(records).toBeGreaterThan(500)
})

/** The same logs the short way and the long way over objects, which structured metadata leads to, be it none. */
function bothWays(batch: Batch): void {
  const encode = (metadata: false | string[]) => {
    const parsed = config.parse({ endpoint: 'http://loki/push', structured_metadata: metadata })
    const { pushes } = new Converter(parsed, '').convert(batch, 1_700_000_000_000)
    return pushes.map((push) => decodeMessage('logproto.PushRequest', encodePush(push)))
  }
  expect(encode(false)).toEqual(encode([]))
}

test('random logs: the line from the bytes is the line from the objects', () => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  for (let round = 0; round < 300; round++)
    bothWays(new Batch('logs', [randomRequest('logs', seeded(seed + round)).bytes]))
})

test('one converter, the same resources and keys again and again, in memory that is used again', () => {
  const parse = (metadata: false | string[]) =>
    config.parse({ endpoint: 'http://loki/push', structured_metadata: metadata })
  let made = 0
  const counter = { add: (count: number) => void (made += count) } as unknown as Counter // All that is used of it.
  const short = new Converter(parse(false), '', counter)
  const long = new Converter(parse([]), '')
  const decode = (converter: Converter, batch: Batch) =>
    converter.convert(batch, 0).pushes.map((push) => decodeMessage('logproto.PushRequest', encodePush(push)))
  const pick = (list: readonly string[]) => list[Math.floor(Math.random() * list.length)]!
  const keys = [
    'a',
    'b',
    'ab',
    'abcd',
    'abce',
    'abcdefgh',
    'abcdefgi',
    'level',
    'job',
    'loki.format',
    '<',
    '\u00fc',
  ]
  const memory = Buffer.alloc(1 << 16)
  for (let round = 0; round < 400; round++) {
    const record = () => ({
      body: pick(keys),
      severityNumber: Math.floor(Math.random() * 30),
      attributes: Object.fromEntries(
        Array.from({ length: Math.floor(Math.random() * 4) }, (_, index) => [
          pick(round % 2 ? keys.slice(0, 7) : keys),
          index,
        ]),
      ),
    })
    const resource = { 'service.name': `s${round % 3}`, 'loki.resource.labels': pick(['a', 'b']), a: 1, b: 2 }
    const encoded = logs({
      resource,
      scope: { name: pick(['x', 'y']) },
      logs: [record(), record(), record()],
    })
    const [chunk] = encoded.chunks
    memory.set(chunk!)
    const batch = new Batch('logs', [memory.subarray(0, chunk!.length)])
    expect(decode(short, batch)).toEqual(decode(long, encoded))
  }
  expect(made).toBe(12)
})

test('more resources than are kept', () => {
  const converter = new Converter(config.parse({ endpoint: 'http://loki/push' }), '')
  for (let round = 0; round < 600; round++) {
    const batch = logs({ resource: { 'service.name': `s${round}` }, logs: [{ body: 'b' }] })
    const [push] = converter.convert(batch, 0).pushes
    expect([...push!.streams.keys()]).toEqual([`{exporter="OTLP", job="s${round}"}`])
  }
})

test('usual and odd logs: the line from the bytes is the line from the objects', () => {
  const resource = { 'service.name': 'shop', 'service.instance.id': 'a', z: 1, 'a<b': '>' }
  const ids = { traceId: '0102030405060708090a0b0c0d0e0f10', spanId: '0102030405060708' }
  const texts = [
    '',
    'plain',
    'a "quoted" \\ <b>&\n\t\u0001',
    '\u2028 \u2029 \u20ac \ud83d\ude00 \u007f',
    'x'.repeat(300),
  ]
  const values = [...texts, 0, 7, -1, -(2 ** 40), 2 ** 50, true, false, null, new Double(1.5), new Double(-0)]
  const odd = [new Double(Number.NaN), new Double(1e300), ['a', 1], { k: 'v' }, Buffer.from('bytes')]
  const records = [...values, ...odd].flatMap((value, index) => [
    {
      body: 'b',
      attributes: { b: value, a: 'first', ['k'.repeat(140)]: 1, B: 2 },
      severityNumber: index,
      ...ids,
    },
    { body: value, severityText: texts[index % 5] ?? '', flags: index, timeUnixNano: BigInt(1e12 - index) },
    { attributes: { b: value, [index % 2 ? 'level' : 'job']: 'own', 'loki.attribute.labels': 'b' } },
    { attributes: { exporter: value, instance: 'i' }, severityNumber: 9 },
    {},
  ])
  for (const scope of [{}, { name: 'lib' }, { name: 'lib', version: '1', attributes: { s: true } }]) {
    bothWays(logs({ resource, scope, logs: records }))
    bothWays(logs({ logs: records }))
    bothWays(logs({ resource: { level: 'own', 'loki.tenant': 'z', z: 't' }, scope, logs: records }))
    bothWays(logs({ resource: { 'loki.resource.labels': 'z', z: 't', exporter: 'e' }, scope, logs: records }))
  }
})
