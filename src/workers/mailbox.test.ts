import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { MAILBOX_BYTES, Mailbox } from './mailbox.ts'

function pair() {
  const memory = new SharedArrayBuffer(MAILBOX_BYTES)
  return { memory, writer: new Mailbox(memory), reader: new Mailbox(memory) }
}

test('records come out as they went in, in order, round the ring', () => {
  const { writer, reader } = pair()
  let next = 0
  for (let round = 0; round < 700; round++) {
    for (let count = 0; count < (round % 7) + 1; count++) {
      expect(writer.put(1, next, -next, next * 2, 3, 4, next / 3)).toBe(true)
      next++
    }
    reader.drain((kind, id, a, b, c, d, time) => {
      expect([kind, a, b, c, d, time]).toEqual([1, 0 - id, id * 2, 3, 4, id / 3])
    }, 100)
  }
  expect(reader.drain(() => expect.unreachable(), 1)).toBe(0)
})

test('a full ring refuses until something is read', () => {
  const { writer, reader } = pair()
  let put = 0
  while (writer.put(1, put)) put++
  expect(put).toBe(2048)
  const seen: number[] = []
  expect(reader.drain((_kind, id) => void seen.push(id), 5)).toBe(5)
  reader.drain((_kind, id) => void seen.push(id), 5000)
  expect(seen).toEqual(Array.from({ length: put }, (_, index) => index))
  expect(writer.put(1, put)).toBe(true)
})

test('records of one kind are read until another one comes', () => {
  const { writer, reader } = pair()
  for (const [id, kind] of [2, 2, 1, 2].entries()) writer.put(kind, id)
  const seen: number[] = []
  reader.drainKind(2, (_kind, id) => void seen.push(id))
  expect(seen).toEqual([0, 1])
  reader.drain((_kind, id) => void seen.push(id), 1)
  reader.drainKind(2, (_kind, id) => void seen.push(id))
  reader.drainKind(2, () => expect.unreachable())
  expect(seen).toEqual([0, 1, 2, 3])
})

test('only a reader that sleeps is woken, and once', () => {
  const { writer, reader } = pair()
  writer.put(1, 1)
  expect(writer.claimWaking()).toBe(false)
  // It must not go to sleep over a record that it has not seen.
  expect(reader.sleep()).toBe(false)
  reader.drain(() => {}, 1)
  expect(reader.sleep()).toBe(true)
  writer.put(1, 2)
  expect(writer.claimWaking()).toBe(true)
  expect(writer.claimWaking()).toBe(false)
})

test('between threads nothing is lost, and the reader is never left asleep over a record', async () => {
  const { memory, reader } = pair()
  const total = 20_000
  const source = `
    const { workerData, parentPort } = require('node:worker_threads')
    import(workerData.module).then(async ({ Mailbox }) => {
      const writer = new Mailbox(workerData.memory)
      for (let id = 0; id < workerData.total; id++) {
        while (!writer.put(1, id, id * 3)) await new Promise(setImmediate)
        if (writer.claimWaking()) parentPort.postMessage(0)
        if (id % 97 === 0) await new Promise(setImmediate)
      }
    })`
  const module = new URL('./mailbox.ts', import.meta.url).href
  const worker = new Worker(source, { eval: true, workerData: { memory, module, total } })
  let expected = 0
  const ended = once(worker, 'exit')
  await new Promise<void>((resolve) => {
    const read = () => {
      do
        reader.drain((_kind, id, a) => {
          expect([id, a]).toEqual([expected, expected * 3])
          expected++
        }, 16)
      while (!reader.sleep())
      if (expected === total) resolve()
    }
    worker.on('message', read)
    read()
  })
  await ended
})
