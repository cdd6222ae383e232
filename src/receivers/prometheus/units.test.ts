import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseInteger, parseNumber } from './number.ts'
import { formatPrometheusDuration, parseByteSize, parsePrometheusDuration } from './units.ts'

test('durations are those of Prometheus and not those of Go', () => {
  const f = (text: string, want: number | undefined) => expect(parsePrometheusDuration(text), text).toBe(want)
  f('0', 0)
  f('15s', 15_000)
  f('1m30s', 90_000)
  f('5m', 300_000)
  f('1d', 86_400_000)
  f('1w', 604_800_000)
  f('1y', 31_536_000_000)
  f('1h30m', 5_400_000)
  f('200ms', 200)
  for (const bad of ['', '15', '1.5s', '30s1m', '1us', 's', '-5s', '1m 30s']) f(bad, undefined)
})

test('a duration that was printed reads back', () => {
  expect([90_000, 5_400_000, 604_800_000, 129_600_000, 1500].map(formatPrometheusDuration)).toEqual([
    '1m30s',
    '1h30m',
    '1w',
    '36h',
    '1s500ms',
  ])
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1e12 }), (ms) => {
      expect(parsePrometheusDuration(formatPrometheusDuration(ms))).toBe(ms)
    }),
  )
})

test('sizes are powers of 1024 with and without the i', () => {
  const f = (text: string, want: number | undefined) => expect(parseByteSize(text), text).toBe(want)
  f('0', 0)
  f('512B', 512)
  f('10MB', 10 * 1024 * 1024)
  f('10MiB', 10 * 1024 * 1024)
  f('1.5KB', 1536)
  f('1GB', 1024 ** 3)
  for (const bad of ['10', 'MB', '10mb', '-1MB']) f(bad, undefined)
})

const bytes = (text: string) => new TextEncoder().encode(`x${text} `)
const number = (text: string) => parseNumber(bytes(text), 1, 1 + Buffer.byteLength(text))

test('numbers read as the same double that JavaScript reads', () => {
  for (const text of [
    '0',
    '-0',
    '1',
    '+1',
    '1.',
    '.5',
    '1e3',
    '1E-3',
    '1.5e+300',
    '123456789012345678',
    '1e22',
  ])
    expect(number(text), text).toBe(Number(text))
  for (const text of ['NaN', 'nan']) expect(number(text)).toBeNaN()
  for (const text of ['+Inf', 'Inf', 'inf', 'Infinity']) expect(number(text)).toBe(Infinity)
  expect(number('-Inf')).toBe(-Infinity)
  for (const bad of ['', '-', '.', 'e5', '1e', '1e+', '0x10', '1_0', '1.2.3', 'infx', '--1', '1e999', '1 2'])
    expect(number(bad), bad).toBeUndefined()
  fc.assert(
    fc.property(fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.integer()), (value) => {
      for (const text of [String(value), value.toExponential(), value.toPrecision(15)])
        expect(number(text)).toBe(Number.isFinite(Number(text)) ? Number(text) : undefined)
    }),
    { numRuns: 2000 },
  )
})

test('integers are exact or refused', () => {
  const f = (text: string, want: number | undefined) =>
    expect(parseInteger(bytes(text), 1, 1 + text.length), text).toBe(want)
  f('0', 0)
  f('-12', -12)
  f('1700000000000', 1_700_000_000_000)
  for (const bad of ['', '-', '1.5', '1e3', '9007199254740993', '99999999999999999999']) f(bad, undefined)
})
