import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decode, encode } from '../../test/support/otlp.ts'
import { countItems } from '../otlp/count.ts'
import { FieldCursor } from '../otlp/wire.ts'
import { Partitioner, traceShard } from './partition.ts'

interface SpanLike {
  traceId: Buffer
  spanId: Buffer
  name: string
}
// biome-ignore lint/suspicious/noExplicitAny: plain objects of the oracle.
type Plain = any

const traceId = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes))
const span = fc.record({
  traceId,
  spanId: fc.constant(Buffer.alloc(8, 1)),
  name: fc.string({ maxLength: 20 }),
})
const request = fc.array(
  fc.record({
    resource: fc.record({
      attributes: fc.array(fc.record({ key: fc.string(), value: fc.record({ stringValue: fc.string() }) }), {
        maxLength: 3,
      }),
    }),
    scopeSpans: fc.array(
      fc.record({
        scope: fc.record({ name: fc.string({ maxLength: 9 }) }),
        spans: fc.array(span, { maxLength: 6 }),
        schemaUrl: fc.string({ maxLength: 9 }),
      }),
      { maxLength: 3 },
    ),
    schemaUrl: fc.string({ maxLength: 9 }),
  }),
  { maxLength: 3 },
)

/** Every span with its headers, as text, so that two requests can be compared as multisets. */
function flatten(bytes: Uint8Array): string[] {
  const decoded = decode('traces', bytes) as Plain
  const flat: string[] = []
  for (const resource of decoded.resourceSpans ?? []) {
    for (const scope of resource.scopeSpans ?? []) {
      for (const one of scope.spans ?? []) {
        flat.push(JSON.stringify([resource.resource, resource.schemaUrl, scope.scope, scope.schemaUrl, one]))
      }
    }
  }
  return flat.sort()
}

test('every span goes, with its headers, to the shard that its trace id names, and none is lost', () => {
  fc.assert(
    fc.property(request, fc.integer({ min: 1, max: 8 }), (resourceSpans, shards) => {
      const chunk = encode('traces', { resourceSpans })
      const part = new Partitioner(shards, 'trace').divide(chunk)
      const parts = part.chunks.map((bytes) => bytes ?? new Uint8Array(0))
      expect(parts.flatMap(flatten).sort()).toEqual(flatten(chunk))
      for (const [shard, bytes] of parts.entries()) {
        expect(part.items[shard]).toBe(countItems('traces', bytes))
        for (const resource of (decode('traces', bytes) as Plain).resourceSpans ?? []) {
          for (const scope of resource.scopeSpans ?? []) {
            for (const one of (scope.spans ?? []) as SpanLike[]) {
              const alone = Buffer.concat([Buffer.from([0x0a, 16]), one.traceId])
              expect(traceShard(alone, 0, alone.length, shards, new FieldCursor())).toBe(shard)
            }
          }
        }
      }
    }),
  )
})

test('a chunk of one trace passes as it is', () => {
  const spans = [1, 2, 3].map((id) => ({
    traceId: Buffer.alloc(16, 7),
    spanId: Buffer.alloc(8, id),
    name: 'x',
  }))
  const chunk = encode('traces', { resourceSpans: [{ scopeSpans: [{ spans }] }] })
  const part = new Partitioner(4, 'trace').divide(chunk)
  expect(part.chunks.filter((bytes) => bytes !== undefined)).toEqual([chunk])
  expect(part.chunks.find((bytes) => bytes !== undefined)).toBe(chunk)
})

test('resources of one service go to one shard, in whatever request and order they come', () => {
  const metrics = (name: string, instance: string, extra: string) =>
    encode('metrics', {
      resourceMetrics: [
        {
          resource: {
            attributes: [
              { key: 'extra', value: { stringValue: extra } },
              { key: 'service.name', value: { stringValue: name } },
              { key: 'service.instance.id', value: { stringValue: instance } },
            ],
          },
        },
      ],
    })
  const shards = new Set<number>()
  const partitioner = new Partitioner(8, 'series')
  const owner = (chunk: Uint8Array) =>
    partitioner.divide(chunk).chunks.findIndex((bytes) => bytes !== undefined)
  for (let instance = 0; instance < 64; instance++) {
    const first = owner(metrics('shop', String(instance), 'a'))
    expect(owner(metrics('shop', String(instance), 'b'))).toBe(first)
    shards.add(first)
  }
  expect(shards.size).toBe(8)
  const both = Buffer.concat([
    metrics('shop', '1', 'a'),
    metrics('shop', '2', 'a'),
    metrics('shop', '1', 'b'),
  ])
  const parts = partitioner.divide(both).chunks.map((bytes) => (bytes ? flattenResources(bytes) : []))
  expect(parts.flat().length).toBe(3)
})

function flattenResources(bytes: Uint8Array): unknown[] {
  return (decode('metrics', bytes) as Plain).resourceMetrics ?? []
}
