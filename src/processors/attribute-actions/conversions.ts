/**
 * What the actions `hash` and `convert` make of a value, as the Go collector does it: each function gives
 * the content of the new AnyValue, or undefined when the value stays as it is.
 */
import { createHash } from 'node:crypto'
import type { ValueRef } from '../../otlp/any-value.ts'
import { ANY_VALUE } from '../../otlp/fields.ts'
import { WireWriter } from '../../otlp/wire.ts'

const MIN_INT64 = -(2n ** 63n)
const MAX_INT64 = 2n ** 63n - 1n

/** The content of an AnyValue that holds this text. */
export function encodeStringValue(text: string): Uint8Array {
  return new WireWriter(text.length + 8).string(ANY_VALUE.stringValue, text).take()
}

/**
 * The `hash` action: SHA-256 of a text's bytes, of 8 little-endian bytes of an int or double, of one byte
 * of a bool, as lower-case hex. Undefined for other kinds, which stay as they are. An empty text stays
 * empty.
 */
export function hashedValue(value: ValueRef): Uint8Array | undefined {
  let input: Uint8Array
  switch (value.kind) {
    case ANY_VALUE.stringValue:
      if (value.start === value.end) return undefined
      input = value.bytes.subarray(value.start, value.end)
      break
    case ANY_VALUE.boolValue:
      input = new Uint8Array([value.bool() ? 1 : 0])
      break
    case ANY_VALUE.intValue: {
      input = new WireWriter(8).fixed64(value.int()).take()
      break
    }
    case ANY_VALUE.doubleValue:
      input = value.bytes.subarray(value.start, value.end)
      break
    default:
      return undefined
  }
  return encodeStringValue(createHash('sha256').update(input).digest('hex'))
}

/** The `convert` action; undefined when the value already has the type or cannot be converted. */
export function convertedValue(value: ValueRef, to: string): Uint8Array | undefined {
  if (to === 'string')
    return value.kind === ANY_VALUE.stringValue ? undefined : encodeStringValue(value.text())
  if (to === 'int') {
    const int = asInt(value)
    return int === undefined ? undefined : new WireWriter(12).int64Field(ANY_VALUE.intValue, int).take()
  }
  const double = asDouble(value)
  return double === undefined
    ? undefined
    : new WireWriter(12).doubleField(ANY_VALUE.doubleValue, double).take()
}

function asInt(value: ValueRef): bigint | undefined {
  switch (value.kind) {
    case ANY_VALUE.boolValue:
      return value.bool() ? 1n : 0n
    case ANY_VALUE.doubleValue: {
      const double = Math.trunc(value.double())
      // Out of range Go leaves to the machine; on amd64 it is the least int.
      return Math.abs(double) < 2 ** 63 ? BigInt(double) : MIN_INT64
    }
    case ANY_VALUE.stringValue: {
      const text = value.text()
      if (text.length > 40 || !/^[-+]?[0-9]+$/.test(text)) return undefined
      const int = BigInt(text.startsWith('+') ? text.slice(1) : text)
      return int >= MIN_INT64 && int <= MAX_INT64 ? int : undefined
    }
    default:
      return undefined
  }
}

function asDouble(value: ValueRef): number | undefined {
  if (value.kind === ANY_VALUE.boolValue) return value.bool() ? 1 : 0
  if (value.kind === ANY_VALUE.intValue) return Number(value.int())
  return value.kind === ANY_VALUE.stringValue ? parseDouble(value.text()) : undefined
}

/**
 * A decimal number as Go's ParseFloat takes it, infinities and NaN by name; undefined when it is none or
 * too large.
 */
export function parseDouble(text: string): number | undefined {
  if (/^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?$/i.test(text)) {
    const number = Number(text)
    return Number.isFinite(number) ? number : undefined
  }
  if (/^nan$/i.test(text)) return Number.NaN
  if (/^[-+]?inf(inity)?$/i.test(text)) return text.startsWith('-') ? -Infinity : Infinity
  return undefined
}
