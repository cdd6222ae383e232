/**
 * What does it cost to make a push to Loki of log records? 20 requests of 100 records (four attributes, a trace id, two
 * levels) of one resource; conversion, request bytes and Snappy, no socket.
 *
 *     node bench/micro/loki.ts
 *
 * Three ways: lines from bytes, as it runs; without Snappy; and the long way over objects, which records with hints, nested
 * values or structured metadata take.
 */
import os from 'node:os'
import { config } from '../../src/exporters/loki/config.ts'
import { encodePush, protobufBody } from '../../src/exporters/loki/push-request.ts'
import { Converter } from '../../src/exporters/loki/streams.ts'
import { Batch } from '../../src/otlp/batch.ts'
import { logs } from '../../test/support/otlp.ts'

const ROUNDS = 9
const BATCHES = 20
const REQUESTS = 20
const RECORDS = 100

const START = 1_700_000_000_000_000_000n
const hex = (value: number, length: number) =>
  (BigInt(value + 1) * 0x9e3779b97f4a7c15f39cc0605cedc835n).toString(16).slice(-length).padStart(length, '0')
const request = (serial: number) =>
  logs({
    resource: {
      'service.name': 'checkout',
      'service.version': '1.14.2',
      'host.name': 'node-17.eu-west-1.example.org',
      'deployment.environment.name': 'production',
    },
    scope: { name: 'bench', version: '1.0.0' },
    logs: Array.from({ length: RECORDS }, (_, index) => ({
      timeUnixNano: START + BigInt(serial * RECORDS + index) * 1_000_000n,
      severityNumber: index % 10 === 0 ? 17 : 9,
      severityText: index % 10 === 0 ? 'ERROR' : 'INFO',
      body: `request finished with status 200 after ${(index * 7919) % 900} ms, cart items=${index}`,
      attributes: {
        'http.route': `/api/v1/items/${index}`,
        'http.response.status_code': 200,
        'user.id': `u-${(serial * 7919 + index * 104_729) % 1_000_000}`,
        'logger.name': 'shop.checkout.OrderService',
      },
      traceId: hex(serial * RECORDS + index, 32),
      spanId: hex(serial * RECORDS + index, 16),
    })),
  })
const batch = new Batch(
  'logs',
  Array.from({ length: REQUESTS }, (_, serial) => request(serial)).flatMap((one) => [...one.chunks]),
)

const converterOf = (more: object) =>
  new Converter(config.parse({ endpoint: 'http://loki/loki/api/v1/push', ...more }), '')
const plain = converterOf({})
const long = converterOf({ structured_metadata: [] })
let bytes = 0
let packed = 0
const ways: { readonly name: string; readonly run: () => void }[] = [
  {
    name: 'lines from bytes, compressed',
    run() {
      for (const push of plain.convert(batch, 0).pushes) packed = protobufBody(push).length
    },
  },
  {
    name: 'lines from bytes, not compressed',
    run() {
      for (const push of plain.convert(batch, 0).pushes) bytes = encodePush(push).length
    },
  },
  {
    name: 'lines over objects, compressed',
    run() {
      for (const push of long.convert(batch, 0).pushes)
        if (protobufBody(push).length !== packed) throw new Error('the two ways differ')
    },
  },
]

console.log(`${os.cpus()[0]?.model}, Node ${process.version}, ${ROUNDS} rounds of ${BATCHES} batches`)
for (const { name, run } of ways) {
  const results: number[] = []
  for (let round = 0; round <= ROUNDS; round++) {
    const before = process.cpuUsage()
    for (let count = 0; count < BATCHES; count++) run()
    const { user, system } = process.cpuUsage(before)
    if (round > 0) results.push((user + system) / (BATCHES * REQUESTS * RECORDS)) // The first round warms up.
  }
  results.sort((left, right) => left - right)
  const spread = `${results[0]?.toFixed(3)} to ${results.at(-1)?.toFixed(3)}`
  console.log(`${name}: ${results[ROUNDS >> 1]?.toFixed(3)} us of CPU per record (${spread})`)
}
console.log(`a batch: ${bytes} bytes of protobuf, ${packed} compressed`)
