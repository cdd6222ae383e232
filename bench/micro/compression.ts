/**
 * What does it cost to unpack a request of 100 spans (40 KB), and to pack a batch of 8,200 as exporters do?
 *
 *     node bench/micro/compression.ts
 *
 * Requests are unpacked in place, batches are packed chunk by chunk in the thread pool, whose CPU is in the
 * figures. Beside it node:zlib on the same bytes in one piece, for the scale. The content is checked.
 */
import { gunzipSync, gzipSync } from 'node:zlib'
import { type Compression, compress, decompress } from '../../src/net/compression.ts'
import { compareSides, printMachine } from '../support/micro.ts'
import { tracePayload } from '../support/payload.ts'

const SPANS = 100
const CHUNKS = 82
const LIMIT_BYTES = 20 * 2 ** 20
const CODECS = ['gzip', 'zstd', 'snappy'] as const

const requests = Array.from({ length: CHUNKS }, (_, index) => tracePayload(SPANS, index + 1).bytes)
const batch = Buffer.concat(requests)

const pack = async (codec: Compression, chunks: readonly Uint8Array[]) =>
  Buffer.concat(await compress(codec, undefined, chunks))

const packed = new Map<string, Buffer[]>()
for (const codec of CODECS) {
  const bodies: Buffer[] = []
  for (const request of requests) bodies.push(await pack(codec, [request]))
  packed.set(codec, bodies)
  const whole = await decompress(codec, await pack(codec, requests), LIMIT_BYTES)
  if (Buffer.compare(whole, batch) !== 0) throw new Error(`${codec}: the content is another`)
}

let turn = 0
/** Another request each time, so that not all of it is in the cache. */
async function unpackOne(codec: (typeof CODECS)[number]): Promise<number> {
  const index = turn++ % CHUNKS
  const bytes = await decompress(codec, packed.get(codec)?.[index] ?? Buffer.alloc(0), LIMIT_BYTES)
  if (bytes.length !== requests[index]?.length) throw new Error(`${codec}: the length is another`)
  return SPANS
}

async function packAll(codec: Compression): Promise<number> {
  const pieces = await compress(codec, undefined, requests)
  if (pieces.length === 0) throw new Error(`${codec}: nothing came out`)
  return SPANS * CHUNKS
}

printMachine()
const share = (codec: string) => {
  const bytes = (packed.get(codec) ?? []).reduce((sum, { length }) => sum + length, 0)
  return `${codec} ${((bytes / batch.length) * 100).toFixed(0)} %`
}
console.log(`requests of ${requests[0]?.length} bytes; packed ${CODECS.map(share).join(', ')}`)
await compareSides('span', {
  ...Object.fromEntries(CODECS.map((codec) => [`unpack ${codec}`, () => unpackOne(codec)])),
  'node:zlib unpacks gzip': () => {
    const body = packed.get('gzip')?.[turn++ % CHUNKS] ?? Buffer.alloc(0)
    return gunzipSync(body).length > 0 ? SPANS : 0
  },
})
await compareSides('span', {
  ...Object.fromEntries(CODECS.map((codec) => [`pack ${codec}`, () => packAll(codec)])),
  'node:zlib packs gzip': () => (gzipSync(batch).length > 0 ? SPANS * CHUNKS : 0),
})
