/**
 * A recording of traces as the `file` exporter writes it (`format: proto`): some shop whose services call
 * each other, 1 to 12 spans a trace, requests of 100 spans of one service, about 330 bytes a span.
 */
import { closeSync, openSync, writeSync } from 'node:fs'
import { SPAN } from '../../src/otlp/fields.ts'
import { WireWriter } from '../../src/otlp/wire.ts'
import { randomSource } from './payload.ts'

const SERVICES = ['frontend', 'checkout', 'cart', 'catalogue', 'payment', 'shipping', 'search', 'mail']
const REQUEST_SPANS = 100
const START_NANOS = 1_790_000_000_000_000_000n

/** `perSecond`: spans a second of the recorded time, with a swell of some minutes. */
export function writeRecording(file: string, spans: number, perSecond = 2000): void {
  const random = randomSource(7)
  const out = openSync(file, 'w')
  const open = SERVICES.map(() => new Request())
  let nowMs = 0
  let made = 0
  while (made < spans) {
    const count = 1 + Math.floor(random() * random() * 12)
    const id = Buffer.from(Array.from({ length: 16 }, () => Math.floor(random() * 256)))
    const slow = random() < 0.03
    const root = Math.floor(random() * random() * 3)
    const totalMs = Math.exp(2 + random() * 4) * (slow ? 12 : 1)
    const failing = random() < (root === 1 ? 0.06 : 0.01) ? Math.floor(random() * count) : -1
    for (let index = 0; index < count; index++) {
      const service = index === 0 ? root : (root + Math.floor(random() * SERVICES.length)) % SERVICES.length
      const request = open[service]!
      const part = index === 0 ? 1 : 0.1 + random() * 0.8
      request.add(id, index, nowMs, totalMs * part, index === failing, random)
      if (request.spans === REQUEST_SPANS) request.flush(out, SERVICES[service]!)
    }
    made += count
    nowMs += (count / perSecond) * 1000 * (1 + 0.5 * Math.sin(nowMs / 60_000))
  }
  for (const [service, request] of open.entries()) request.flush(out, SERVICES[service]!)
  closeSync(out)
}

class Request {
  #writer = new WireWriter()
  spans = 0

  add(
    id: Buffer,
    index: number,
    startMs: number,
    lastsMs: number,
    failed: boolean,
    random: () => number,
  ): void {
    const writer = this.#writer
    const start = START_NANOS + BigInt(Math.floor((startMs + index) * 1e6))
    const spanId = Buffer.alloc(8)
    id.copy(spanId, 0, 0, 8)
    spanId[7] = index + 1
    writer.begin(2, 330)
    writer.len(SPAN.traceId, id)
    writer.len(SPAN.spanId, spanId)
    if (index > 0) writer.len(SPAN.parentSpanId, id.subarray(0, 8))
    writer.string(SPAN.name, `GET /api/${index}`)
    writer.uintField(SPAN.kind, 2)
    writer.fixed64Field(SPAN.startTimeUnixNano, start)
    writer.fixed64Field(SPAN.endTimeUnixNano, start + BigInt(Math.floor(lastsMs * 1e6)))
    for (const [key, value] of ATTRIBUTES) attribute(writer, key, value)
    attribute(writer, 'client.address', `10.0.${Math.floor(random() * 255)}.7`)
    if (failed) writer.begin(SPAN.status, 2).uintField(3, 2).end()
    writer.end()
    this.spans++
  }

  flush(out: number, service: string): void {
    if (this.spans === 0) return
    const spans = this.#writer.finish()
    const whole = new WireWriter(spans.length + 200)
    whole.begin(1, spans.length + 100).begin(1, 40)
    attribute(whole, 'service.name', service, 1)
    whole.end().begin(2, spans.length).raw(spans).end().end()
    const message = whole.finish()
    const length = Buffer.alloc(4)
    length.writeUInt32BE(message.length)
    writeSync(out, Buffer.concat([length, message]))
    this.#writer = new WireWriter()
    this.spans = 0
  }
}

const ATTRIBUTES = [
  ['http.request.method', 'GET'],
  ['http.route', '/api/:resource'],
  ['server.address', 'shop.example.internal'],
  ['user_agent.original', 'Mozilla/5.0 (X11; Linux x86_64)'],
  ['network.protocol.version', '1.1'],
] as const

function attribute(writer: WireWriter, key: string, value: string, field: number = SPAN.attributes): void {
  writer
    .begin(field, key.length + value.length + 6)
    .string(1, key)
    .begin(2, value.length + 2)
  writer.string(1, value).end().end()
}
