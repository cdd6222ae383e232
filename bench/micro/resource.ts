/**
 * What does the `resource` processor cost a request of 100 spans (36 KB)?
 *
 *     node bench/micro/resource.ts
 *
 * The goal is at most 8 microseconds a request. The floor is one allocation and one copy of the same
 * bytes, with the garbage collection that brings. Prints machine, Node version, runs, median and spread,
 * and checks the output so that nothing is optimised away.
 */
import os from 'node:os'
import type { Batch } from '../../src/otlp/batch.ts'
import { countItems } from '../../src/otlp/count.ts'
import resource from '../../src/processors/resource.ts'
import { createProcessor } from '../../test/support/create-test.ts'
import { decodeBatch, traces } from '../../test/support/otlp.ts'

const GOAL_US = 8
const ROUNDS = 9
const REQUESTS = 10_000
/** Requests alive at a time, so that the bytes are not all in the cache. */
const KEPT = 64

const cases = {
  'upsert of a new key': [{ key: 'environment', value: 'production', action: 'upsert' }],
  'upsert, insert, delete': [
    { key: 'environment', value: 'production', action: 'upsert' },
    { key: 'service.name', value: 'other', action: 'upsert' },
    { key: 'cluster', value: 'eu-1', action: 'insert' },
    { key: 'host.name', action: 'delete' },
  ],
  'nothing to change': [{ key: 'service.name', value: 'checkout', action: 'upsert' }],
}

function request() {
  const attributes = Object.fromEntries(
    Array.from({ length: 8 }, (_, index) => [`attribute.number.${index}`, `value of number ${index}`]),
  )
  return traces({
    resource: {
      'service.name': 'checkout',
      'service.version': '1.4.2',
      'host.name': 'node-17',
      'process.pid': 4711,
      'telemetry.sdk.language': 'nodejs',
      'telemetry.sdk.name': 'opentelemetry',
    },
    scope: { name: 'bench', version: '1' },
    spans: Array.from({ length: 100 }, (_, index) => ({ name: `operation ${index}`, kind: 2, attributes })),
  })
}

const inputs = Array.from({ length: KEPT }, request)
for (const input of inputs) void input.itemCount // The receiver has counted.
console.log(`${os.cpus()[0]?.model}, Node ${process.version}, ${inputs[0]?.byteLength} bytes a request`)
console.log(`${ROUNDS} runs of ${REQUESTS} requests after one to warm up, microseconds of CPU a request`)

const done = Promise.resolve()
let copied: Uint8Array | undefined
await measure('floor', async (input) => {
  copied = Buffer.allocUnsafe(input.byteLength)
  copied.set(input.chunks[0]!)
})
if (copied?.length !== inputs[0]?.byteLength) throw new Error('nothing was copied')

for (const [name, attributes] of Object.entries(cases)) {
  await using made = createProcessor(resource, { attributes }, { next: { consume: () => done } })
  await using checked = createProcessor(resource, { attributes })
  await measure(name, (input) => made.consume(input))
  await checked.consume(inputs[0]!)
  check(checked.sink.take()[0], attributes)
}

async function measure(name: string, consume: (input: Batch) => Promise<void>): Promise<void> {
  const run = async () => {
    const before = process.cpuUsage()
    for (let index = 0; index < REQUESTS; index++) await consume(inputs[index % KEPT]!)
    const { user, system } = process.cpuUsage(before)
    return (user + system) / REQUESTS
  }
  await run()
  const runs: number[] = []
  for (let round = 0; round < ROUNDS; round++) runs.push(await run())
  runs.sort((a, b) => a - b)
  const [least, median, most] = [runs[0]!, runs[ROUNDS >> 1]!, runs[ROUNDS - 1]!]
  console.log(
    `${name}: median ${median.toFixed(2)} us/request (${least.toFixed(2)} to ${most.toFixed(2)}), goal ${GOAL_US}`,
  )
}

function check(output: Batch | undefined, attributes: readonly { key: string; action: string }[]): void {
  if (output === undefined || countItems('traces', output.bytes()) !== 100) throw new Error('items were lost')
  const pairs: { key: string }[] = decodeBatch(output).resourceSpans[0].resource.attributes
  const keys = pairs.map((pair) => pair.key)
  for (const { key, action } of attributes)
    if (keys.includes(key) === (action === 'delete')) throw new Error(`${action} of ${key} is wrong`)
}
