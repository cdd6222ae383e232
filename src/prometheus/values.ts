/**
 * Attributes as keys and label values: strings as they are, numbers in decimal, bytes in base64, arrays and maps as
 * compact JSON (otlp/any-value.ts).
 */
import { anyValueText } from '../otlp/any-value.ts'
import { KEY_VALUE } from '../otlp/fields.ts'
import { FieldCursor, LEN } from '../otlp/wire.ts'

/** Key and text of one KeyValue, given its content. */
export function readAttribute(bytes: Uint8Array, start: number, end: number): { key: string; value: string } {
  const cursor = new FieldCursor(bytes, start, end)
  let key = ''
  let value = ''
  while (cursor.next()) {
    if (cursor.number === KEY_VALUE.key) key = cursor.string()
    else if (cursor.number === KEY_VALUE.value && cursor.wireType === LEN)
      value = anyValueText(bytes, cursor.start, cursor.end)
  }
  return { key, value }
}

/** The attributes of a Resource (field 1) or an InstrumentationScope (field 3); a later key replaces an earlier one. */
export function readAttributes(
  bytes: Uint8Array,
  start: number,
  end: number,
  field: number,
): Map<string, string> {
  const attributes = new Map<string, string>()
  const cursor = new FieldCursor(bytes, start, end)
  while (cursor.next()) {
    if (cursor.number !== field || cursor.wireType !== LEN) continue
    const { key, value } = readAttribute(bytes, cursor.start, cursor.end)
    attributes.set(key, value)
  }
  return attributes
}
