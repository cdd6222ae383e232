import { expect, test } from 'vitest'
import {
  givePayload,
  keepPayload,
  POOL_IDLE_BYTES,
  POOL_LIMIT_BYTES,
  sparePayloadBytes,
  takePayload,
  trimPayload,
} from './payload-pool.ts'
import { leftPayloadBytes } from './unmanaged.ts'

test('a buffer that was given back is used again, for any size of its class', () => {
  const first = takePayload(36_000)
  expect(first.length).toBeGreaterThanOrEqual(36_000)
  givePayload(first.subarray(5, 100))
  expect(takePayload(40_000).buffer).toBe(first.buffer)
})

test('a buffer is taken back once, and only if it came from here', () => {
  const first = takePayload(20_000)
  givePayload(first)
  givePayload(first)
  const second = takePayload(20_000)
  const third = takePayload(20_000)
  expect(second.buffer).not.toBe(third.buffer)
  const foreign = Buffer.allocUnsafeSlow(32_768)
  givePayload(foreign)
  expect(takePayload(32_768).buffer).not.toBe(foreign.buffer)
})

test('a buffer that moved to another thread is not taken back', () => {
  const buffer = takePayload(100_000)
  structuredClone(buffer, { transfer: [buffer.buffer as ArrayBuffer] })
  givePayload(buffer)
  expect(takePayload(100_000).length).toBeGreaterThanOrEqual(100_000)
})

test('sizes from 1 byte to beyond the largest class are served', () => {
  for (const size of [1, 2047, 2048, 4096, 4097, 1 << 22, 1 << 24, (1 << 24) + 1]) {
    expect(takePayload(size).length).toBeGreaterThanOrEqual(size)
  }
})

test('what is kept is told, and what is let go of, in bytes', () => {
  const size = 1 << 23
  const taken = Array.from({ length: POOL_LIMIT_BYTES / size + 2 }, () => takePayload(size))
  const spare = sparePayloadBytes()
  const left = leftPayloadBytes()
  givePayload(taken[0]!)
  expect(sparePayloadBytes()).toBe(spare + size)
  takePayload(size)
  expect(sparePayloadBytes()).toBe(spare)
  for (const buffer of taken.slice(1)) givePayload(buffer)
  const kept = sparePayloadBytes() - spare
  expect(kept).toBeLessThanOrEqual(POOL_LIMIT_BYTES)
  expect(leftPayloadBytes() - left).toBe((taken.length - 1) * size - kept)
  trimPayload()
  trimPayload()
  expect(sparePayloadBytes()).toBeLessThanOrEqual(POOL_IDLE_BYTES)
  expect(leftPayloadBytes() - left).toBe((taken.length - 1) * size + spare - sparePayloadBytes())
})

test('no more than the limit is kept', () => {
  const size = 1 << 22
  const taken = Array.from({ length: POOL_LIMIT_BYTES / size + 3 }, () => takePayload(size))
  for (const buffer of taken) givePayload(buffer)
  const buffers = new Set(taken.map((buffer) => buffer.buffer))
  let again = 0
  for (let index = 0; index < taken.length; index++) if (buffers.has(takePayload(size).buffer)) again++
  expect(again).toBeLessThanOrEqual(POOL_LIMIT_BYTES / size)
  expect(again).toBeGreaterThan(0)
})

test('what is kept does not come back', () => {
  const kept = takePayload(50_000)
  keepPayload(kept.subarray(10, 20))
  givePayload(kept)
  expect(takePayload(50_000).buffer).not.toBe(kept.buffer)
  keepPayload(Buffer.alloc(10))
})

test('what nobody needs between two trims goes, but for the part that stays', () => {
  const size = 1 << 22
  const taken = Array.from({ length: POOL_LIMIT_BYTES / size }, () => takePayload(size))
  for (const buffer of taken) givePayload(buffer)
  const known = new Set(taken.map((buffer) => buffer.buffer))
  trimPayload() // It was all in use until now.
  trimPayload()
  let again = 0
  const later = taken.map(() => takePayload(size))
  for (const { buffer } of later) if (known.has(buffer)) again++
  expect(again).toBe(POOL_IDLE_BYTES / size)
  for (const buffer of later) givePayload(buffer)
})
