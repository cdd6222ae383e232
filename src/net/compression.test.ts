import zlib from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { InvalidError, TooLargeError } from '../errors.ts'
import {
  COMPRESSIONS,
  type Compression,
  compress,
  decompress,
  ENCODINGS,
  type Encoding,
} from './compression.ts'
import { decodeLz4Frames } from './lz4.ts'
import { crc32c, encodeSnappyFrames } from './snappy.ts'

const MIB = 1024 * 1024

async function packed(...given: Parameters<typeof compress>): Promise<Buffer> {
  return Buffer.concat(await compress(...given))
}
const PACKED = COMPRESSIONS.filter((name): name is Exclude<Compression, 'none'> => name !== 'none')

test('what is compressed decompresses to the same, for every algorithm and size', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...PACKED),
      fc.array(fc.uint8Array({ maxLength: 400 })),
      async (name, chunks) => {
        const body = await packed(name, undefined, chunks)
        expect(Buffer.from(await decompress(name, body, MIB))).toEqual(Buffer.concat(chunks))
      },
    ),
  )
  for (const name of PACKED) {
    // Over the sizes that are done in place, and over 64 KB, which is one frame of snappy.
    const large = Buffer.from(Array.from({ length: 300_000 }, (_, index) => `${index * 7919} `).join(''))
    const places = [0, 1000, 1100, 500_000, 500_001, 1_000_000, large.length]
    const chunks = places.slice(1).map((end, index) => large.subarray(places[index], end))
    const body = await packed(name, undefined, chunks)
    expect(body.length).toBeGreaterThan(32 * 1024)
    expect(Buffer.compare(await decompress(name, body, 4 * MIB), large)).toBe(0)
  }
})

test('what comes out does not lie in a buffer much larger than itself', async () => {
  for (const name of PACKED) {
    for (const size of [100, 5000, 100_000]) {
      const body = await packed(name, undefined, [Buffer.alloc(size, 'abcdefgh')])
      const { length, buffer } = await decompress(name, body, MIB)
      expect([name, length]).toEqual([name, size])
      expect(buffer.byteLength).toBeLessThanOrEqual(size * 1.25 + 64)
    }
  }
})

test('level is passed on', async () => {
  const data = Buffer.from('some text that repeats, '.repeat(500))
  for (const name of ['gzip', 'zlib', 'zstd'] as const) {
    const best = await packed(name, 9, [data])
    expect(Buffer.compare(await decompress(name, best, MIB), data)).toBe(0)
  }
  expect((await packed('gzip', 0, [data])).length).toBeGreaterThan(data.length)
})

test('none gives the chunks themselves', async () => {
  const chunks = [Buffer.from('abc'), Buffer.from('d')]
  expect(await compress('none', undefined, chunks)).toBe(chunks)
})

describe('a body that unpacks to more than the limit is refused without being unpacked', () => {
  const zeros = Buffer.alloc(64 * MIB)
  const bombs: Record<Exclude<Encoding, 'lz4'>, () => Uint8Array> = {
    gzip: () => zlib.gzipSync(zeros),
    zlib: () => zlib.deflateSync(zeros),
    deflate: () => zlib.deflateSync(zeros),
    zstd: () => zlib.zstdCompressSync(zeros),
    snappy: () => encodeSnappyFrames(zeros),
    'x-snappy-framed': () => encodeSnappyFrames(zeros),
  }
  for (const [name, make] of Object.entries(bombs)) {
    test(name, async () => {
      const body = make()
      const before = process.memoryUsage()
      await expect(decompress(name as Encoding, body, 4 * MIB)).rejects.toThrow(TooLargeError)
      const after = process.memoryUsage()
      const grown = after.arrayBuffers + after.external - before.arrayBuffers - before.external
      expect(grown).toBeLessThan(32 * MIB)
    })
  }
})

test('a snappy block that claims 4 GB in 5 bytes is refused before allocation', async () => {
  const claim = Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f])
  await expect(decompress('snappy', claim, MIB)).rejects.toThrow(TooLargeError)
  await expect(decompress('snappy', claim, 2 ** 33)).rejects.toThrow(InvalidError)
})

test('a body that is packed over the limit is refused', async () => {
  for (const name of ENCODINGS)
    await expect(decompress(name, Buffer.alloc(1001), 1000)).rejects.toThrow(TooLargeError)
})

test('a frame that asks for a huge zstd window is refused', async () => {
  // Magic, descriptor without content size, window descriptor 0xa8: 2^31 bytes; then an empty last block.
  const frame = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00])
  await expect(decompress('zstd', frame, MIB)).rejects.toThrow(InvalidError)
})

test('broken, cut off and random bodies are InvalidError or TooLargeError, never anything else', async () => {
  const text = Buffer.from('a line of text, another line of text, '.repeat(50))
  for (const name of PACKED) {
    const body = await packed(name, undefined, [text])
    for (let length = 0; length < body.length; length += 1 + Math.floor(body.length / 40)) {
      const error = await decompress(name, body.subarray(0, length), MIB).then(
        () => undefined,
        (reason: unknown) => reason,
      )
      // A framed stream may end after any frame; everything else cut off is an error.
      if (error !== undefined || !name.endsWith('framed')) expect(error).toBeInstanceOf(InvalidError)
    }
  }
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...ENCODINGS), fc.uint8Array({ maxLength: 300 }), async (name, body) => {
      const error = await decompress(name, body, 1000).then(
        () => undefined,
        (reason: unknown) => reason,
      )
      if (error !== undefined)
        expect(error instanceof InvalidError || error instanceof TooLargeError).toBe(true)
    }),
    { numRuns: 500 },
  )
})

test('many large bodies at a time all come out', async () => {
  const large = Buffer.from(Array.from({ length: 200_000 }, (_, index) => `${index * 31} `).join(''))
  const body = zlib.gzipSync(large)
  const results = await Promise.all(Array.from({ length: 20 }, () => decompress('gzip', body, 4 * MIB)))
  for (const result of results) expect(result.length).toBe(large.length)
})

test('a snappy frame with a wrong checksum is refused', async () => {
  const body = Buffer.from(encodeSnappyFrames(Buffer.from('hello')))
  body[14]! ^= 1
  await expect(decompress('x-snappy-framed', body, MIB)).rejects.toThrow('checksum')
})

test('crc32c agrees with the published check value', () => {
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283)
  expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa)
})

describe('lz4 frames made by the reference tool', () => {
  const hello = Buffer.from('BCJNGGRApxEAAAB/aGVsbG8sIAcAA1BlbGxvCgAAAAAEnZtX', 'base64')
  test('decode, also one after the other', async () => {
    expect(Buffer.from(await decompress('lz4', hello, MIB)).toString()).toBe(
      'hello, hello, hello, hello, hello\n',
    )
    expect(decodeLz4Frames(Buffer.concat([hello, hello]), MIB).length).toBe(68)
  })
  test('stop at the limit', () => {
    expect(() => decodeLz4Frames(hello, 33)).toThrow(TooLargeError)
  })
  test('are checked by their checksums, and no cut or flipped byte goes further than an error', () => {
    for (let index = 0; index < hello.length; index++) {
      expect(() => decodeLz4Frames(hello.subarray(0, index), MIB)).toThrow(InvalidError)
      const flipped = Buffer.from(hello)
      flipped[index]! ^= 0x41
      expect(() => decodeLz4Frames(flipped, MIB)).toThrow(InvalidError)
    }
  })
})
