import { expect, test } from 'vitest'
import { decodeBatch, logs, metrics, traces } from '../../test/support/otlp.ts'
import { Batch } from '../otlp/batch.ts'
import { checkChunk } from '../otlp/receive.ts'
import { WireWriter } from '../otlp/wire.ts'
import { logsOf, pointsOf, spansOf } from '../testing/read.ts'
import { buildLogs, buildMetrics, buildTraces } from './build.ts'
import { type EditableBatch, editBatch } from './editable-batch.ts'
import type { Span } from './items.ts'

/** What a loop makes of a batch; the bytes that went in stay as they were, and what comes out can be received. */
function edited(batch: Batch, edit: (batch: EditableBatch) => void): Batch {
  const before = batch.chunks.map((chunk) => Buffer.from(chunk))
  const editable = editBatch(batch)
  edit(editable)
  const output = editable.edited()
  expect(batch.chunks.map((chunk) => Buffer.from(chunk))).toEqual(before)
  let count = 0
  for (const chunk of output.chunks) count += checkChunk(output.signal, chunk)
  expect(output.itemCount).toBe(count)
  return output
}

const eachSpan = (edit: (span: Span) => void) => (batch: EditableBatch) => {
  for (const span of batch.spans()) edit(span)
}

test('a batch that nothing was done to is the same batch', () => {
  const batch = traces({ spans: ['a', 'b'] })
  expect(
    edited(
      batch,
      eachSpan((span) => void span.attributes.get('x')),
    ),
  ).toBe(batch)
  const same = traces({ spans: [{ name: 'a', attributes: { k: 'v' } }] })
  expect(
    edited(
      same,
      eachSpan((span) => void span.attributes.set('k', 'v')),
    ),
  ).toBe(same)
  expect(edited(batch, (editable) => expect([...editable.logRecords()]).toEqual([]))).toBe(batch)
})

test('attributes are read, set, replaced and deleted', () => {
  const batch = traces({ spans: [{ name: 'a', attributes: { one: 1, text: 'x', gone: true } }, 'b'] })
  const output = edited(
    batch,
    eachSpan(({ name, attributes }) => {
      if (name === 'b') return
      expect(attributes.get('one')).toBe(1n)
      expect(attributes.text('gone')).toBe('true')
      expect(attributes.get('none')).toBeUndefined()
      expect(attributes.size).toBe(3)
      attributes.set('text', 'y').set('new', 1.5).set('list', ['a', 2n]).set('whole', 7)
      expect(attributes.delete('gone')).toBe(true)
      expect(attributes.delete('gone')).toBe(false)
      expect(attributes.has('gone')).toBe(false)
      expect(attributes.get('text')).toBe('y')
      expect([...attributes.keys()]).toEqual(['one', 'text', 'new', 'list', 'whole'])
      expect(() => attributes.set('k', undefined as unknown as string)).toThrow(/undefined/)
    }),
  )
  expect(spansOf(output).map(({ attributes }) => attributes)).toEqual([
    { one: 1n, text: 'y', new: 1.5, list: ['a', 2n], whole: 7n },
    {},
  ])
})

test('one key with changing values is encoded anew each time', () => {
  const batch = traces({ spans: ['a', 'b', 'c', 'd'] })
  let number = 0
  const output = edited(
    batch,
    eachSpan((span) => void span.attributes.set('n', number++ < 2 ? 'same' : `n${number}`)),
  )
  expect(spansOf(output).map(({ attributes }) => attributes['n'])).toEqual(['same', 'same', 'n3', 'n4'])
})

test('items are dropped, and what stays empty around them goes too', () => {
  const batch = Batch.concat([
    traces({ resource: { r: 1 }, spans: ['a', 'drop', 'b'] }),
    traces({ resource: { r: 2 }, spans: ['drop'] }),
    traces({ resource: { r: 3 }, spans: ['c'] }),
  ])
  const output = edited(
    batch,
    eachSpan((span) => void (span.name === 'drop' && span.drop())),
  )
  expect(spansOf(output).map(({ name }) => name)).toEqual(['a', 'b', 'c'])
  expect(output.chunks).toHaveLength(2)
  expect(output.chunks[1]).toBe(batch.chunks[2])
  expect(
    edited(
      batch,
      eachSpan((span) => void span.drop()),
    ).chunks,
  ).toEqual([])
})

