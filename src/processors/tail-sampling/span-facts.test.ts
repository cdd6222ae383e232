import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SPAN } from '../../otlp/fields.ts'
import { FieldCursor, WireWriter } from '../../otlp/wire.ts'
import { SpanFacts } from './span-facts.ts'

const field = fc.oneof(
  fc.constantFrom(1, 4, 7, 8, 15, 16, 6, 9, 5).map((number) => ({ number, odd: false })),
  fc.record({ number: fc.constantFrom(1, 2, 4, 7, 8, 15, 16, 20, 3000), odd: fc.constant(true) }),
)

test('span facts are those that a cursor reads, however the fields are encoded and ordered', () => {
  fc.assert(
    fc.property(fc.array(field, { maxLength: 12 }), fc.infiniteStream(fc.nat(255)), (fields, stream) => {
      const random = () => stream.next().value as number
      const writer = new WireWriter()
      for (const { number, odd } of fields) writeField(writer, number, odd, random)
      const bytes = writer.finish()
      const facts = new SpanFacts()
      // Cut off anywhere, it reads or it says that the bytes are broken; it never reads past the end.
      for (let end = 0; end <= bytes.length; end++) {
        const cut = attempt(() => slowFacts(bytes.subarray(0, end)))
        const read = attempt(() => {
          facts.read(bytes, 0, end)
          return { ...facts }
        })
        expect(read).toEqual(cut)
      }
    }),
    { numRuns: 300 },
  )
})

function writeField(writer: WireWriter, number: number, odd: boolean, random: () => number): void {
  const bytes = (length: number) => Buffer.from(Array.from({ length }, random))
  if (odd) {
    const kind = random() % 3
    if (kind === 0) writer.uintField(number, random() * 1000)
    else if (kind === 1) writer.len(number, bytes(random()))
    else writer.fixed64Field(number, 5n)
  } else if (number === 7 || number === 8) writer.fixed64Field(number, bytes(8).readBigUInt64LE())
  else if (number === 16) writer.fixed32Field(number, random())
  else if (number === 6) writer.uintField(number, random())
  else if (number === 15)
    writer
      .begin(15)
      .string(2, 'no')
      .uintField(3, random() % 3)
      .end()
  else if (number === 4) writer.len(4, random() < 100 ? Buffer.alloc(random() % 9) : bytes(8))
  else writer.len(number, bytes(number === 1 ? 16 : random() % 200))
}

function slowFacts(bytes: Uint8Array) {
  const cursor = new FieldCursor(bytes)
  const facts = { ...new SpanFacts() }
  while (cursor.next()) {
    const value = Buffer.from(cursor.value())
    if (cursor.number === SPAN.traceId && cursor.wireType === 2 && value.length === 16)
      [0, 4, 8, 12].forEach((at, index) => {
        facts[`id${index as 0 | 1 | 2 | 3}`] = value.readInt32LE(at)
      })
    else if (cursor.number === SPAN.parentSpanId && cursor.wireType === 2)
      facts.root = value.every((byte) => byte === 0)
    else if (cursor.number === SPAN.startTimeUnixNano && cursor.wireType === 1) {
      facts.startLow = value.readUInt32LE(0)
      facts.startHigh = value.readUInt32LE(4)
    } else if (cursor.number === SPAN.endTimeUnixNano && cursor.wireType === 1) {
      facts.endLow = value.readUInt32LE(0)
      facts.endHigh = value.readUInt32LE(4)
    } else if (cursor.number === SPAN.flags && cursor.wireType === 5) facts.flags = value.readUInt32LE(0)
    else if (cursor.number === SPAN.status && cursor.wireType === 2) {
      const status = new FieldCursor(value)
      while (status.next()) if (status.number === 3) facts.statusCode = status.uint()
    }
  }
  return facts
}

function attempt<T>(run: () => T): T | 'broken' {
  try {
    return run()
  } catch {
    return 'broken'
  }
}
