/**
 * Tail sampling agrees with the Go collector 0.155, trace by trace, and with itself on 1, 2 and 8 shards.
 *
 * Scenario: the same generated requests, over 8 connections of gRPC and HTTP, to both; the same YAML with one
 * pipeline for each case of tail-configs.ts; both export to a backend of the test. Guarantee: the same traces
 * are kept, each of their spans arrives exactly once under its own trace, resource and scope, and no span of
 * another; the policies count the same. The differences (latency, see docs/tail-sampling.md) are asserted for
 * exactly the traces that they are expected for.
 *
 * TAIL_SEED and TAIL_TRACES set the seed and the number of traces.
 */
import { expect, test } from 'vitest'
import { differsAt, SHARD_CASES, TAIL_CASES, type TailCase } from './support/tail-configs.ts'
import { runCases, sumOf, type TailResult } from './support/tail-run.ts'
import { makeTraffic, type Traffic } from './support/tail-traffic.ts'

const SEED = Number(process.env['TAIL_SEED'] ?? Math.floor(Date.now() / 1000) % 1_000_000)
const TRACES = Number(process.env['TAIL_TRACES'] ?? 20_000)
/** Cases that run side by side in one process: the Go collector holds about 2 KB a span for each. */
const GROUP = 15
const WEIR = 'weir with 2 shards'
/** Seconds of decision_wait; the second when the machine was too slow for the first. */
const WAITS = [20, 60]

/** By case and collector: 1 for each trace that was kept. By policy and collector: what it counted. */
interface Outcome {
  readonly kept: Map<string, Uint8Array>
  readonly counts: Map<string, string>
  readonly problems: string[]
}

const outcome: Outcome = { kept: new Map(), counts: new Map(), problems: [] }
const traffic = makeTraffic(SEED, TRACES)
console.log(
  `seed ${SEED}: ${TRACES} traces, ${traffic.traceOf.length} spans, ${traffic.requests.length} requests`,
)

test(`${TAIL_CASES.length} cases keep the same traces as the Go collector`, {
  timeout: 900_000,
}, async () => {
  for (let first = 0; first < TAIL_CASES.length; first += GROUP) {
    const cases = TAIL_CASES.slice(first, first + GROUP)
    await runGroup(cases, [undefined, 2])
  }
  for (const one of TAIL_CASES) outcome.problems.push(...compareWithGo(one), ...compareCounts(one, 'go'))
  console.log(`seed ${SEED}: ${TAIL_CASES.length} cases, ${TAIL_CASES.length * TRACES} decisions compared`)
  expect(outcome.problems).toEqual([])
})

test(`${SHARD_CASES.length} cases keep the same traces on 1, 2 and 8 shards`, {
  timeout: 900_000,
}, async () => {
  outcome.problems.length = 0
  await runGroup(SHARD_CASES, [1, 8])
  for (const one of SHARD_CASES) {
    for (const other of ['weir with 1 shards', 'weir with 8 shards']) {
      if (Buffer.compare(keptBy(one.name, WEIR), keptBy(one.name, other)) !== 0)
        outcome.problems.push(`${one.name}: ${other} keeps other traces than with 2`)
      outcome.problems.push(...compareCounts(one, other))
    }
  }
  console.log(
    `seed ${SEED}: ${SHARD_CASES.length} cases, ${SHARD_CASES.length * TRACES * 2} decisions compared`,
  )
  expect(outcome.problems).toEqual([])
})

/** Runs the collectors side by side: the Go collector (undefined), Weir with a number of shards. */
async function runGroup(
  cases: readonly TailCase[],
  collectors: readonly (number | undefined)[],
): Promise<void> {
  const results = await runInTime(cases, collectors)
  for (const result of results) {
    const { collector } = result
    for (const one of cases) {
      const { traces, problem } = wholeTraces(traffic, one, result)
      if (problem !== undefined) outcome.problems.push(problem)
      outcome.kept.set(`${one.name} ${collector}`, traces)
      for (const { name } of one.policies as { name: string }[])
        outcome.counts.set(`${one.name}.${name} ${collector}`, countsOf(`${one.name}.${name}`, result))
    }
  }
}

