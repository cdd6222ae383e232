/**
 * 64-bit nanoseconds as seconds and the rest, both exact as JS numbers: what Timestamp and Duration of
 * protobuf are made of. Every step stays below 2^53, so the 64-bit value itself never is a number.
 */
import { readFixed32 } from './wire.ts'

const BILLION = 1_000_000_000

/** The result of the last divide: read it before the next one. */
export const parts = { seconds: 0, nanos: 0 }

/** Of an unsigned 64-bit integer in two halves. */
export function divideNanos(high: number, low: number): void {
  const first = high % BILLION
  const middle = first * 65536 + (low >>> 16)
  const last = (middle % BILLION) * 65536 + (low & 65535)
  parts.seconds =
    Math.floor(high / BILLION) * 2 ** 32 + Math.floor(middle / BILLION) * 65536 + Math.floor(last / BILLION)
  parts.nanos = last % BILLION
}

/** Of the fixed64 at `at`. */
export function readNanos(bytes: Uint8Array, at: number): void {
  divideNanos(readFixed32(bytes, at + 4), readFixed32(bytes, at))
}
