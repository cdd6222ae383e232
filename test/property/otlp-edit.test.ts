/**
 * Scenario: random requests, oddly encoded and with unknown fields, in batches of several chunks, are split,
 * joined and edited on encoded bytes.
 * Guarantee: decode(edit(bytes)) equals edit(decode(bytes)), unknown fields included, and no input byte
 * changes.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { AttributeCursor, keyBytes, writeAttribute } from '../../src/otlp/attributes.ts'
import { Batch, SIGNALS, type Signal } from '../../src/otlp/batch.ts'
import { DROP, KEEP, mapItems, mapResources, type Verdict, WROTE } from '../../src/otlp/edit.ts'
import { LOG_RECORD, METRIC, RESOURCE, SPAN } from '../../src/otlp/fields.ts'
import type { ItemWalker } from '../../src/otlp/item-walker.ts'
import { checkChunk, receiveRequest } from '../../src/otlp/receive.ts'
import { splitBatch, splitByBytes } from '../../src/otlp/split.ts'
import { FieldCursor, type WireWriter } from '../../src/otlp/wire.ts'
import { decodeWithUnknowns, type Plain } from '../support/otlp.ts'
import { arbitraryRequest, seeded } from '../support/random-otlp.ts'
import { RUN } from './run.ts'

const SUFFIX: Record<Signal, string> = { traces: 'Spans', metrics: 'Metrics', logs: 'Logs' }
const ITEMS: Record<Signal, string> = { traces: 'spans', metrics: 'metrics', logs: 'logRecords' }
const DATA = ['gauge', 'sum', 'histogram', 'exponentialHistogram', 'summary']

/** Chunks of one signal, some of them oddly encoded. */
function arbitraryBatch(signal: Signal): fc.Arbitrary<Batch> {
  return fc
    .array(fc.tuple(arbitraryRequest(signal), fc.boolean()), { minLength: 1, maxLength: 3 })
    .map((requests) =>
      requests.map(([request, odd]) => receiveRequest(signal, odd ? request.oddBytes : request.bytes).chunk),
    )
    .map((chunks) => new Batch(signal, chunks))
}

function decodeChunks(batch: Batch): Plain[] {
  for (const chunk of batch.chunks) checkChunk(batch.signal, chunk)
  return batch.chunks.map((chunk) => decodeWithUnknowns(batch.signal, chunk))
}

/**
 * Rewrites a decoded chunk: `edit` gets each item and gives what stands in its place. Emptied messages go.
 */
function editPlain(signal: Signal, object: Plain, edit: (item: Plain, data: string) => Plain[]): Plain {
  const key = ITEMS[signal]
  const editMetric = (metric: Plain): Plain[] => {
    const data = DATA.find((name) => metric[name] !== undefined)
    if (data === undefined) return [metric]
    const dataPoints = (metric[data].dataPoints ?? []).flatMap((point: Plain) => edit(point, data))
    return dataPoints.length > 0 ? [{ ...metric, [data]: { ...metric[data], dataPoints } }] : []
  }
  const editScope = (scope: Plain): Plain[] => {
    const items = (scope[key] ?? []).flatMap((item: Plain) =>
      signal === 'metrics' ? editMetric(item) : edit(item, ''),
    )
    return items.length > 0 ? [{ ...scope, [key]: items }] : []
  }
  const inner = `scope${SUFFIX[signal]}`
  const editResources = (resources: Plain): Plain[] => {
    const scopes = (resources[inner] ?? []).flatMap(editScope)
    return scopes.length > 0 ? [{ ...resources, [inner]: scopes }] : []
  }
  const outer = `resource${SUFFIX[signal]}`
  const list = (object[outer] ?? []).flatMap(editResources)
  return list.length > 0 ? { [outer]: list } : {}
}

/** All items of a batch in order, each with the headers around it. */
function flatten(batch: Batch): Plain[] {
  const { signal } = batch
  const flat: Plain[] = []
  for (const object of decodeChunks(batch)) {
    for (const { [`scope${SUFFIX[signal]}`]: scopes = [], ...resource } of object[
      `resource${SUFFIX[signal]}`
    ] ?? []) {
      for (const { [ITEMS[signal]]: items = [], ...scope } of scopes) {
        for (const item of items) {
          const data = DATA.find((name) => item[name] !== undefined)
          if (signal !== 'metrics' || data === undefined) flat.push({ resource, scope, item })
          else {
            const { dataPoints = [], ...rest } = item[data]
            for (const point of dataPoints)
              flat.push({ resource, scope, metric: { ...item, [data]: rest }, point })
          }
        }
      }
    }
  }
  return flat
}

/** Runs `use` and sees to it that it wrote to none of the input. */
function unchanged<T>(batch: Batch, use: () => T): T {
  const before = batch.chunks.map((chunk) => Buffer.from(chunk))
  const result = use()
  expect(batch.chunks.map((chunk) => Buffer.from(chunk))).toEqual(before)
  return result
}

function attributesField(items: ItemWalker): number {
  if (items.signal === 'traces') return SPAN.attributes
  if (items.signal === 'logs') return LOG_RECORD.attributes
  if (items.dataField === METRIC.histogram) return 9
  return items.dataField === METRIC.exponentialHistogram ? 1 : 7
}

