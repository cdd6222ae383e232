/** Copies of a batch: the same data in memory that nobody else writes to. */
import { expect, test } from 'vitest'
import { traces } from '../../test/support/otlp.ts'
import { Batch } from './batch.ts'

const lease = { hold() {}, release() {} }
const metadata = new Map([['tenant', ['a']]])

function lent(): Batch {
  const chunks = [...traces({ spans: ['a', 'b'] }).chunks, ...traces({ spans: ['c'] }).chunks]
  return new Batch('traces', chunks, -1, { metadata, lease })
}

test('a copy has chunks of its own, the same items and context, and no lease', () => {
  const batch = lent()
  const bytes = Buffer.from(batch.bytes())
  const copy = batch.copy()
  for (const chunk of batch.chunks) chunk.fill(0) // Somebody else uses the memory now.
  expect(Buffer.from(copy.bytes()).equals(bytes)).toBe(true)
  expect([copy.signal, copy.itemCount, copy.chunks.length]).toEqual(['traces', 3, 2])
  expect(copy.context).toEqual({ metadata, lease: undefined })
})

test('own bytes are all chunks in one buffer of just their size', () => {
  const batch = lent()
  const own = batch.ownBytes()
  expect(Buffer.from(own).equals(Buffer.concat(batch.chunks))).toBe(true)
  expect([own.byteOffset, own.buffer.byteLength]).toEqual([0, batch.byteLength])
})
