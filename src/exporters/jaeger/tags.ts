/**
 * Tags of Jaeger (api_v2 KeyValue) from attributes of OTLP, and times in its two fields. Scalars are copied
 * as encoded: both sides write them in the same way.
 */

import {
  DURATION,
  JAEGER_KEY_VALUE as TAG,
  TIMESTAMP,
  JAEGER_VALUE_TYPE as TYPE,
} from '../../net/wire-fields.ts'
import type { AttributeCursor, ValueRef } from '../../otlp/attributes.ts'
import { ANY_VALUE } from '../../otlp/fields.ts'
import { divideNanos, parts, readNanos } from '../../otlp/nanos.ts'
import { FIXED64, LEN, readFixed32, VARINT, WireWriter } from '../../otlp/wire.ts'

// message KeyValue { string key = 1; ValueType v_type = 2; string v_str = 3; bool v_bool = 4;
//   int64 v_int64 = 5; double v_float64 = 6; bytes v_binary = 7; }
export function writeTag(writer: WireWriter, field: number, attribute: AttributeCursor): void {
  const { bytes, keyStart, keyEnd, value } = attribute
  writer.begin(field, attribute.fieldEnd - attribute.fieldStart)
  writer
    .tag(TAG.key, LEN)
    .varint(keyEnd - keyStart)
    .rawRange(bytes, keyStart, keyEnd)
  writeValue(writer, value)
  writer.end()
}

function writeValue(writer: WireWriter, value: ValueRef): void {
  const { bytes, start, end } = value
  switch (value.kind) {
    case ANY_VALUE.stringValue:
      writer
        .tag(TAG.vStr, LEN)
        .varint(end - start)
        .rawRange(bytes, start, end)
      break
    case ANY_VALUE.boolValue:
      writer.uintField(TAG.vType, TYPE.bool).tag(TAG.vBool, VARINT).rawRange(bytes, start, end)
      break
    case ANY_VALUE.intValue:
      writer.uintField(TAG.vType, TYPE.int64).tag(TAG.vInt64, VARINT).rawRange(bytes, start, end)
      break
    case ANY_VALUE.doubleValue:
      writer.uintField(TAG.vType, TYPE.float64).tag(TAG.vFloat64, FIXED64).rawRange(bytes, start, end)
      break
    case ANY_VALUE.bytesValue:
      writer.uintField(TAG.vType, TYPE.binary)
      writer
        .tag(TAG.vBinary, LEN)
        .varint(end - start)
        .rawRange(bytes, start, end)
      break
    case ANY_VALUE.arrayValue:
    case ANY_VALUE.kvlistValue:
      writer.string(TAG.vStr, value.text()) // Jaeger has no nested values: they become JSON.
      break
  }
}

/** A LEN field whose content lies in other bytes. */
export function writeRange(
  writer: WireWriter,
  field: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  writer
    .tag(field, LEN)
    .varint(end - start)
    .rawRange(bytes, start, end)
}

/** A tag with a string that lies in other bytes. */
export function writeRangeTag(
  writer: WireWriter,
  field: number,
  key: string,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  writer.begin(field, key.length + end - start + 4).string(TAG.key, key)
  writer
    .tag(TAG.vStr, LEN)
    .varint(end - start)
    .rawRange(bytes, start, end)
    .end()
}

/** A tag that never changes, encoded once, its own tag and length included. */
export function constantTag(field: number, key: string, value: string | true): Uint8Array {
  const writer = new WireWriter(64).begin(field).string(TAG.key, key)
  if (value === true) writer.uintField(TAG.vType, TYPE.bool).uintField(TAG.vBool, 1)
  else writer.string(TAG.vStr, value)
  return writer.end().finish()
}

/** A google.protobuf.Timestamp of the fixed64 nanoseconds at `at`; -1 = absent, which is 0. */
// message Timestamp { int64 seconds = 1; int32 nanos = 2; }
export function writeTimestamp(writer: WireWriter, field: number, bytes: Uint8Array, at: number): void {
  writer.begin(field, 12)
  if (at >= 0) {
    readNanos(bytes, at)
    if (parts.seconds > 0) writer.uintField(TIMESTAMP.seconds, parts.seconds)
    if (parts.nanos > 0) writer.uintField(TIMESTAMP.nanos, parts.nanos)
  }
  writer.end()
}

/**
 * A google.protobuf.Duration from one time to the other; both parts are negative when it ends before it
 * starts.
 */
// message Duration { int64 seconds = 1; int32 nanos = 2; }
export function writeDuration(
  writer: WireWriter,
  field: number,
  bytes: Uint8Array,
  startAt: number,
  endAt: number,
): void {
  const startHigh = startAt < 0 ? 0 : readFixed32(bytes, startAt + 4)
  const startLow = startAt < 0 ? 0 : readFixed32(bytes, startAt)
  const endHigh = endAt < 0 ? 0 : readFixed32(bytes, endAt + 4)
  const endLow = endAt < 0 ? 0 : readFixed32(bytes, endAt)
  const negative = endHigh < startHigh || (endHigh === startHigh && endLow < startLow)
  if (negative) subtract(startHigh, startLow, endHigh, endLow)
  else subtract(endHigh, endLow, startHigh, startLow)
  const sign = negative ? -1 : 1
  writer.begin(field, 12)
  if (parts.seconds > 0) writer.uintField(DURATION.seconds, sign * parts.seconds)
  if (parts.nanos > 0) writer.uintField(DURATION.nanos, sign * parts.nanos)
  writer.end()
}

function subtract(high: number, low: number, lessHigh: number, lessLow: number): void {
  const borrow = low < lessLow ? 1 : 0
  divideNanos(high - lessHigh - borrow, (low - lessLow) >>> 0)
}
