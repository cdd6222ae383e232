/**
 * What the suites with the Go collector share: random requests, its configuration, and reading what was
 * written.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import protobuf from 'protobufjs'
import { SIGNALS, type Signal } from '../../../src/otlp/batch.ts'
import { messageType, type Plain, REQUESTS } from '../../support/otlp.ts'
import { type RandomRequest, randomRequest, seeded } from '../../support/random-otlp.ts'
import { expectSame, itemCount } from './compare.ts'
import { parseLines } from './otlp-json.ts'

/** Printed by the suites; WEIR_SEED=n runs the same requests again. */
export const SEED = Number(process.env['WEIR_SEED'] ?? Math.floor(Math.random() * 2 ** 31))

/**
 * Random requests of every signal in turn; `object` is how the Go collector understands them. Those without
 * an item are left out, since collectors answer them and pass nothing on.
 */
export function randomRequests(count: number, seed = SEED): RandomRequest[] {
  const random = seeded(seed)
  const requests: RandomRequest[] = []
  while (requests.length < count) {
    const signal = SIGNALS[requests.length % SIGNALS.length] ?? 'traces'
    const request = randomRequest(signal, random, 1 + Math.floor(random() * 4))
    const object = withoutMinusZero(messageType(REQUESTS[signal]), request.object)
    if (itemCount(signal, [object]) > 0) requests.push({ ...request, object })
  }
  return requests
}

/**
 * The one thing that the Go collector does not keep: -0 in a double that has no presence is taken for the
 * default.
 */
function withoutMinusZero(type: protobuf.Type, object: Plain): Plain {
  const kept = Object.entries(object).filter(
    ([key, value]) => type.fields[key]?.partOf || !Object.is(value, -0),
  )
  return Object.fromEntries(
    kept.map(([key, value]: [string, Plain]) => {
      const inner = type.fields[key]?.resolvedType
      if (!(inner instanceof protobuf.Type)) return [key, value]
      const one = (entry: Plain) => withoutMinusZero(inner, entry)
      return [key, Array.isArray(value) ? value.map(one) : one(value)]
    }),
  )
}

/**
 * Posts them over HTTP, eight at a time, as protobuf; every second one as an odd encoder writes it, but
 * metrics: of a packed field that comes in several runs the Go collector keeps the last run only.
 */
export async function postAll(url: string, requests: readonly RandomRequest[]): Promise<void> {
  const left = requests.entries()
  const worker = async () => {
    for (const [index, { signal, bytes, oddBytes }] of left) {
      const response = await fetch(`${url}/v1/${signal}`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-protobuf' },
        body: index % 2 === 0 || signal === 'metrics' ? bytes : oddBytes,
      })
      const answer = await response.text()
      if (!response.ok) throw new Error(`request ${index} of seed ${SEED}: ${response.status} ${answer}`)
    }
  }
  await Promise.all(Array.from({ length: 8 }, worker))
}

export function readRequests(folder: string, file: string): Record<Signal, Plain[]> {
  const lines = parseLines(readFileSync(join(folder, file), 'utf8'))
  const of = (signal: Signal) => lines.filter((line) => line.signal === signal).map((line) => line.object)
  return { traces: of('traces'), metrics: of('metrics'), logs: of('logs') }
}

/** Compares all signals; says how many items were equal. */
export function compareAll(
  what: string,
  actual: Record<Signal, Plain[]>,
  requests: readonly RandomRequest[],
): number {
  let items = 0
  for (const signal of SIGNALS) {
    const expected = requests.filter((request) => request.signal === signal).map(({ object }) => object)
    expectSame(`${what}, seed ${SEED}`, signal, actual[signal], expected)
    items += itemCount(signal, expected)
  }
  return items
}

/** Three pipelines, one per signal, with these components. */
export function pipelines(receivers: readonly string[], exporters: readonly string[], suffix = '') {
  return Object.fromEntries(SIGNALS.map((signal) => [signal + suffix, { receivers, exporters }]))
}

/** `service.telemetry` of the Go collector: no listener of its own, few words. */
export const GO_TELEMETRY = { metrics: { level: 'none' }, logs: { level: 'warn' } }
