/**
 * Writes a request as an encoder other than protobufjs might: fields in odd order, unknown fields at every
 * level, packed fields unpacked or in parts, lengths in more bytes than they need.
 */
import protobuf from 'protobufjs'
import type { Signal } from '../../src/otlp/batch.ts'
import { messageType, type Plain, REQUESTS } from './otlp.ts'

/** Gives numbers from 0 up to, and without, 1. */
export type Random = () => number

/** What is decoded from the result is the object again, but for unknown fields. */
export function encodeOddly(signal: Signal, object: Plain, random: Random): Uint8Array {
  const type = messageType(REQUESTS[signal])
  return oddMessage(type, type.fromObject(object), random)
}

function oddMessage(type: protobuf.Type, message: Plain, random: Random): Buffer {
  // The order inside a repeated field is part of its meaning: it is kept, and the fields are interleaved.
  const queues = type.fieldsArray
    .map((field) => oddField(field, message, random))
    .filter((queue) => queue.length > 0)
  if (random() < 0.2) queues.push([unknownField(random)])
  const parts: Buffer[] = []
  while (queues.length > 0) {
    const index = random() < 0.5 ? 0 : Math.floor(random() * queues.length)
    parts.push(queues[index]!.shift()!)
    if (queues[index]!.length === 0) queues.splice(index, 1)
  }
  return Buffer.concat(parts)
}

function oddField(field: protobuf.Field, message: Plain, random: Random): Buffer[] {
  const value = message[field.name]
  if (!Object.hasOwn(message, field.name) || value === null) return []
  if (!field.repeated) return [single(field, value, random)]
  if (field.resolvedType instanceof protobuf.Type || field.type === 'string')
    return value.map((entry: Plain) => single(field, entry, random))
  // Repeated numbers: packed in runs, or one by one.
  const parts: Buffer[] = []
  let rest: Plain[] = value
  while (rest.length > 0) {
    const run = random() < 0.3 ? 0 : 1 + Math.floor(random() * rest.length)
    if (run === 0) parts.push(single(field, rest[0], random))
    else {
      const numbers = rest.slice(0, run).map((one) => scalar(field.type, one))
      parts.push(lengthField(field.id, Buffer.concat(numbers), random))
    }
    rest = rest.slice(run || 1)
  }
  return parts
}

function single(field: protobuf.Field, value: Plain, random: Random): Buffer {
  if (field.resolvedType instanceof protobuf.Type)
    return lengthField(field.id, oddMessage(field.resolvedType, value, random), random)
  const type = field.resolvedType instanceof protobuf.Enum ? 'int32' : field.type
  if (type === 'bytes' || type === 'string') return lengthField(field.id, Buffer.from(value), random)
  // The table is typed without an index.
  const wireType = (protobuf.types.basic as Readonly<Record<string, number>>)[type] ?? 0
  return Buffer.concat([varint(field.id * 8 + wireType), scalar(type, value)])
}

function lengthField(id: number, content: Buffer, random: Random): Buffer {
  const length = varint(content.length)
  // Some encoders leave room for a length and fill it in later.
  const padded = random() < 0.05 && length.length < 4 ? Buffer.from([...length, 0]) : length
  if (padded.length > length.length) padded[length.length - 1]! |= 128
  return Buffer.concat([varint(id * 8 + 2), padded, content])
}

/** A field with a number that no message uses, of any wire type that OTLP uses. */
function unknownField(random: Random): Buffer {
  const id = 17 + Math.floor(random() * (random() < 0.5 ? 15 : 900))
  switch (Math.floor(random() * 4)) {
    case 0:
      return Buffer.concat([varint(id * 8), scalar('uint64', '18446744073709551615')])
    case 1:
      return Buffer.concat([varint(id * 8 + 1), Buffer.from('unknown!')])
    case 2:
      return Buffer.concat([varint(id * 8 + 5), Buffer.from('unkn')])
    default:
      return lengthField(id, Buffer.from('unknown \xff field', 'latin1'), random)
  }
}

function varint(value: number): Buffer {
  return scalar('uint32', value)
}

/** One number as it stands behind its tag. */
function scalar(type: string, value: Plain): Buffer {
  // The type system cannot follow a method chosen by name; a name that is no number type throws.
  const writer = protobuf.Writer.create() as unknown as Record<string, (value: Plain) => protobuf.Writer>
  return Buffer.from(writer[type]!(value).finish())
}