/** All spans of each trace must have been there before the first moment at which it can be decided. */
async function runInTime(
  cases: readonly TailCase[],
  collectors: readonly (number | undefined)[],
): Promise<TailResult[]> {
  for (const waitS of WAITS) {
    const results = await Promise.all(collectors.map((shards) => runCases(traffic, cases, shards, waitS)))
    for (const { collector, longestTraceMs, sendingMs, peakRssMib } of results) {
      const [longest, sending] = [longestTraceMs, sendingMs].map(Math.round)
      console.log(
        `${collector}: sent in ${sending} ms, longest trace ${longest} ms, peak RSS ${peakRssMib} MiB`,
      )
    }
    if (results.every(({ longestTraceMs }) => longestTraceMs < waitS * 1000)) return results
    console.log(`too slow for a decision_wait of ${waitS} s`)
  }
  throw new Error('the spans of some traces did not come in time')
}

function keptBy(name: string, collector: string): Uint8Array {
  return outcome.kept.get(`${name} ${collector}`) ?? new Uint8Array(TRACES).fill(255)
}

/** Traces of which every span came, once; a trace that came in part is a problem. */
function wholeTraces(
  traffic: Traffic,
  one: TailCase,
  result: TailResult,
): { traces: Uint8Array; problem?: string } {
  const captured = result.captured.get(one.name)
  const traces = new Uint8Array(traffic.traces.length)
  if (captured === undefined) return { traces, problem: `${one.name}: nothing captured` }
  let broken = 0
  for (const [index, { firstSpan, spanCount }] of traffic.traces.entries()) {
    const seen = captured.seen.subarray(firstSpan, firstSpan + spanCount)
    traces[index] = seen[0] === 0 ? 0 : 1
    if (seen.some((times) => times !== traces[index])) broken++
  }
  if (broken === 0 && captured.wrong === 0) return { traces }
  return {
    traces,
    problem: `${one.name}, ${result.collector}: ${broken} traces in part, ${captured.wrong} wrong spans`,
  }
}

function compareWithGo(one: TailCase): string[] {
  const weir = keptBy(one.name, WEIR)
  const go = keptBy(one.name, 'go')
  const count = weir.reduce((sum, value) => sum + value, 0)
  const problems: string[] = []
  const wanted =
    one.keeps === 'all' ? count === TRACES : one.keeps === 'none' ? count === 0 : count > 0 && count < TRACES
  if (!wanted) problems.push(`${one.name}: keeps ${count} of ${TRACES}`)
  let differing = 0
  for (const [index, facts] of traffic.traces.entries()) {
    const decision = weir[index] ?? 0
    const possible =
      (one.within === undefined || keptBy(one.within, WEIR)[index] === 1) &&
      !one.unless?.some((name) => keptBy(name, WEIR)[index] === 1)
    const differs =
      one.nothingByGo === true
        ? decision === 1
        : possible && one.latencyMs !== undefined && differsAt(one.latencyMs, facts)
    if (differs) differing++
    if (go[index] === (differs ? 1 - decision : decision)) continue
    problems.push(
      `${one.name}: trace ${facts.id}: ${decision} by Weir, ${go[index]} by Go; ${facts.nanos} ns`,
    )
  }
  if (one.latencyMs !== undefined && differing === 0) problems.push(`${one.name}: no trace at the threshold`)
  console.log(`${one.name}: ${count} kept by Weir, ${differing} differ as expected`)
  return problems.slice(0, 10)
}

/** How often a policy of the top level said what, and how often it was asked. */
function countsOf(policy: string, { metrics }: TailResult): string {
  const decisions = ['sampled', 'not_sampled', 'dropped'].map((decision) =>
    sumOf(metrics, 'count_traces_sampled', { policy, decision }),
  )
  return [...decisions, sumOf(metrics, 'sampling_policy_execution_count', { policy })].join(' ')
}

/** The policies of a case count the same in Weir with 2 shards and in the other. */
function compareCounts(one: TailCase, other: string): string[] {
  if (other === 'go' && (one.latencyMs !== undefined || one.nothingByGo)) return []
  return (one.policies as { name: string }[]).flatMap(({ name }) => {
    const [ours, theirs] = [WEIR, other].map((collector) =>
      outcome.counts.get(`${one.name}.${name} ${collector}`),
    )
    if (ours === theirs && ours !== undefined && ours !== '0 0 0 0') return []
    return [`${one.name}.${name}: counts ${ours} by Weir, ${theirs} by ${other}`]
  })
}
