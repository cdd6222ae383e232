/**
 * Scenario: a sender packs what unpacks to gigabytes, lies about lengths, stacks encodings, or sends junk, over HTTP and over gRPC.
 * Guarantee: each is answered as too large or as broken, and counted; the memory of the collector grows by less than twice the
 * limit; ordinary requests go through in between.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import zlib from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encodeSnappyBlock, encodeSnappyFrames } from '../../src/net/snappy.ts'
import { request } from '../support/http.ts'
import { traces } from '../support/otlp.ts'
import { freePort } from '../support/peers.ts'
import { block, frame, grpcMessage, RawClient, REQUEST, TYPE } from '../support/raw-http2.ts'
import { type RunningWeir, startWeir } from '../support/weir.ts'

const MIB = 2 ** 20
/** Of a message, packed and unpacked, by either protocol. */
const LIMIT = 64 * MIB
const PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
const GOOD = traces({ resource: { 'service.name': 'shop' }, spans: ['a', 'b'] }).bytes()

let weir: RunningWeir
let metricsPort = 0
beforeAll(async () => {
  metricsPort = await freePort()
  const readers = [{ pull: { exporter: { prometheus: { host: '127.0.0.1', port: metricsPort } } } }]
  weir = await startWeir({
    receivers: {
      otlp: {
        protocols: {
          grpc: { endpoint: '127.0.0.1:0', max_recv_msg_size_mib: LIMIT / MIB },
          http: { endpoint: '127.0.0.1:0', max_request_body_size: LIMIT },
        },
      },
    },
    exporters: { nop: {} },
    service: {
      shards: 1,
      telemetry: { metrics: { readers } },
      pipelines: { traces: { receivers: ['otlp'], exporters: ['nop'] } },
    },
  })
})
afterAll(async () => {
  expect(await weir.stop()).toBe(0)
  await weir[Symbol.asyncDispose]()
})

const repeated = (piece: Uint8Array, count: number) => Buffer.concat(Array(count).fill(piece))

/** 4 MiB of zeros as one LZ4 block: a literal, a match at distance 1, five literals at the end. */
function lz4Block(): Buffer {
  const match = 4 * MIB - 6 - 4 - 15
  const lengths = Buffer.alloc(Math.floor(match / 255) + 1, 255)
  lengths[lengths.length - 1] = match % 255
  const data = Buffer.concat([Buffer.from([0x1f, 0, 1, 0]), lengths, Buffer.from([0x50, 0, 0, 0, 0, 0])])
  const size = Buffer.alloc(4)
  size.writeUInt32LE(data.length)
  return Buffer.concat([size, data])
}

/** Each is below 3 MB and unpacks to far more than the limit: up to 10 GB, but for snappy, which packs 21 times at most. */
const BOMBS: Readonly<Record<string, () => Uint8Array>> = {
  gzip: () => repeated(zlib.gzipSync(Buffer.alloc(16 * MIB)), 180),
  deflate: () => zlib.deflateSync(Buffer.alloc(256 * MIB)),
  zstd: () => repeated(zlib.zstdCompressSync(Buffer.alloc(64 * MIB)), 160),
  snappy: () => encodeSnappyBlock(Buffer.alloc(LIMIT + 1)).subarray(0, 3_000_000),
  'snappy that claims 4 GB': () => Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f]),
  'snappy in frames': () => repeated(encodeSnappyFrames(Buffer.alloc(MIB)), 65).subarray(0, 3_400_000),
  lz4: () =>
    Buffer.concat([Buffer.from('04224d18607073', 'hex'), repeated(lz4Block(), 150), Buffer.alloc(4)]),
}
const encodingOf = (name: string) => name.split(' ')[0] ?? ''

function memory(field: 'VmRSS' | 'VmHWM'): number {
  const status = readFileSync(`/proc/${weir.pid}/status`, 'utf8')
  return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]) * 1024
}

/** How far the memory of the collector goes up while this runs. */
async function growth(run: () => Promise<unknown>): Promise<number> {
  await sleep(300)
  writeFileSync(`/proc/${weir.pid}/clear_refs`, '5') // The high-water mark starts anew.
  const before = memory('VmRSS')
  await run()
  return memory('VmHWM') - before
}

/** Requests that the receiver itself refused, by reason. */
async function failed(transport: string, reason: string): Promise<number> {
  const page = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text()
  const line = page
    .split('\n')
    .find(
      (one) =>
        one.startsWith('otelcol_receiver_failed_requests{') &&
        one.includes(`transport="${transport}"`) &&
        one.includes(`reason="${reason}"`),
    )
  return Number(line?.split(' ').at(-1) ?? 0)
}

async function counted(transport: string, reason: string, run: () => Promise<unknown>): Promise<void> {
  const before = await failed(transport, reason)
  await run()
  await expect.poll(() => failed(transport, reason)).toBe(before + 1)
}

const post = async (encoding: string, body: Uint8Array): Promise<number> => {
  const headers = encoding === '' ? {} : { 'Content-Encoding': encoding }
  return (await request(weir.port('receivers/otlp/protocols/http'), body, { headers })).status
}

