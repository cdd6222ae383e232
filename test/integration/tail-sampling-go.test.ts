/**
 * Tail sampling agrees with the Go collector 0.155, trace by trace, and with itself on 1, 2 and 8 shards.
 *
 * Scenario: the same generated requests, over 8 connections of gRPC and HTTP, to both; the same YAML with one pipeline for each
 * case of tail-configs.ts; both export to a backend of the test. Guarantee: the same traces are kept, each span of them arrives
 * exactly once under its own trace, resource and scope, and no span of another; the policies count the same. The one difference (latency at
 * its threshold, docs/tail-sampling.md) is asserted for exactly the traces that it is expected for.
 *
 * TAIL_SEED and TAIL_TRACES set the seed and the number of traces.
 */
import { expect, test } from 'vitest'
import { TAIL_CASES, type TailCase } from './support/tail-configs.ts'
import { DECISION_WAIT_S, runCases, sumOf, type TailResult } from './support/tail-run.ts'
import { makeTraffic, type Traffic } from './support/tail-traffic.ts'

const SEED = Number(process.env['TAIL_SEED'] ?? Math.floor(Date.now() / 1000) % 1_000_000)
const TRACES = Number(process.env['TAIL_TRACES'] ?? 20_000)
/** Cases that run side by side in one process: the Go collector holds about 2 KB a span for each. */
const GROUP = 15

test('keeps the same traces as the Go collector, on 1, 2 and 8 shards', { timeout: 600_000 }, async () => {
  const traffic = makeTraffic(SEED, TRACES)
  const { requests, traceOf } = traffic
  console.log(
    `seed ${SEED}: ${TRACES} traces, ${traceOf.length} spans, ${requests.length} requests, ${TAIL_CASES.length} cases`,
  )
  const kept = new Map<string, Uint8Array>()
  let compared = 0
  const problems: string[] = []
  for (let first = 0; first < TAIL_CASES.length; first += GROUP) {
    const cases = TAIL_CASES.slice(first, first + GROUP)
    const results = await runGroup(traffic, cases)
    for (const result of results) {
      for (const one of cases) {
        const { traces, problem } = wholeTraces(traffic, one, result)
        if (problem !== undefined) problems.push(problem)
        kept.set(`${one.name} ${result.collector}`, traces)
        compared += TRACES
      }
    }
    problems.push(...policyCounts(cases, results))
  }
  for (const one of TAIL_CASES) problems.push(...compare(traffic, one, kept))
  console.log(`seed ${SEED}: ${compared} decisions of ${TAIL_CASES.length} cases compared`)
  expect(problems).toEqual([])
})

/** Everything gets the traffic one after the other, and decides while the next is loaded. */
async function runGroup(traffic: Traffic, cases: readonly TailCase[]): Promise<TailResult[]> {
  const results = [undefined, 1, 2, 8].map((shards) => runCases(traffic, cases, shards))
  const all = await Promise.all(results)
  for (const { collector, longestTraceMs, sendingMs, peakRssMib } of all) {
    const [longest, sending] = [longestTraceMs, sendingMs].map(Math.round)
    console.log(
      `${collector}: sent in ${sending} ms, longest trace ${longest} ms, peak RSS ${peakRssMib} MiB`,
    )
    // All spans of each trace were there before the first moment at which it can be decided.
    expect(longestTraceMs).toBeLessThan(DECISION_WAIT_S * 1000)
  }
  return all
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

function compare(traffic: Traffic, one: TailCase, kept: ReadonlyMap<string, Uint8Array>): string[] {
  const of = (name: string, collector: string) => kept.get(`${name} ${collector}`) ?? new Uint8Array()
  const weir = of(one.name, 'weir with 2 shards')
  const go = of(one.name, 'go')
  const count = weir.reduce((sum, value) => sum + value, 0)
  const problems: string[] = []
  const want =
    one.keeps === 'all' ? count === TRACES : one.keeps === 'none' ? count === 0 : count > 0 && count < TRACES
  if (!want) problems.push(`${one.name}: keeps ${count} of ${TRACES}`)
  for (const shards of [1, 8]) {
    const other = of(one.name, `weir with ${shards} shards`)
    if (Buffer.compare(weir, other) !== 0)
      problems.push(`${one.name}: ${shards} shards decide otherwise than 2`)
  }
  let differing = 0
  for (const [index, facts] of traffic.traces.entries()) {
    const decision = weir[index] ?? 0
    const possible = one.within === undefined || of(one.within, 'weir with 2 shards')[index] === 1
    const differs = possible && decision === (one.turned ? 1 : 0) && (one.onlyGoSamples?.(facts) ?? false)
    if (differs) differing++
    if (go[index] === (differs ? 1 - decision : decision)) continue
    problems.push(
      `${one.name}: trace ${facts.id} weir ${decision} go ${go[index]}, ${facts.nanos} ns, ${facts.spanCount} spans`,
    )
  }
  if (one.onlyGoSamples !== undefined && differing === 0)
    problems.push(`${one.name}: no trace at the threshold`)
  console.log(`${one.name}: ${count} kept by Weir, ${differing} differ as expected`)
  return problems.slice(0, 10)
}

/** What each policy of the top level said, and how often it was asked, is the same in all results. */
function policyCounts(cases: readonly TailCase[], results: readonly TailResult[]): string[] {
  const problems: string[] = []
  for (const one of cases) {
    if (one.onlyGoSamples !== undefined) continue
    for (const { name } of one.policies as { name: string }[]) {
      const policy = `${one.name}.${name}`
      const lines = results.map(({ metrics }) =>
        [
          ...['sampled', 'not_sampled', 'dropped'].map((decision) =>
            sumOf(metrics, 'count_traces_sampled', { policy, decision }),
          ),
          sumOf(metrics, 'sampling_policy_execution_count', { policy }),
        ].join(' '),
      )
      if (new Set(lines).size !== 1 || lines[0] === '0 0 0 0')
        problems.push(`${policy}: ${lines.join(' | ')}`)
    }
  }
  return problems
}