const HOST = keyBytes('host')
const cursor = new AttributeCursor()

/** Removes all attributes `host` and appends one called `edited`; all other fields stay where they are. */
function rewrite(bytes: Uint8Array, start: number, end: number, field: number, output: WireWriter): void {
  const fields = new FieldCursor(bytes, start, end)
  while (fields.next()) {
    if (fields.number === field) {
      cursor.reset(bytes, fields.fieldStart, fields.end, field)
      if (cursor.next() && cursor.keyEquals(HOST)) continue
    }
    output.raw(fields.raw())
  }
  writeAttribute(output, field, 'edited', [1n, { deep: 'x' }])
}

const EDITED: Plain = {
  key: 'edited',
  value: {
    arrayValue: {
      values: [
        { intValue: '1' },
        { kvlistValue: { values: [{ key: 'deep', value: { stringValue: 'x' } }] } },
      ],
    },
  },
}

function rewritePlain(message: Plain | undefined): Plain {
  const kept = (message?.attributes ?? []).filter((pair: Plain) => pair.key !== 'host')
  return { ...message, attributes: [...kept, EDITED] }
}

for (const signal of SIGNALS) {
  test(`${signal}: splitting by items and joining give back every item under its headers`, () => {
    fc.assert(
      fc.property(arbitraryBatch(signal), fc.integer({ min: 1, max: 12 }), (batch, limit) => {
        const parts = unchanged(batch, () => splitBatch(batch, limit))
        for (const [index, part] of parts.entries()) {
          const count = new Batch(signal, part.chunks).itemCount
          expect(part.itemCount).toBe(count)
          if (index < parts.length - 1) expect(count).toBe(limit)
          else expect(count).toBeLessThanOrEqual(limit)
        }
        expect(flatten(Batch.concat(parts))).toEqual(flatten(batch))
      }),
      RUN,
    )
  })

  test(`${signal}: splitting by bytes and joining give back every item under its headers`, () => {
    fc.assert(
      fc.property(arbitraryBatch(signal), fc.integer({ min: 1, max: 2000 }), (batch, limit) => {
        const parts = unchanged(batch, () => splitByBytes(batch, limit))
        for (const part of parts) {
          const count = new Batch(signal, part.chunks).itemCount
          expect(part.itemCount).toBe(count)
          if (part.byteLength > limit) expect(flatten(part).length).toBeLessThanOrEqual(1)
        }
        if (parts.length > 0) expect(flatten(Batch.concat(parts))).toEqual(flatten(batch))
        else expect(flatten(batch)).toEqual([])
      }),
      RUN,
    )
  })

  test(`${signal}: a resource edit is the same on bytes and on objects`, () => {
    fc.assert(
      fc.property(arbitraryBatch(signal), fc.nat(), (batch, seed) => {
        const random = seeded(seed)
        const plan = Array.from({ length: 20 }, () => random() < 0.7)
        let count = 0
        const edited = unchanged(batch, () =>
          mapResources(batch, (bytes, start, end, output) => {
            rewrite(bytes, start, end, RESOURCE.attributes, output)
            return plan[count++] ?? true
          }),
        )
        let index = 0
        const outer = `resource${SUFFIX[signal]}`
        const want = decodeChunks(batch).map((object) => {
          for (const resources of object[outer] ?? [])
            if (plan[index++] ?? true) resources.resource = rewritePlain(resources.resource)
          return object
        })
        expect(decodeChunks(edited)).toEqual(want)
        expect(edited.itemCount).toBe(batch.itemCount)
        expect(count).toBe(index)
        if (!plan.slice(0, count).includes(true)) expect(edited).toBe(batch)
      }),
      RUN,
    )
  })

  test(`${signal}: rewriting and dropping items is the same on bytes and on objects`, () => {
    fc.assert(
      fc.property(
        arbitraryBatch(signal),
        fc.nat(),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (batch, seed, keep) => {
          const random = seeded(seed)
          const verdicts: Verdict[] = []
          let edits = 0
          const edited = unchanged(batch, () =>
            mapItems(batch, (items, output) => {
              edits++
              const verdict = random() < keep ? KEEP : random() < 0.5 ? DROP : WROTE
              verdicts.push(verdict)
              if (verdict === WROTE)
                rewrite(items.bytes, items.start, items.end, attributesField(items), output)
              return verdict
            }),
          )
          expect(edits).toBe(batch.itemCount)
          let index = 0
          const want: Plain[] = []
          for (const object of decodeChunks(batch)) {
            const first = index
            const result = editPlain(signal, object, (item) => {
              const verdict = verdicts[index++]
              return verdict === KEEP ? [item] : verdict === DROP ? [] : [rewritePlain(item)]
            })
            const touched = verdicts.slice(first, index).some((verdict) => verdict !== KEEP)
            if (!touched) want.push(object)
            else if (Object.keys(result).length > 0) want.push(result)
          }
          expect(decodeChunks(edited)).toEqual(want)
          expect(edited.itemCount).toBe(new Batch(signal, edited.chunks).itemCount)
        },
      ),
      RUN,
    )
  })
}
