import fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatDecimal, formatExposition, formatOpenMetrics } from './numbers.ts'
import { readMs } from './points.ts'

test('the three forms', () => {
  const rows: [number, string, string, string][] = [
    [0, '0', '0', '0.0'],
    [-0, '-0', '-0', '-0.0'],
    [1, '1', '1', '1.0'],
    [-1, '-1', '-1', '-1.0'],
    [0.005, '0.005', '0.005', '0.005'],
    [100, '100', '100', '100.0'],
    [999_999, '999999', '999999', '999999.0'],
    [1e6, '1000000', '1e+06', '1e+06'],
    [-1e6, '-1000000', '-1e+06', '-1e+06'],
    [1_234_567, '1234567', '1.234567e+06', '1.234567e+06'],
    [12_345_678.25, '12345678.25', '1.234567825e+07', '1.234567825e+07'],
    [1e20, '100000000000000000000', '1e+20', '1e+20'],
    [1e21, '1000000000000000000000', '1e+21', '1e+21'],
    [1.5e21, '1500000000000000000000', '1.5e+21', '1.5e+21'],
    [1e100, `1${'0'.repeat(100)}`, '1e+100', '1e+100'],
    [0.0001, '0.0001', '0.0001', '0.0001'],
    [0.00012, '0.00012', '0.00012', '0.00012'],
    [0.00001, '0.00001', '1e-05', '1e-05'],
    [1.5e-7, '0.00000015', '1.5e-07', '1.5e-07'],
    [Number.POSITIVE_INFINITY, '+Inf', '+Inf', '+Inf'],
    [Number.NEGATIVE_INFINITY, '-Inf', '-Inf', '-Inf'],
    [Number.NaN, 'NaN', 'NaN', 'NaN'],
  ]
  for (const [value, decimal, text, open] of rows)
    expect([formatDecimal(value), formatExposition(value), formatOpenMetrics(value)]).toEqual([
      decimal,
      text,
      open,
    ])
})

test('every form reads back as the same number', () => {
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
      for (const format of [formatDecimal, formatExposition, formatOpenMetrics])
        expect(Object.is(Number(format(value)), value)).toBe(true)
    }),
    { numRuns: 1000 },
  )
})

test('nanoseconds become whole milliseconds, exactly', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (nanos) => {
      const bytes = Buffer.alloc(8)
      for (const value of [nanos, nanos - (nanos % 1_000_000n), nanos - (nanos % 1_000_000n) - 1n]) {
        if (value < 0n) continue
        bytes.writeBigUInt64LE(value)
        expect(readMs(bytes, 0)).toBe(Number(value / 1_000_000n))
      }
    }),
    { numRuns: 1000 },
  )
})
