import fc from 'fast-check'
import protobuf from 'protobufjs'
import { expect, test } from 'vitest'
import { RUN } from '../../test/property/run.ts'
import { WireError } from '../errors.ts'
import {
  FIXED32,
  FIXED64,
  FieldCursor,
  LEN,
  lenFieldLength,
  rangeEquals,
  readString,
  readVarint,
  readVarint64,
  VARINT,
  varintLength,
  WireWriter,
} from './wire.ts'

const UINT64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
const EXTREMES = [
  0n,
  1n,
  127n,
  128n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
]
const ANY_UINT64 = fc.oneof(UINT64, fc.constantFrom(...EXTREMES), fc.nat().map(BigInt))
const NUMBER = fc.constantFrom(1, 15, 16, 2047, 2048, 536870911)

test('every scalar is written as protobufjs writes it', () => {
  const f = (write: (ours: WireWriter) => unknown, want: (theirs: protobuf.Writer) => unknown) => {
    const ours = new WireWriter(1)
    const theirs = protobuf.Writer.create()
    write(ours)
    want(theirs)
    expect(Buffer.from(ours.view())).toEqual(Buffer.from(theirs.finish()))
    expect(ours.length).toBe(ours.finish().length)
  }
  fc.assert(
    fc.property(
      NUMBER,
      ANY_UINT64,
      fc.double(),
      fc.string({ unit: 'binary' }),
      (number, big, double, text) => {
        const tag = (wireType: number) => number * 8 + wireType
        const int = BigInt.asIntN(64, big)
        const small = Number(BigInt.asIntN(32, big))
        f(
          (w) => w.int64Field(number, int),
          (w) => w.uint32(tag(0)).int64(int.toString() as unknown as number),
        )
        f(
          (w) => w.fixed64Field(number, big),
          (w) => w.uint32(tag(1)).fixed64(big.toString() as unknown as number),
        )
        f(
          (w) => w.doubleField(number, double),
          (w) => w.uint32(tag(1)).double(double),
        )
        f(
          (w) => w.fixed32Field(number, small >>> 0),
          (w) => w.uint32(tag(5)).fixed32(small >>> 0),
        )
        f(
          (w) => w.uintField(number, small >>> 0),
          (w) => w.uint32(tag(0)).uint32(small >>> 0),
        )
        f(
          (w) => w.uintField(number, small),
          (w) => w.uint32(tag(0)).int32(small),
        )
        f(
          (w) => w.sintField(number, small),
          (w) => w.uint32(tag(0)).sint32(small),
        )
        f(
          (w) => w.string(number, text),
          (w) => w.uint32(tag(2)).string(text),
        )
        f(
          (w) => w.len(number, Buffer.from(text)),
          (w) => w.uint32(tag(2)).bytes(Buffer.from(text)),
        )
      },
    ),
    RUN,
  )
})

test('every scalar that protobufjs writes is read back, in up to ten bytes', () => {
  fc.assert(
    fc.property(
      NUMBER,
      ANY_UINT64,
      fc.double(),
      fc.string({ unit: 'binary' }),
      (number, big, double, text) => {
        const bytes = protobuf.Writer.create()
          .uint32(number * 8)
          .uint64(big.toString() as unknown as number) // protobufjs takes decimal strings here.
          .uint32(number * 8 + 1)
          .fixed64(big.toString() as unknown as number)
          .uint32(number * 8 + 1)
          .double(double)
          .uint32(number * 8 + 5)
          .fixed32(Number(big & 0xffffffffn))
          .uint32(number * 8 + 2)
          .string(text)
          .finish()
        const cursor = new FieldCursor(bytes)
        const next = (wireType: number) => {
          expect(cursor.next()).toBe(true)
          expect([cursor.number, cursor.wireType]).toEqual([number, wireType])
        }
        next(VARINT)
        expect(cursor.uint64()).toBe(big)
        expect(cursor.int64()).toBe(BigInt.asIntN(64, big))
        if (big < 2n ** 53n) expect(cursor.uint()).toBe(Number(big))
        next(FIXED64)
        expect(cursor.fixed64()).toBe(big)
        next(FIXED64)
        expect(cursor.double()).toBe(double)
        next(FIXED32)
        expect(cursor.fixed32()).toBe(Number(big & 0xffffffffn))
        next(LEN)
        expect(cursor.string()).toBe(text)
        expect(cursor.end).toBe(bytes.length)
        expect(cursor.next()).toBe(false)
        expect(cursor.next()).toBe(false)
      },
    ),
    RUN,
  )
})

test('end() makes room or takes it back, wherever the guess was wrong and the buffer full', () => {
  const f = (guess: number, length: number, size: number, depth: number) => {
    const ours = new WireWriter(size)
    const content = Buffer.alloc(length, 0x61)
    let want: Uint8Array = content
    for (let level = 0; level < depth; level++) ours.string(2, 'before').begin(3, guess)
    ours.raw(content)
    for (let level = 0; level < depth; level++) {
      ours.end()
      want = protobuf.Writer.create().uint32(18).string('before').uint32(26).bytes(want).finish()
    }
    expect(Buffer.compare(ours.finish(), want), `${guess} ${length} ${size} ${depth}`).toBe(0)
  }
  const lengths = [0, 1, 117, 118, 119, 120, 127, 128, 129, 16_383, 16_384, 2_097_152]
  for (const guess of [0, 127, 128, 20_000, 3_000_000])
    for (const length of lengths)
      for (const size of [1, length + 8, length + 9, length + 10]) f(guess, length, size, 1)
  for (const length of lengths) f(100, length, 16, 4)
})

