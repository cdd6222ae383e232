/**
 * What does a plugin cost that sets one attribute on every span, beside the built-in `attributes` processor that does the same?
 *
 *     node bench/micro/plugins.ts
 *
 * The goals: over friendly items at most twice the built-in one per span, on bytes at most 1.2 times. Then the same batch through a
 * plugin inline and isolated, in microseconds of CPU of the whole process and of time. Plugins run behind their guard, as
 * in the service. Rounds alternate; median and spread; the output is checked.
 */
import os from 'node:os'
import type { AnyProcessor } from '../../src/component/define.ts'
import type { IsolatedBatch } from '../../src/component/isolation.ts'
import { AttributeCursor, keyBytes, writeAttribute } from '../../src/otlp/attributes.ts'
import type { Batch } from '../../src/otlp/batch.ts'
import { KEEP, mapItems, WROTE } from '../../src/otlp/edit.ts'
import { SPAN } from '../../src/otlp/fields.ts'
import { defineProcessor } from '../../src/plugin/define.ts'
import { wrap } from '../../src/plugin/wrap.ts'
import attributes from '../../src/processors/attributes/index.ts'
import { IsolatePool, isolationTelemetry } from '../../src/workers/isolate-pool.ts'
import { createProcessor } from '../../test/support/create-test.ts'
import { TestHost } from '../../test/support/host.ts'
import { TestMeter } from '../../test/support/meter.ts'
import { decodeBatch, traces } from '../../test/support/otlp.ts'

const ROUNDS = 9
const REQUESTS = 3000
const SPANS = 100
/** Requests alive at a time, so that the bytes are not all in the cache. */
const KEPT = 64

const items = defineProcessor({
  type: 'set_attribute',
  edit: () => ({
    span(span) {
      span.attributes.set('environment', 'production')
    },
  }),
})

const looped = defineProcessor({
  type: 'looped',
  edit: () => ({
    process(batch) {
      for (const span of batch.spans()) span.attributes.set('environment', 'production')
      return batch.edited()
    },
  }),
})

const onBytes = defineProcessor({
  type: 'on_bytes',
  create({ next }) {
    const key = keyBytes('environment')
    const cursor = new AttributeCursor()
    return {
      consume: async (batch) =>
        next.consume(
          mapItems(batch, ({ bytes, start, end }, output) => {
            if (cursor.reset(bytes, start, end, SPAN.attributes).find(key)) return KEEP
            writeAttribute(output.rawRange(bytes, start, end), SPAN.attributes, 'environment', 'production')
            return WROTE
          }),
        ),
    }
  },
})

function request() {
  const values = Object.fromEntries(
    Array.from({ length: 8 }, (_, index) => [`attribute.number.${index}`, `value of number ${index}`]),
  )
  return traces({
    resource: { 'service.name': 'checkout', 'host.name': 'node-17' },
    spans: Array.from({ length: SPANS }, (_, index) => ({
      name: `operation ${index}`,
      kind: 2,
      attributes: values,
    })),
  })
}

const inputs = Array.from({ length: KEPT }, request)
for (const input of inputs) void input.itemCount // The receiver has counted.
console.log(
  `${os.cpus()[0]?.model}, Node ${process.version}, ${inputs[0]?.byteLength} bytes and ${SPANS} spans a request`,
)
console.log(
  `${ROUNDS} alternating rounds of ${REQUESTS} requests after two to warm up, nanoseconds of CPU a span`,
)

const done = Promise.resolve()
const action = { actions: [{ key: 'environment', value: 'production', action: 'upsert' }] }
const plugin = (definition: unknown) =>
  wrap(definition as AnyProcessor, import.meta.filename, 'bench') as AnyProcessor
const cases: readonly (readonly [string, AnyProcessor, unknown])[] = [
  ['built-in attributes', attributes, action],
  ['friendly items, span()', plugin(items), {}],
  ['friendly items, a loop', plugin(looped), {}],
  ['on bytes', plugin(onBytes), {}],
]
const made = cases.map(([, definition, config]) =>
  createProcessor(definition, config, { next: { consume: () => done } }),
)
const runs: number[][] = cases.map(() => [])
for (let round = -2; round < ROUNDS; round++) {
  for (const [index, one] of made.entries()) {
    const spent = await cpu((input) => one.consume(input), REQUESTS)
    if (round >= 0) runs[index]?.push((spent * 1000) / SPANS)
  }
}
const base = median(runs[0] ?? [])
for (const [index, [name, definition, config]] of cases.entries()) {
  const all = runs[index] ?? []
  const spread = `${Math.min(...all).toFixed(0)} to ${Math.max(...all).toFixed(0)}`
  console.log(
    `${name}: median ${median(all).toFixed(0)} ns/span (${spread}), ${(median(all) / base).toFixed(2)} x`,
  )
  const checked = createProcessor(definition, config)
  await checked.consume(inputs[0]!)
  check(checked.sink.take()[0])
}
await isolated()

/** One batch at a time, and eight at a time, through a pool as main has it. */
async function isolated(): Promise<void> {
  const pool = new IsolatePool(new TestMeter().instruments(isolationTelemetry, {}))
  const host = Object.assign(new TestHost(), {
    runIsolated: (batch: IsolatedBatch) => pool.run({ ...batch, config: '{}' }),
  })
  const definition = items
  const path = new URL('../../test/plugins/plugins/set-attribute.ts', import.meta.url).pathname
  const wrapped = wrap(definition as AnyProcessor, path, 'bench') as AnyProcessor
  const next = { consume: () => done }
  const inline = createProcessor(wrapped, {}, { next })
  const apart = createProcessor(wrapped, { isolate: { pool: 1 } }, { next, host })
  const parallel = createProcessor(wrapped, { isolate: { pool: 1 } }, { next, host })
  for (const [name, one, width] of [
    ['inline', inline, 1],
    ['isolated, one at a time', apart, 1],
    ['isolated, eight at a time', parallel, 8],
  ] as const) {
    const times: number[] = []
    const spent: number[] = []
    for (let round = -1; round < 5; round++) {
      const begin = performance.now()
      const used = await cpu(
        async (input) => void (await Promise.all(Array.from({ length: width }, () => one.consume(input)))),
        Math.ceil(500 / width),
      )
      if (round < 0) continue
      times.push(((performance.now() - begin) * 1000) / (Math.ceil(500 / width) * width))
      spent.push(used / width)
    }
    console.log(
      `${name}: ${median(spent).toFixed(0)} us of CPU and ${median(times).toFixed(0)} us of time a batch`,
    )
  }
  await pool.close()
}

/** Microseconds of CPU a request. */
async function cpu(consume: (input: Batch) => Promise<void>, requests: number): Promise<number> {
  const before = process.cpuUsage()
  for (let index = 0; index < requests; index++) await consume(inputs[index % KEPT]!)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / requests
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
}

function check(output: Batch | undefined): void {
  const spans = output === undefined ? [] : decodeBatch(output).resourceSpans[0].scopeSpans[0].spans
  const right = spans.every(
    (span: { attributes: { key: string }[] }) => span.attributes.at(-1)?.key === 'environment',
  )
  if (spans.length !== SPANS || !right) throw new Error('the output is wrong')
}
