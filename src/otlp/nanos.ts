/**
 * 64-bit nanoseconds as seconds and the rest, both exact as JS numbers: what Timestamp and Duration of
 * protobuf are made of. Every step stays below 2^53, so the 64-bit value itself never is a number.
 */
import { readFixed32 } from './wire.ts'

const BILLION = 1_000_000_000

/** The result of the last divide: read it before the next one. */
export const parts = { seconds: 0, nanos: 0 }

/**
 * Of an unsigned 64-bit integer in two halves. A remainder of doubles is a call out of the code, so it is made of the quotient;
 * that is exact, since no quotient here has more than 32 bits.
 */
export function divideNanos(high: number, low: number): void {
  const first = Math.floor(high / BILLION)
  const middle = (high - first * BILLION) * 65536 + (low >>> 16)
  const second = Math.floor(middle / BILLION)
  const last = (middle - second * BILLION) * 65536 + (low & 65535)
  const third = Math.floor(last / BILLION)
  parts.seconds = first * 2 ** 32 + second * 65536 + third
  parts.nanos = last - third * BILLION
}

/** Of the fixed64 at `at`. */
export function readNanos(bytes: Uint8Array, at: number): void {
  divideNanos(readFixed32(bytes, at + 4), readFixed32(bytes, at))
}
