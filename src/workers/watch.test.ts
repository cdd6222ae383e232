import type { Worker } from 'node:worker_threads'
import { afterEach, expect, test, vi } from 'vitest'
import { createSharedMemory, SharedView } from './shared.ts'
import { LOOK_MS, Watch } from './watch.ts'

const MIB = 1024 * 1024
const SETTINGS = { heartbeatTimeoutMs: 3000, restartMaxIntervalMs: 1000, maxHeapMib: 0, maxMemoryBytes: 0 }
/** What the threads of the tests hold, heap and buffers together, when they are asked. */
let askedBytes = 0
const worker = {
  getHeapStatistics: async () => ({ used_heap_size: 0, external_memory: askedBytes }),
} as unknown as Worker // The watch asks it for nothing else.

afterEach(() => {
  askedBytes = 0
  vi.useRealTimers()
})

function make(supervision: object = {}) {
  const memory = createSharedMemory(2)
  const main = new SharedView(memory, 2)
  const ended: string[] = []
  const settings = { ...SETTINGS, ...supervision }
  const watch = new Watch(main, 2, settings, (shard, fault) => ended.push(`${shard} ${fault}`))
  vi.useFakeTimers() // The looks are the test's.
  for (const shard of [0, 1]) watch.add(shard, worker)
  const shards = [0, 1].map((shard) => new SharedView(memory, shard))
  const look = (times: number, ...beating: readonly number[]) => {
    for (let index = 0; index < times; index++) {
      for (const shard of beating) shards[shard]?.publish(0.1)
      watch.look(LOOK_MS)
    }
  }
  return { watch, main, ended, look }
}

test('a shard that is silent for the timeout is ended, once', () => {
  const { ended, look } = make()
  look(1, 0, 1)
  look(11, 0)
  expect(ended).toEqual([])
  look(1, 0)
  expect(ended).toEqual(['1 hang'])
  look(20, 0)
  expect(ended).toEqual(['1 hang'])
})

test('a sign of life in between makes it wait anew, and 0 makes it wait for ever', () => {
  const { ended, look, watch } = make()
  for (let round = 0; round < 5; round++) {
    look(11)
    look(1, 0, 1)
  }
  expect(ended).toEqual([])
  watch.adopt({ ...SETTINGS, heartbeatTimeoutMs: 0 })
  look(1000)
  expect(ended).toEqual([])
})

test('a silent shard counts as busy before it is ended, so that nobody hands it work', () => {
  const { main, look } = make()
  look(1, 0, 1)
  look(4, 0)
  expect(main.utilization(1)).toBe(1)
  expect(main.utilization(0)).toBe(0.1)
  look(1, 0, 1)
  expect(main.utilization(1)).toBe(0.1)
})

test('a shard that starts again is given the whole timeout, and a minute for its first sign of life', () => {
  const { watch, ended, look } = make()
  look(1, 0, 1)
  look(11, 0)
  watch.remove(1)
  watch.add(1, worker)
  look(60_000 / LOOK_MS - 1, 0)
  expect(ended).toEqual([])
  look(1, 0)
  expect(ended).toEqual(['1 hang'])
})

test('over the memory limit the shard that holds most is ended, and no other until it is gone', async () => {
  const { watch, ended, look } = make({ maxMemoryBytes: 2000 * MIB, heartbeatTimeoutMs: 0 })
  look(3, 0, 1)
  expect(ended).toEqual([])
  askedBytes = 3000 * MIB
  look(2, 0)
  await Promise.resolve() // It has been asked, and answers.
  look(1, 0)
  expect(ended).toEqual(['1 memory'])
  look(10, 0)
  expect(ended).toEqual(['1 memory'])
  askedBytes = 0
  watch.remove(1)
  watch.add(1, worker)
  look(10, 0, 1)
  expect(ended).toEqual(['1 memory'])
})
