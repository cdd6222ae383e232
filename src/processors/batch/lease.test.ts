import { expect, test } from 'vitest'
import { createProcessor } from '../../../test/support/create-test.ts'
import { traces } from '../../../test/support/otlp.ts'
import type { Consumer } from '../../component/define.ts'
import type { Batch, Lease } from '../../otlp/batch.ts'
import definition from './index.ts'

/** Takes batches at once and keeps them until told, as a queue does. */
class Keeper implements Consumer {
  readonly leases: boolean
  readonly kept: { readonly batch: Batch; readonly lease: Lease | undefined }[] = []

  constructor(leases: boolean) {
    this.leases = leases
  }

  async consume(batch: Batch): Promise<void> {
    const { lease } = batch.context
    lease?.hold()
    this.kept.push({ batch, lease })
  }
}

const request = (name: string) =>
  traces({ resource: { 'service.name': 'a' }, spans: [{ name: name.repeat(3000) }] })

const memory = ({ batch }: { readonly batch: Batch }) => batch.chunks[0]?.buffer

test('the memory of a batch is used again when the last one who holds its lease lets go, not earlier', async () => {
  const next = new Keeper(true)
  await using batch = createProcessor(definition, { send_batch_size: 1, timeout: '1s' }, { next })
  await batch.start()
  await batch.consume(request('a'))
  await batch.consume(request('b'))
  const [first, second] = next.kept
  if (first === undefined || second === undefined) throw new Error('no batches came')
  const bytes = Buffer.from(first.batch.bytes())
  expect(memory(second)).not.toBe(memory(first))
  first.lease?.hold() // A second branch of a fan-out.
  first.lease?.release()
  await batch.consume(request('c'))
  expect(memory(next.kept[2]!)).not.toBe(memory(first))
  expect(Buffer.from(first.batch.bytes()).equals(bytes)).toBe(true)
  first.lease?.release()
  await batch.consume(request('d'))
  expect(memory(next.kept[3]!)).toBe(memory(first))
})

test('pieces of a batch that is cut share its lease', async () => {
  const next = new Keeper(true)
  const config = { send_batch_size: 2, send_batch_max_size: 2, timeout: '1s' }
  await using batch = createProcessor(definition, config, { next })
  await batch.start()
  const spans = ['a', 'b', 'c', 'd'].map((name) => ({ name: name.repeat(2000) }))
  await batch.consume(traces({ resource: {}, spans }))
  const pieces = next.kept.splice(0)
  expect(pieces.map(({ batch: piece }) => piece.itemCount)).toEqual([2, 2])
  const copies = pieces.map(({ batch: piece }) => Buffer.from(piece.bytes()))
  pieces[0]?.lease?.release()
  for (const name of ['x', 'y', 'z'])
    await batch.consume(traces({ resource: {}, spans: [{ name }, { name }] }))
  expect(Buffer.from(pieces[1]!.batch.bytes()).equals(copies[1]!)).toBe(true)
})

test('without a promise of the next stage no memory is used again', async () => {
  const next = new Keeper(false)
  await using batch = createProcessor(definition, { send_batch_size: 1, timeout: '1s' }, { next })
  await batch.start()
  for (const name of ['a', 'b', 'c']) await batch.consume(request(name))
  expect(next.kept.map(({ lease }) => lease)).toEqual([undefined, undefined, undefined])
  expect(new Set(next.kept.map(memory)).size).toBe(3)
})
