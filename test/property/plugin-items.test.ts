/**
 * Scenario: random requests, oddly encoded and with unknown fields, go through the friendly items of plugins, which set an attribute on
 * some items, drop some, and rename some metrics and scopes.
 * Guarantee: the same as on built-in paths (otlp-edit.test.ts): what was not touched keeps its bytes, what was decodes as edited, the
 * result can be received, and no input byte changes.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Batch, SIGNALS, type Signal } from '../../src/otlp/batch.ts'
import { DROP, KEEP, mapItems } from '../../src/otlp/edit.ts'
import { checkChunk, receiveRequest } from '../../src/otlp/receive.ts'
import { editBatch } from '../../src/plugin/editable-batch.ts'
import type { InnerItem } from '../../src/plugin/items.ts'
import { arbitraryRequest, seeded } from '../support/random-otlp.ts'
import { RUN } from './run.ts'

function arbitraryBatch(signal: Signal): fc.Arbitrary<Batch> {
  return fc
    .array(fc.tuple(arbitraryRequest(signal), fc.boolean()), { minLength: 1, maxLength: 3 })
    .map((requests) =>
      requests.map(([request, odd]) => receiveRequest(signal, odd ? request.oddBytes : request.bytes).chunk),
    )
    .map((chunks) => new Batch(signal, chunks))
}

function itemsOf(editable: ReturnType<typeof editBatch>): Iterable<InnerItem> {
  if (editable.signal === 'traces') return editable.spans()
  return editable.signal === 'logs' ? editable.logRecords() : editable.dataPoints()
}

const hex = (batch: Batch) => batch.chunks.map((chunk) => Buffer.from(chunk).toString('hex'))

for (const signal of SIGNALS) {
  test(`${signal}: dropping through items equals dropping on bytes`, () => {
    fc.assert(
      fc.property(arbitraryBatch(signal), fc.integer(), (batch, seed) => {
        const before = hex(batch)
        const one = seeded(seed)
        const other = seeded(seed)
        const editable = editBatch(batch)
        for (const item of itemsOf(editable)) if (one() < 0.3) item.drop()
        const expected = mapItems(batch, () => (other() < 0.3 ? DROP : KEEP))
        expect(hex(editable.edited())).toEqual(hex(expected))
        expect(editable.edited().itemCount).toBe(expected.itemCount)
        expect(hex(batch)).toEqual(before)
      }),
      RUN,
    )
  })

  test(`${signal}: an attribute that is set and taken away again leaves the items alone`, () => {
    fc.assert(
      fc.property(arbitraryBatch(signal), fc.integer(), (batch, seed) => {
        const random = seeded(seed)
        const before = hex(batch)
        const editable = editBatch(batch)
        const touched: boolean[] = []
        for (const item of itemsOf(editable)) {
          const touch = random() < 0.5
          touched.push(touch)
          if (touch) item.attributes.set('weir.test', 'v')
        }
        const set = editable.edited()
        for (const chunk of set.chunks) checkChunk(signal, chunk)
        let index = 0
        const again = editBatch(set)
        for (const item of itemsOf(again)) {
          expect(item.attributes.get('weir.test')).toBe(touched[index] ? 'v' : undefined)
          item.attributes.delete('weir.test')
          index++
        }
        expect(index).toBe(touched.length)
        // The bytes are the ones before, but for the order of the outer messages and empty ones, which an edit leaves out.
        const cleared = editBatch(again.edited())
        const contents = [...itemsOf(cleared)].length
        expect(contents).toBe(touched.length)
        expect(itemBytes(again.edited())).toEqual(itemBytes(batch))
        expect(hex(batch)).toEqual(before)
      }),
      RUN,
    )
  })

  test(`${signal}: resources and scopes are edited without touching items`, () => {
    fc.assert(
      fc.property(arbitraryBatch(signal), (batch) => {
        const editable = editBatch(batch)
        for (const resource of editable.resources()) resource.attributes.set('weir.test', 1)
        for (const scope of editable.scopes()) scope.attributes.set('weir.test', 2)
        const output = editable.edited()
        for (const chunk of output.chunks) checkChunk(signal, chunk)
        expect(output.itemCount).toBe(batch.itemCount)
        expect(itemBytes(output)).toEqual(itemBytes(batch))
        for (const resource of editable.resources()) expect(resource.attributes.get('weir.test')).toBe(1n)
        for (const scope of editable.scopes()) expect(scope.attributes.get('weir.test')).toBe(2n)
      }),
      RUN,
    )
  })
}

/** The content of every item, in order. */
function itemBytes(batch: Batch): string[] {
  const items: string[] = []
  mapItems(batch, ({ bytes, start, end }) => {
    items.push(Buffer.from(bytes.subarray(start, end)).toString('hex'))
    return KEEP
  })
  return items
}
