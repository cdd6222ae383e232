/** HPACK against the examples of RFC 7541 appendix C, both ways, and against itself on random fields. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HpackDecoder } from './hpack-decoder.ts'
import { HpackEncoder, INDEXING } from './hpack-encoder.ts'
import { FIELD, type Field, STATIC_FIELDS } from './hpack-table.ts'
import { decodeHuffman, encodeHuffman, huffmanLength } from './huffman.ts'

const bytesOf = (hex: string) => Buffer.from(hex.replace(/\s/g, ''), 'hex')
const LIMIT = 65_536

function decode(decoder: HpackDecoder, hex: string, limit = LIMIT) {
  const bytes = bytesOf(hex)
  const fields: Field[] = []
  const size = decoder.decode(bytes, 0, bytes.length, limit, fields)
  return {
    size,
    fields: fields.map(({ name, value }) => `${name}: ${value}`),
    defects: fields.map((f) => f.defect),
  }
}

const GET = [':method: GET', ':scheme: http', ':path: /', ':authority: www.example.com']
const GET_HTTPS = [':method: GET', ':scheme: https', ':path: /index.html', ':authority: www.example.com']
const DATE_21 = 'date: Mon, 21 Oct 2013 20:13:21 GMT'
const DATE_22 = 'date: Mon, 21 Oct 2013 20:13:22 GMT'
const LOCATION = 'location: https://www.example.com'
const COOKIE = 'set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1'
const REQUESTS = [
  { fields: GET, tableBytes: 57 },
  { fields: [...GET, 'cache-control: no-cache'], tableBytes: 110 },
  { fields: [...GET_HTTPS, 'custom-key: custom-value'], tableBytes: 164 },
]
const RESPONSES = [
  { fields: [':status: 302', 'cache-control: private', DATE_21, LOCATION], tableBytes: 222 },
  { fields: [':status: 307', 'cache-control: private', DATE_21, LOCATION], tableBytes: 222 },
  {
    fields: [':status: 200', 'cache-control: private', DATE_22, LOCATION, 'content-encoding: gzip', COOKIE],
    tableBytes: 215,
  },
]
const PLAIN_REQUESTS = [
  '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
  '8286 84be 5808 6e6f 2d63 6163 6865',
  '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
]
const CODED_REQUESTS = [
  '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
  '8286 84be 5886 a8eb 1064 9cbf',
  '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
]
const PLAIN_RESPONSES = [
  `4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d
   546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d`,
  '4803 3330 37c1 c0bf',
  `88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f
   6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b
   2076 6572 7369 6f6e 3d31`,
]
const CODED_RESPONSES = [
  `4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7
   8f0b 97c8 e9ae 82ae 43d3`,
  '4883 640e ffc1 c0bf',
  `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335
   dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07`,
]

describe('appendix C', () => {
  test('C.2: single fields', () => {
    const f = (hex: string, field: string, tableCount: number) => {
      const decoder = new HpackDecoder()
      expect(decode(decoder, hex).fields).toEqual([field])
      expect(decoder.table.count).toBe(tableCount)
    }
    f('400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572', 'custom-key: custom-header', 1)
    f('040c 2f73 616d 706c 652f 7061 7468', ':path: /sample/path', 0)
    f('1008 7061 7373 776f 7264 0673 6563 7265 74', 'password: secret', 0)
    f('82', ':method: GET', 0)
  })
  test('C.3 to C.6: requests and responses on one connection, plain and Huffman-coded', () => {
    const f = (blocks: string[], expected: typeof REQUESTS, tableBytes: number) => {
      const decoder = new HpackDecoder(tableBytes)
      for (const [index, block] of blocks.entries()) {
        const { fields, size } = decode(decoder, block)
        expect(fields).toEqual(expected[index]?.fields)
        expect(size).toBe(fields.reduce((sum, field) => sum + field.length - 2 + 32, 0))
        expect(decoder.table.bytes).toBe(expected[index]?.tableBytes)
      }
    }
    f(PLAIN_REQUESTS, REQUESTS, 4096)
    f(CODED_REQUESTS, REQUESTS, 4096)
    f(PLAIN_RESPONSES, RESPONSES, 256)
    f(CODED_RESPONSES, RESPONSES, 256)
  })
  test('C.4 and C.6: the encoder writes the same bytes', () => {
    const f = (blocks: string[], expected: typeof REQUESTS, tableBytes: number) => {
      const encoder = new HpackEncoder()
      const target = Buffer.alloc(1000)
      encoder.setLimit(tableBytes)
      for (const [index, block] of blocks.entries()) {
        const start = encoder.begin(target, 0)
        let end = start
        for (const field of expected[index]?.fields ?? []) {
          const colon = field.indexOf(': ', 1)
          end = encoder.field(target, end, field.slice(0, colon), field.slice(colon + 2), INDEXING.ADD)
        }
        expect(target.toString('hex', start, end)).toBe(bytesOf(block).toString('hex'))
        expect(encoder.table.bytes).toBe(expected[index]?.tableBytes)
      }
    }
    f(CODED_REQUESTS, REQUESTS, 4096)
    // In the third response of C.6 the date is written anew, as here.
    f(CODED_RESPONSES, RESPONSES, 256)
  })
})

test('what is broken is a compression error', () => {
  const f = (hex: string) => expect(() => decode(new HpackDecoder(), hex)).toThrow(/broken/)
  f('80') // Index 0.
  f('be') // An index past both tables.
  f('ff ff ff ff ff ff ff ff') // An integer without end.
  f('40 0a 63') // A string that is cut off.
  f('40 01 61') // No value.
  f('3f e2 1f') // A table of 4097 bytes.
  f('82 20') // A size update after a field.
  f('00 01 61 81 00') // Huffman padding of zeros.
  f('00 01 61 82 1f ff') // More than 7 bits of padding.
  f('00 01 61 84 ff ff ff ff') // EOS.
})

test('size updates empty the table and may come twice', () => {
  const decoder = new HpackDecoder()
  decode(decoder, CODED_REQUESTS[0] ?? '')
  const { version } = decoder
  expect(decode(decoder, '20 3f e1 1f 82').fields).toEqual([':method: GET'])
  expect([decoder.table.count, decoder.table.limitBytes]).toEqual([0, 4096])
  expect(decoder.version).not.toBe(version)
  const encoder = new HpackEncoder()
  encoder.setLimit(0)
  encoder.setLimit(100)
  const target = Buffer.alloc(100)
  expect(target.toString('hex', 0, encoder.begin(target, 0))).toBe('203f45')
  expect(encoder.begin(target, 0)).toBe(0)
})

test('fields past the limit of the list are counted and not kept, and the table follows all the same', () => {
  const decoder = new HpackDecoder()
  const { size, fields } = decode(decoder, CODED_REQUESTS[0] ?? '', 60)
  expect(fields).toEqual([':method: GET'])
  expect(size).toBe(REQUESTS[0]?.fields.reduce((sum, field) => sum + field.length - 2 + 32, 0))
  expect(decoder.table.count).toBe(1)
})

test('names and values that are malformed are marked, also when they come from the table', () => {
  const decoder = new HpackDecoder()
  const f = (hex: string, defects: number[]) => expect(decode(decoder, hex).defects).toEqual(defects)
  f('40 01 41 01 61', [FIELD.BAD_NAME]) // A: a
  f('be', [FIELD.BAD_NAME])
  f('7e 01 62', [FIELD.BAD_NAME]) // Its name with another value.
  f('00 01 61 02 61 0a', [FIELD.BAD_VALUE])
  f('00 01 61 02 20 61', [FIELD.BAD_VALUE])
  f('00 01 61 00', [FIELD.FINE])
  f('00 00 01 61', [FIELD.BAD_NAME])
})

test('the static table has 61 entries', () => {
  expect(STATIC_FIELDS.length).toBe(61)
  expect(STATIC_FIELDS[60]?.name).toBe('www-authenticate')
})

test('Huffman codes of any bytes undo each other', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const text = Buffer.from(bytes).toString('latin1')
      const target = Buffer.alloc(bytes.length * 4 + 8)
      const end = encodeHuffman(text, target, 0)
      expect(end).toBe(huffmanLength(text))
      expect(decodeHuffman(target, 0, end)).toBe(text)
    }),
  )
})

test('what the encoder writes the decoder reads, while tables come and go', () => {
  const name = fc.constantFrom('a', 'grpc-status', 'content-type', ':path', 'x-long-name-of-a-field')
  const value = fc.oneof(fc.constantFrom('0', 'application/grpc', ''), fc.string({ maxLength: 200 }))
  const field = fc.record({ name, value, indexing: fc.constantFrom(0, 1, 2) })
  const block = fc.record({ fields: fc.array(field, { maxLength: 12 }), limit: fc.option(fc.nat(5000)) })
  fc.assert(
    fc.property(fc.array(block, { maxLength: 12 }), (blocks) => {
      const encoder = new HpackEncoder()
      const decoder = new HpackDecoder()
      for (const { fields, limit } of blocks) {
        if (limit !== null) encoder.setLimit(limit)
        const target = Buffer.alloc(8000)
        let end = encoder.begin(target, 0)
        for (const { name, value, indexing } of fields)
          end = encoder.field(target, end, name, value, indexing)
        const read: Field[] = []
        decoder.decode(target, 0, end, LIMIT, read)
        expect(read.map(({ name, value }) => [name, value])).toEqual(
          fields.map(({ name, value }) => [name, value]),
        )
        expect(decoder.table.bytes).toBe(encoder.table.bytes)
      }
    }),
  )
})