/** The grpc-status of a call with this as its message, in frames of 16 KB. */
async function call(encoding: string, message: Uint8Array, length = message.length): Promise<string> {
  const fields = { ...REQUEST, ':path': PATH, ...(encoding !== '' && { 'grpc-encoding': encoding }) }
  const client = RawClient.open(weir.port('receivers/otlp/protocols/grpc'))
  client.send(frame(TYPE.HEADERS, 4, 1, block(fields)))
  const bytes = grpcMessage(message, encoding === '' ? 0 : 1, length)
  const pieces: Buffer[] = []
  for (let at = 0; at < bytes.length; at += 16_384) {
    const end = at + 16_384 >= bytes.length && length === message.length
    pieces.push(frame(TYPE.DATA, end ? 1 : 0, 1, bytes.subarray(at, at + 16_384)))
  }
  client.send(...pieces)
  const status = await client.status(1)
  client.socket.destroy()
  return status
}

async function stillServes(): Promise<void> {
  expect([await post('', GOOD), await call('', GOOD)]).toEqual([200, '0'])
}

describe('what unpacks to more than the limit is too large, and takes less than twice the limit:', () => {
  test.each(Object.entries(BOMBS))('%s', async (name, make) => {
    const bomb = make()
    const encoding = encodingOf(name)
    await stillServes()
    await counted('http', 'too_large', async () => {
      expect(await growth(async () => expect(await post(encoding, bomb)).toBe(413))).toBeLessThan(2 * LIMIT)
    })
    if (encoding !== 'lz4')
      // gRPC has no lz4.
      await counted('grpc', 'too_large', async () => {
        expect(await growth(async () => expect(await call(encoding, bomb)).toBe('8'))).toBeLessThan(2 * LIMIT)
      })
    await stillServes()
  })
  test('many at a time', async () => {
    const bomb = BOMBS['zstd']?.() ?? Buffer.alloc(0)
    const statuses = Promise.all([
      ...Array.from({ length: 20 }, () => post('zstd', bomb)),
      ...Array.from({ length: 20 }, () => call('zstd', bomb)),
    ])
    // At most four are unpacked at a time; what the last ones took waits for the collector, for long on a busy
    // machine. All 40 would take forty times the limit.
    expect(
      await growth(async () => expect(new Set(await statuses)).toEqual(new Set([413, '8']))),
    ).toBeLessThan(8 * LIMIT)
    await stillServes()
  })
})

describe('junk is broken data, and counted:', () => {
  const junk = Buffer.from('this is nothing of the kind')
  test.each(['gzip', 'deflate', 'zstd', 'snappy', 'lz4', 'zlib', 'x-snappy-framed'])(
    '%s',
    async (encoding) => {
      await counted('http', 'invalid', async () => expect(await post(encoding, junk)).toBe(400))
      if (['gzip', 'deflate', 'zstd', 'snappy'].includes(encoding))
        await counted('grpc', 'invalid', async () => expect(await call(encoding, junk)).toBe('13'))
    },
  )
  test.each(['br', 'gzip, gzip', 'gzip,zstd', 'identity, br', 'nonsense'])(
    '%s is not decoded',
    async (encoding) => {
      await counted('http', 'invalid', async () =>
        expect(await post(encoding, zlib.brotliCompressSync(GOOD))).toBe(400),
      )
      await counted('grpc', 'unsupported_encoding', async () =>
        expect(await call(encoding, zlib.brotliCompressSync(GOOD))).toBe('12'),
      )
    },
  )
})

describe('lengths that lie', () => {
  test('a message of 4 GB is refused when its length is there', () =>
    counted('grpc', 'too_large', async () => {
      expect(await growth(async () => expect(await call('', GOOD, 2 ** 32 - 1)).toBe('8'))).toBeLessThan(
        8 * MIB,
      )
    }))
  test('a body of 10 GB is refused when its length is there', () =>
    counted('http', 'too_large', async () => {
      const headers = { 'Content-Length': 10 * 2 ** 30, Expect: '100-continue' }
      const port = weir.port('receivers/otlp/protocols/http')
      const run = async () => expect((await request(port, '', { headers })).status).toBe(413)
      expect(await growth(run)).toBeLessThan(8 * MIB)
    }))
  test('the size at the end of gzip data is not believed', async () => {
    const packed = Buffer.from(zlib.gzipSync(GOOD))
    packed.writeUInt32LE(2 ** 32 - 1, packed.length - 4)
    expect(await growth(async () => expect(await post('gzip', packed)).toBe(400))).toBeLessThan(8 * MIB)
    expect(await growth(async () => expect(await call('gzip', packed)).toBe('13'))).toBeLessThan(8 * MIB)
  })
  test('more than one message, or less than a whole one, in a call', async () => {
    await counted('grpc', 'invalid', async () =>
      expect(await call('', Buffer.concat([GOOD, grpcMessage(GOOD)]), GOOD.length)).toBe('12'),
    )
    await stillServes()
  })
})
