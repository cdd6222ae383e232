/**
 * The store against models: tables against Map, what comes out against what went in (protobufjs as oracle),
 * memory that comes back. Seeds are printed when a case fails.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createProcessor } from '../../../test/support/create-test.ts'
import { decode, decodeBatch, encode, type Plain } from '../../../test/support/otlp.ts'
import { plainSpan, request } from '../../../test/support/tail-sampling.ts'
import { Batch } from '../../otlp/batch.ts'
import { WireWriter } from '../../otlp/wire.ts'
import { DecisionCache } from './decision-cache.ts'
import definition from './index.ts'
import { SLAB_BYTES, Slabs } from './slabs.ts'
import { SpanFacts } from './span-facts.ts'
import { SpanTable } from './span-table.ts'
import { TraceTable } from './trace-table.ts'

function factsOf(id: number): SpanFacts {
  const facts = new SpanFacts()
  facts.id0 = id % 3 // Few distinct values in two words, so that probes get long.
  facts.id1 = 0
  facts.id2 = id
  facts.id3 = Math.imul(id, 7)
  return facts
}

test('the trace table finds what is in it, through growth and removal', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(3000), { minLength: 1, maxLength: 4000 }), (ids) => {
      const table = new TraceTable(10)
      const model = new Map<number, number>()
      for (const id of ids) {
        const facts = factsOf(id)
        expect(table.find(facts)).toBe(model.get(id) ?? 0)
        const known = model.get(id)
        if (known !== undefined) {
          table.remove(known)
          model.delete(id)
        } else model.set(id, table.insert(facts))
      }
      expect(table.count).toBe(model.size)
      for (const [id, trace] of model) expect(table.find(factsOf(id))).toBe(trace)
      // The oldest goes first, in the order of insertion.
      for (const trace of model.values()) {
        expect(table.oldest).toBe(trace)
        table.remove(trace)
      }
      expect(table.oldest).toBe(0)
    }),
    { numRuns: 30 },
  )
})

test('a decision cache is an LRU of its size', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 600 }),
      fc.array(fc.nat(1000), { maxLength: 3000 }),
      (size, keys) => {
        const cache = new DecisionCache(size)
        const model = new Map<number, true>()
        for (const key of keys) {
          const asks = key % 3 === 0
          const known = model.delete(key)
          if (asks) expect(cache.has(key, key & 3)).toBe(known)
          else cache.put(key, key & 3)
          if (known || !asks) model.set(key, true)
          if (model.size > size) model.delete(model.keys().next().value ?? -1)
        }
        for (const key of [...model.keys()]) expect(cache.has(key, key & 3)).toBe(true)
      },
    ),
    { numRuns: 60 },
  )
})

test('slabs are used again, and large ranges go back to the runtime', () => {
  const slabs = new Slabs()
  const placed: [number, number][] = []
  for (let index = 0; index < 30_000; index++) {
    const length = 100 + (index % 5) * 300
    slabs.place(length)
    placed.push([slabs.slab, length])
  }
  const full = slabs.heldBytes
  expect(full).toBeLessThan(slabs.liveBytes * 1.02 + SLAB_BYTES)
  slabs.place(3 * SLAB_BYTES)
  const large = slabs.slab
  expect(slabs.heldBytes).toBe(full + 3 * SLAB_BYTES)
  slabs.free(large, 3 * SLAB_BYTES)
  expect(slabs.heldBytes).toBe(full)
  for (const [slab, length] of placed) slabs.free(slab, length)
  slabs.trim()
  expect(slabs.liveBytes).toBe(0)
  expect(slabs.heldBytes).toBeLessThan(12 * SLAB_BYTES)
})

test('a few spans that stay do not keep the memory of many: slabs are compacted', () => {
  const table = new SpanTable()
  const chunk = Buffer.alloc(1000)
  const scope = table.headers.scope(table.headers.resource(chunk, 0, 0), chunk, 0, 0)
  const stay: [number, number][] = []
  const go: number[] = []
  for (let index = 0; index < 60_000; index++) {
    chunk.writeUInt32LE(index, 0)
    const span = table.add(chunk, 0, 1000, scope)
    table.settle()
    if (index % 50 === 0) stay.push([span, index])
    else go.push(span)
  }
  for (const span of go) table.freeList(span)
  const before = table.slabs.heldBytes
  let steps = 1
  while (table.compact(1000)) steps++
  expect(steps).toBeGreaterThan(50) // In small steps, and other work may come between.
  table.compact(1000) // As the next tick does: empty slabs go back to the runtime.
  expect(table.slabs.heldBytes).toBeLessThan(before / 4)
  for (const [span, index] of stay) {
    expect(table.length(span)).toBe(1000)
    expect(table.bytes(span).readUInt32LE(table.start(span))).toBe(index)
  }
  for (const [span] of stay) table.freeList(span)
  expect(table.slabs.liveBytes).toBe(0)
  expect(table.headers.heldBytes).toBe(0)
})

async function passThrough(batches: readonly Batch[]): Promise<Plain[]> {
  const config = { decision_wait: '1s', policies: [{ name: 'all', type: 'always_sample' }] }
  await using tail = createProcessor(definition, config)
  await tail.start()
  for (const batch of batches) await tail.consume(batch)
  await tail.clock.advance(2500)
  expect(tail.meter.read('processor_tail_sampling_spans_on_memory')).toBe(0)
  return tail.sink.take().flatMap((batch) => decodeBatch(batch).resourceSpans ?? [])
}

const attribute = (key: string, stringValue: string) => ({ key, value: { stringValue } })

test('kept spans come out under their resource and scope, grouped, with schema urls', async () => {
  const resource = (name: string) => ({ attributes: [attribute('service.name', name)] })
  const scope = (name: string) => ({ name, version: '1', attributes: [attribute('k', 'v')] })
  const spans = Array.from({ length: 8 }, (_, index) => plainSpan({ trace: `${index + 1}` }))
  const one = {
    resourceSpans: [
      {
        resource: resource('a'),
        schemaUrl: 'https://r/1',
        scopeSpans: [
          { scope: scope('x'), schemaUrl: 'https://s/1', spans: spans.slice(0, 2) },
          { scope: scope('y'), spans: spans.slice(2, 3) },
        ],
      },
      { resource: resource('b'), scopeSpans: [{ scope: scope('x'), spans: spans.slice(3, 4) }] },
      { scopeSpans: [{ spans: spans.slice(4, 5) }] },
    ],
  }
  const two = {
    resourceSpans: [
      { resource: resource('b'), scopeSpans: [{ scope: scope('x'), spans: spans.slice(5, 6) }] },
      {
        resource: resource('a'),
        schemaUrl: 'https://r/1',
        scopeSpans: [{ scope: scope('x'), schemaUrl: 'https://s/1', spans: spans.slice(6, 7) }],
      },
      {
        resource: resource('a'),
        schemaUrl: 'https://r/2',
        scopeSpans: [{ scope: scope('x'), schemaUrl: 'https://s/1', spans: spans.slice(7, 8) }],
      },
    ],
  }
  const batches = [one, two].map((object) => new Batch('traces', [encode('traces', object)]))
  const [first, second, third] = one.resourceSpans
  const want = {
    resourceSpans: [
      {
        ...first,
        scopeSpans: [
          { ...first?.scopeSpans[0], spans: [spans[0], spans[1], spans[6]] },
          { ...first?.scopeSpans[1] },
        ],
      },
      { ...second, scopeSpans: [{ scope: scope('x'), spans: [spans[3], spans[5]] }] },
      third,
      two.resourceSpans[2],
    ],
  }
  expect({ resourceSpans: await passThrough(batches) }).toEqual(decode('traces', encode('traces', want)))
})

test('unknown fields and odd field orders of the messages around spans survive', async () => {
  const span = encodeSpan('1')
  const writer = new WireWriter()
  writer.begin(1)
  writer.begin(2).len(2, span).string(1000, 'scope').len(2, encodeSpan('2')).string(3, 'https://s').end()
  writer.string(1001, 'resource').begin(1).string(1002, 'inner').end()
  writer.end()
  const config = { decision_wait: '1s', policies: [{ name: 'all', type: 'always_sample' }] }
  await using tail = createProcessor(definition, config)
  await tail.start()
  await tail.consume(new Batch('traces', [writer.finish()]))
  await tail.clock.advance(2500)
  const bytes = tail.sink.take()[0]?.bytes() ?? new Uint8Array(0)
  const text = Buffer.from(bytes).toString('latin1')
  for (const part of ['scope', 'resource', 'inner', 'https://s']) expect(text.split(part)).toHaveLength(2)
  expect(new Batch('traces', [bytes]).itemCount).toBe(2)
})

function encodeSpan(trace: string): Uint8Array {
  return new WireWriter()
    .len(1, Buffer.from(trace.padStart(32, '0'), 'hex'))
    .string(5, 'name')
    .take()
}

test('random requests come out span by span as they went in', async () => {
  const spanOf = fc.record({
    trace: fc.nat(9).map(String),
    name: fc.string({ maxLength: 200 }),
    resource: fc.constantFrom({ a: '1' }, { a: '2' }, {}),
    scope: fc.constantFrom('x', 'y'),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(spanOf, { maxLength: 20 }), { maxLength: 6 }), async (requests) => {
      const batches = requests.map((spans) => request(...spans))
      const before = batches.map((batch) => Buffer.from(batch.bytes()))
      const got = flatten(await passThrough(batches))
      const want = flatten(batches.flatMap((batch) => decodeBatch(batch).resourceSpans ?? []))
      expect(got).toEqual(want)
      for (const [index, batch] of batches.entries()) expect(before[index]?.equals(batch.bytes())).toBe(true)
    }),
    { numRuns: 100 },
  )
})

/** Each span with its resource and scope, in the order of span ids. */
function flatten(resourceSpans: readonly Plain[]): string[] {
  const flat: string[] = []
  for (const { scopeSpans = [], ...resource } of resourceSpans)
    for (const { spans = [], ...scope } of scopeSpans)
      for (const span of spans) flat.push(JSON.stringify([span.spanId, span, resource, scope]))
  return flat.sort()
}

test('slabs of a store that is given up serve the next one', () => {
  const slabs = new Slabs()
  slabs.place(SLAB_BYTES)
  const [first] = slabs.buffers
  slabs.dispose()
  expect(slabs.heldBytes).toBe(0)
  const next = new Slabs()
  next.place(100)
  expect(next.buffers[next.slab]).toBe(first)
  expect(next.heldBytes).toBe(SLAB_BYTES)
})