test('a loop that ends early keeps the rest as it was', () => {
  const batch = Batch.concat([traces({ spans: ['a', 'b', 'c'] }), traces({ spans: ['d'] })])
  const output = edited(batch, (editable) => {
    for (const span of editable.spans()) {
      span.name += '!'
      if (span.name === 'b!') break
    }
  })
  expect(spansOf(output).map(({ name }) => name)).toEqual(['a!', 'b!', 'c', 'd'])
})

test('fields of spans are written in their place, unknown fields survive', () => {
  const unknown = new WireWriter().string(1000, 'later').finish()
  const plain = traces({
    resource: { 'service.name': 'shop' },
    spans: [{ name: 'a', kind: 2, startTimeUnixNano: 5n, endTimeUnixNano: 9n, attributes: { k: 'v' } }],
  })
  // The unknown field is put into the last message of the chunk, which is the span, and lengths are mended by hand.
  const batch = withSpanField(plain, unknown)
  const output = edited(
    batch,
    eachSpan((span) => {
      expect(span).toMatchObject({
        kind: 'server',
        startTimeUnixNano: 5n,
        endTimeUnixNano: 9n,
        isError: false,
      })
      expect(span.resource.attributes.get('service.name')).toBe('shop')
      expect(() => span.resource.attributes.set('k', 'v')).toThrow(/read-only/)
      span.name = 'renamed'
      span.kind = 'client'
      span.status = { code: 'error', message: 'broken' }
      span.endTimeUnixNano = 2n ** 60n
      span.traceId = '0123456789abcdef0123456789ABCDEF'
      span.attributes.set('k', 'w')
      expect(span).toMatchObject({ name: 'renamed', kind: 'client', isError: true })
      expect(() => void (span.traceId = 'abc')).toThrow(/hexadecimal/)
      expect(() => void (span.kind = 'clien' as 'client')).toThrow(/is not one of/)
      expect(() => void (span.endTimeUnixNano = 1 as unknown as bigint)).toThrow(/bigint/)
    }),
  )
  expect(spansOf(output)).toMatchObject([
    { name: 'renamed', kind: 'client', traceId: '0123456789abcdef0123456789abcdef', attributes: { k: 'w' } },
  ])
  expect(Buffer.from(output.bytes()).includes(Buffer.from(unknown))).toBe(true)
  const [span] = decodeBatch(output).resourceSpans[0].scopeSpans[0].spans
  expect(span).toMatchObject({ endTimeUnixNano: String(2n ** 60n), status: { code: 2, message: 'broken' } })
})

/** The only span of a batch with a field more. */
function withSpanField(batch: Batch, field: Uint8Array): Batch {
  const output = new WireWriter()
  const group = decodeBatch(batch).resourceSpans[0]
  expect(group.scopeSpans[0].spans).toHaveLength(1)
  const editable = editBatch(batch)
  for (const span of editable.spans()) {
    const content = Buffer.concat([span.view().encoded(), field])
    const name = new WireWriter().string(1, 'service.name').begin(2).string(1, 'shop').end().finish()
    output.begin(1).begin(1).len(1, name).end().begin(2).len(2, content).end().end()
  }
  return new Batch('traces', [output.finish()])
}

test('events are edited, dropped and added; links are dropped', () => {
  const event = (name: string) => ({ name, timeUnixNano: 1n, attributes: { secret: 's' } })
  const batch = buildTraces({ spans: [{ name: 'a', events: [event('keep'), event('drop'), event('edit')] }] })
  const output = edited(
    batch,
    eachSpan((span) => {
      span.addEvent({ name: 'added', timeUnixNano: 7n, attributes: { n: 1 } })
      for (const one of span.events()) {
        if (one.name === 'drop') one.drop()
        if (one.name === 'edit') one.attributes.delete('secret')
        if (one.name === 'added') one.name = 'renamed'
      }
      for (const link of span.links()) link.drop()
    }),
  )
  expect(spansOf(output)[0]?.events).toEqual([
    { name: 'keep', attributes: { secret: 's' } },
    { name: 'edit', attributes: {} },
    { name: 'renamed', attributes: { n: 1n } },
  ])
})

