/**
 * Brings a message into the form in which serializers write it: fields in the order of their numbers, each singular one once,
 * messages given in parts merged, of a oneof only the last member. Fields that the schema does not know are left out.
 *
 * For json-encode.ts, and only for messages that are not so already, which no SDK makes: it allocates freely.
 */
import { WireError } from '../errors.ts'
import { type JsonField, MESSAGE, type MessageSchema } from './json-field.ts'
import { FieldCursor, LEN, MAX_DEPTH, WireWriter } from './wire.ts'

export function canonical(schema: MessageSchema, content: Uint8Array, depth = 0): Uint8Array {
  if (depth > MAX_DEPTH) throw new WireError('nested too deeply', 0)
  const writer = new WireWriter(content.length + 16)
  const values = collect(schema, content)
  for (const field of schema.fields) {
    const found = values.get(field)
    if (found === undefined) continue
    if (field.kind !== MESSAGE || field.message === undefined) {
      for (const raw of field.repeated ? found : found.slice(-1)) writer.raw(raw)
    } else {
      const parts = field.repeated ? found : [Buffer.concat(found)]
      for (const part of parts) writer.len(field.number, canonical(field.message, part, depth + 1))
    }
  }
  return writer.finish()
}

/** What stands in the message for each field: contents of messages, else tag and value. */
function collect(schema: MessageSchema, content: Uint8Array): Map<JsonField, Uint8Array[]> {
  const values = new Map<JsonField, Uint8Array[]>()
  const cursor = new FieldCursor(content)
  let member: JsonField | undefined
  while (cursor.next()) {
    const field = schema.byNumber[cursor.number]
    if (field === undefined) continue
    if (cursor.wireType !== field.wireType && !(field.packed && cursor.wireType === LEN)) continue
    if (field.oneof !== 0) {
      if (member !== undefined && member !== field) values.delete(member)
      member = field
    }
    const value = field.kind === MESSAGE ? cursor.value() : cursor.raw()
    const known = values.get(field)
    if (known === undefined) values.set(field, [value])
    else known.push(value)
  }
  return values
}
