import { expect, test } from 'vitest'
import { createSharedMemory, SharedView } from './shared.ts'

test('a budget is one limit over all shards', () => {
  const memory = createSharedMemory(2)
  const one = new SharedView(memory, 0).budget('x', 10)
  const two = new SharedView(memory, 1).budget('x', 10)
  expect(one.tryTake(6)).toBe(true)
  expect(two.tryTake(5)).toBe(false)
  expect(two.tryTake(4)).toBe(true)
  expect(one.used()).toBe(10)
  one.give(6)
  expect(two.tryTake(6)).toBe(true)
  two.take(5)
  expect(one.used()).toBe(15)
})

test('what a dead shard held is given back, what others hold stays', () => {
  const memory = createSharedMemory(2)
  const dead = new SharedView(memory, 0)
  const alive = new SharedView(memory, 1)
  dead.budget('a', 100).take(7)
  alive.budget('a', 100).take(3)
  dead.budget('b', 100).take(9)
  new SharedView(memory, 2).releaseShard(0)
  expect(alive.budget('a', 100).used()).toBe(3)
  expect(alive.budget('b', 100).used()).toBe(0)
})

test('more of what a crash left may come until each shard has looked and handed on what it found', () => {
  const memory = createSharedMemory(2)
  const [one, two] = [0, 1].map((row) => new SharedView(memory, row).recovery)
  expect(one?.pending()).toBe(false) // No receiver has a log.
  const readers = [one?.reader(), two?.reader()]
  readers[0]?.found(1)
  readers[0]?.handedOn()
  expect([one?.pending(), two?.pending()]).toEqual([true, true])
  readers[1]?.found(2)
  readers[1]?.handedOn()
  expect([one?.pending(), two?.pending()]).toEqual([true, true])
  readers[1]?.handedOn()
  expect([one?.pending(), two?.pending()]).toEqual([false, false])
  // A shard dies; the one in its place finds something again.
  new SharedView(memory, 2).releaseShard(1)
  expect(one?.pending()).toBe(true)
  const again = new SharedView(memory, 1).recovery.reader()
  again.found(1)
  expect(one?.pending()).toBe(true)
  again.close()
  readers[0]?.close()
  expect(one?.pending()).toBe(false)
  again.handedOn() // Too late to tell anything.
  expect(new SharedView(memory, 1).recovery.pending()).toBe(false)
})

test('a limit in bytes may be larger than 31 bits', () => {
  const memory = createSharedMemory(1)
  const limit = 64 * 1024 ** 3
  const budget = new SharedView(memory, 0).budget('bytes', limit)
  expect(budget.tryTake(limit - 4096)).toBe(true)
  expect(budget.tryTake(8192)).toBe(false)
  budget.give(limit - 4096)
  expect(budget.used()).toBe(0)
})

test('a rate starts full, is shared, and refuses what is over the burst', () => {
  const memory = createSharedMemory(2)
  const one = new SharedView(memory, 0).rateBudget('r', 0.001, 5)
  const two = new SharedView(memory, 1).rateBudget('r', 0.001, 5)
  expect(one.tryTake(6)).toBe(false)
  expect(one.tryTake(3)).toBe(true)
  expect(two.tryTake(3)).toBe(false)
  expect(two.tryTake(2)).toBe(true)
  expect(one.tryTake(1)).toBe(false)
})

test('the rest is what resident memory has beside the ledger while it grows, at most twice the least seen', () => {
  const MIB = 2 ** 20
  const memory = createSharedMemory(1)
  const main = new SharedView(memory, 1)
  const shard = new SharedView(memory, 0)
  const ledger = new Float64Array(memory.ledger)
  const f = (residentMib: number, ledgerMib: number, wantMib: number) => {
    ledger[0] = ledgerMib * MIB
    main.noteResident(residentMib * MIB)
    expect(shard.memoryLedger().restBytes() / MIB).toBe(wantMib)
  }
  expect(shard.memoryLedger().restBytes()).toBe(0)
  f(150, 50, 100)
  f(140, 60, 100) // Not at the highest point; but 80 was seen.
  f(300, 180, 120)
  f(290, 60, 120) // Freed and kept by the allocator: it will be used again.
  f(310, 200, 110)
  f(500, 210, 160) // A burst that was over before the ledger saw it: twice 80.
  f(499, 480, 38) // Twice 19.
  f(100, 200, 0)
})

test('the ledger is the sum of what the threads published', () => {
  const memory = createSharedMemory(2)
  const view = new SharedView(memory, 0)
  const before = view.memoryLedger().usedBytes()
  const after = view.memoryLedger().refresh()
  expect(before).toBe(0)
  expect(after).toBeGreaterThan(1_000_000)
  expect(new SharedView(memory, 1).memoryLedger().usedBytes()).toBe(after)
})
