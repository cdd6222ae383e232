import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { hashThreshold, TraceIdHash } from './probabilistic.ts'

test('the threshold is the one that Go computes with big.Float', () => {
  // Printed by a Go program: SetUint64(MaxUint64) times NewFloat(percentage / 100), as Uint64.
  const cases: [number, bigint][] = [
    [0, 0n],
    [1e-7, 18446744073n],
    [0.1, 18446744073709551n],
    [1, 184467440737095519n],
    [3.3, 608742554432415231n],
    [10, 1844674407370955263n],
    [12.5, 2305843009213693951n],
    [33.333333, 6148914629747371007n],
    [50, 9223372036854775807n],
    [66.6, 12285531553090559999n],
    [99.9, 18428297329635844095n],
    [99.99999999999999, 18446744073709549567n],
    [100, 18446744073709551615n],
    [150, 18446744073709551615n],
    [-3, 0n],
  ]
  for (const [percentage, want] of cases)
    expect([percentage, hashThreshold(percentage)]).toEqual([percentage, want])
})

function hashOf(salt: string, id: Buffer): bigint {
  const words = new Int32Array([0, 4, 8, 12].map((at) => id.readInt32LE(at)))
  const result = { high: 0, low: 0 }
  new TraceIdHash(salt).ofTraceId(words, 0, result)
  return (BigInt(result.high) << 32n) | BigInt(result.low)
}

test('the hash is FNV-1a 64 over salt and id', () => {
  const id = Buffer.from(Array.from({ length: 16 }, (_, index) => (index + 1) * 15))
  expect(hashOf('', id)).toBe(967948329024349501n) // hash/fnv of Go, with default-hash-seed.
  expect(hashOf('default-hash-seed', id)).toBe(967948329024349501n)
  expect(hashOf('salt', id)).toBe(3734137165968817761n)
  for (let index = 0; index < 1000; index++) {
    const random = createHash('md5').update(String(index)).digest()
    const salt = `s\u00e4lz${index}`
    let want = 0xcbf29ce484222325n
    for (const byte of Buffer.concat([Buffer.from(salt), random]))
      want = ((want ^ BigInt(byte)) * 0x100000001b3n) & (2n ** 64n - 1n)
    expect(hashOf(salt, random)).toBe(want)
  }
})
