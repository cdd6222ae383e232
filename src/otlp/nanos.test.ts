import { expect, test } from 'vitest'
import { divideNanos, parts } from './nanos.ts'

test('64 bits of nanoseconds are divided exactly', () => {
  const f = (nanos: bigint) => {
    divideNanos(Number(nanos >> 32n), Number(nanos & 0xffffffffn))
    expect([BigInt(parts.seconds), BigInt(parts.nanos)], `${nanos}`).toEqual([
      nanos / 1_000_000_000n,
      nanos % 1_000_000_000n,
    ])
  }
  for (const nanos of [0n, 1n, 999_999_999n, 1_000_000_000n, 2n ** 63n, 2n ** 64n - 1n]) f(nanos)
  const half = () => BigInt(Math.floor(Math.random() * 2 ** 32))
  for (let round = 0; round < 2000; round++) {
    const nanos = ((half() << 32n) | half()) >> BigInt(round % 64)
    const whole = (nanos / 1_000_000_000n) * 1_000_000_000n
    for (const near of [nanos, whole, whole + 1n, whole > 0n ? whole - 1n : 0n]) f(near)
  }
})