test('log records: body, severity, times', () => {
  const batch = logs({ logs: ['text', { body: { user: 'ann' }, severityNumber: 9 }] })
  const output = edited(batch, (editable) => {
    for (const record of editable.logRecords()) {
      if (record.severityNumber === 9) {
        expect(record.body).toEqual({ user: 'ann' })
        record.body = { user: '*' }
        record.severityText = 'INFO'
      } else record.body = `${record.bodyText}!`
      record.observedTimeUnixNano = 3n
    }
  })
  expect(logsOf(output)).toMatchObject([{ body: 'text!' }, { body: { user: '*' }, severityText: 'INFO' }])
})

test('data points with their metric, and metrics as a whole', () => {
  const batch = buildMetrics({
    resource: { r: 'x' },
    metrics: [
      { name: 'cpu', type: 'gauge', points: [{ value: 1.5, attributes: { core: '0' } }, { value: 3n }] },
      { name: 'bytes', type: 'sum', unit: 'By', points: [{ value: 10n, timeUnixNano: 4n }] },
      {
        name: 'time',
        type: 'histogram',
        points: [{ count: 2, sum: 3, bucketCounts: [1, 1], explicitBounds: [1] }],
      },
    ],
  })
  const output = edited(batch, (editable) => {
    for (const point of editable.dataPoints()) {
      point.attributes.set('type', point.type)
      if (point.metric.name === 'cpu' && point.value === 3n) point.drop()
      if (point.type === 'sum') point.value = Number(point.value) / 4
      if (point.type === 'histogram') expect(() => void (point.value = 1)).toThrow(/no single value/)
    }
    for (const metric of editable.metrics()) {
      if (metric.type === 'histogram') metric.drop()
      else metric.name = `host.${metric.name}`
    }
  })
  expect(pointsOf(output)).toEqual([
    {
      metric: 'host.cpu',
      type: 'gauge',
      value: 1.5,
      attributes: { core: '0', type: 'gauge' },
      resource: { r: 'x' },
    },
    { metric: 'host.bytes', type: 'sum', value: 2.5, attributes: { type: 'sum' }, resource: { r: 'x' } },
  ])
})

test('resources and scopes are edited and dropped, absent ones are put in', () => {
  const batch = Batch.concat([
    traces({ resource: { 'service.name': 'a' }, spans: ['1'] }),
    traces({ spans: ['2'] }),
    traces({ resource: { 'service.name': 'c' }, spans: ['3'] }),
  ])
  const output = edited(batch, (editable) => {
    for (const resource of editable.resources()) {
      if (resource.attributes.get('service.name') === 'c') resource.drop()
      else resource.attributes.set('env', 'test')
    }
    for (const scope of editable.scopes()) scope.name = 'lib'
  })
  expect(spansOf(output).map(({ resource }) => resource)).toEqual([
    { 'service.name': 'a', env: 'test' },
    { env: 'test' },
  ])
  const names = decodeBatch(output).resourceSpans.map(
    (group: { scopeSpans: { scope: { name: string } }[] }) => group.scopeSpans[0]?.scope.name,
  )
  expect(names).toEqual(['lib', 'lib'])
  const none = edited(batch, (editable) => {
    for (const scope of editable.scopes()) scope.drop()
  })
  expect(none.chunks).toEqual([])
})

test('loops do not nest, and edited() waits for their end', () => {
  const editable = editBatch(buildLogs({ logs: ['a'] }))
  for (const _ of editable.logRecords()) {
    expect(() => [...editable.resources()]).toThrow(/inside/)
    expect(() => editable.edited()).toThrow(/inside/)
  }
  expect(editable.edited().itemCount).toBe(1)
})

test('metrics of an unknown type pass through edits', () => {
  const known = metrics({ metrics: [{ name: 'g', gauge: { dataPoints: [{ asInt: 1 }] } }] })
  const odd = new WireWriter().begin(1).begin(2).begin(2).string(1, 'odd').end().end().end().finish()
  const batch = new Batch('metrics', [Buffer.concat([odd, known.bytes()])])
  const output = editBatch(batch)
  for (const point of output.dataPoints()) point.attributes.set('k', 'v')
  const decoded = decodeBatch(output.edited())
  expect(JSON.stringify(decoded)).toContain('"odd"')
  expect(JSON.stringify(decoded)).toContain('"k"')
})