test('truncate() takes back fields of a message that is open', () => {
  const writer = new WireWriter(4).begin(1)
  writer.string(1, 'kept')
  const mark = writer.length
  writer.string(2, 'x'.repeat(300)).truncate(mark)
  const bytes = writer.end().string(5, 'after').finish()
  const want = protobuf.Writer.create()
    .uint32(10)
    .fork()
    .uint32(10)
    .string('kept')
    .ldelim()
    .uint32(42)
    .string('after')
  expect(Buffer.from(bytes)).toEqual(Buffer.from(want.finish()))
})

test('finish() gives the bytes away and take() copies them; the writer can be used again after both', () => {
  const writer = new WireWriter(2)
  const first = writer.string(1, 'first').finish()
  const second = writer.string(1, 'second').take()
  const third = writer.string(1, 'third').view()
  expect([first, second, third].map((bytes) => readString(bytes, 2, bytes.length))).toEqual([
    'first',
    'second',
    'third',
  ])
})

test('broken framing is a WireError, never a read past the end', () => {
  const f = (...bytes: number[]) => {
    const cursor = new FieldCursor(Uint8Array.from([...bytes, 0, 0, 0, 0]), 0, bytes.length)
    expect(() => {
      while (cursor.next());
    }).toThrow(WireError)
  }
  f(0x00) // Field number 0.
  f(0x07) // Wire type 7.
  f(0x80) // A tag that is cut off.
  f(0x88, 0x80, 0x80, 0x80, 0x10, 0x00) // A tag of 33 bits.
  f(0x0a) // No length.
  f(0x0a, 0x80)
  f(0x0a, 2, 1) // A length that lies.
  f(0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f)
  f(0x0a, 0x80, 0x80, 0x80, 0x80, 0x10)
  f(0x08, 0x80)
  f(0x08, ...Array(10).fill(0x80), 0)
  f(0x09, 1, 2, 3, 4, 5, 6, 7)
  f(0x0d, 1, 2, 3)
  f(0x0c) // The end of a group that was not opened.
  f(0x0b) // A group without an end.
  f(0x0b, 0x14) // The end of another group.
  f(0x0b, 0x12, 0x05, 0x0c)
  f(...Array(200).fill(0x0b), ...Array(200).fill(0x0c)) // Groups nested too deeply.
})

test('groups of unknown fields are skipped as protobufjs skips them', () => {
  // Field 3 is a group that holds a varint, a group of its own with a long tag, and a string.
  const group = [
    0x1b, 0x08, 0x96, 0x01, 0x83, 0x81, 0x00, 0x0d, 1, 2, 3, 4, 0x84, 0x81, 0x00, 0x12, 0x01, 0x1c, 0x1c,
  ]
  const bytes = Uint8Array.from([...group, 0x28, 0x07])
  const cursor = new FieldCursor(bytes)
  expect(cursor.next()).toBe(true)
  expect([cursor.number, cursor.wireType, cursor.end]).toEqual([3, 3, group.length])
  expect(cursor.next() && cursor.uint()).toBe(7)
  const reader = protobuf.Reader.create(bytes)
  reader.skipType(reader.uint32() & 7, 0, 3)
  expect(reader.pos).toBe(group.length)
})

test('random bytes are walked to the end or refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const cursor = new FieldCursor(bytes)
      let at = 0
      try {
        while (cursor.next()) {
          expect(cursor.fieldStart).toBe(at)
          expect(cursor.start).toBeGreaterThan(at)
          expect(cursor.end).toBeLessThanOrEqual(bytes.length)
          at = cursor.end
        }
        expect(at).toBe(bytes.length)
      } catch (error) {
        expect(error).toBeInstanceOf(WireError)
      }
    }),
    { ...RUN, numRuns: RUN.numRuns * 20 },
  )
})

test('lengths are what is written', () => {
  for (const value of [0, 127, 128, 16_383, 16_384, 2 ** 21, 2 ** 28, 2 ** 32, 2 ** 35 - 1, 2 ** 53 - 1]) {
    const bytes = new WireWriter().varint(value).finish()
    expect(varintLength(value)).toBe(bytes.length)
    expect(readVarint(bytes, 0)).toBe(value)
    expect(readVarint64(bytes, 0)).toBe(BigInt(value))
  }
  const content = new Uint8Array(300)
  expect(lenFieldLength(16, 300)).toBe(new WireWriter().len(16, content).length)
  expect(lenFieldLength(15, 100)).toBe(new WireWriter().len(15, content.subarray(0, 100)).length)
})

test('bytes that are not UTF-8 are read with replacement characters', () => {
  expect(readString(Uint8Array.of(0x61, 0xff, 0x62), 0, 3)).toBe('a\ufffdb')
  expect(rangeEquals(Uint8Array.of(1, 2, 3), 1, 3, Uint8Array.of(2, 3))).toBe(true)
  expect(rangeEquals(Uint8Array.of(1, 2, 3), 1, 3, Uint8Array.of(2, 4))).toBe(false)
})
