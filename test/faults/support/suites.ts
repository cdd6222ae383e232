/**
 * What a full run of the fault bench is made of, in its order: what ends soon comes first. Suites in one
 * group run at the same time: they claim books and not rates, answer times or the memory of the machine.
 *
 * `minutes` was measured on two cores that did nothing else.
 */
import type { Result } from './settings.ts'

export interface Suite {
  /** The name of its row, where it has one only. What --only looks for. */
  readonly name: string
  readonly minutes: number
  /** For vitest: files in test/faults, and the beginning of the title of one test. */
  readonly files?: readonly string[]
  readonly title?: string
  /** Or another command, with what it gets for a full run and for a short one. */
  readonly script?: Script
  readonly environment?: Readonly<Record<string, string>>
}

export interface Script {
  readonly command: readonly string[]
  readonly full: readonly string[]
  readonly short: readonly string[]
  /** It takes the seed as `--seed`. */
  readonly seeded?: boolean
  /** Its result, where it does not report one itself. */
  readonly read?: (output: string) => Omit<Result, 'suite'> | undefined
}

const of =
  (file: string) =>
  (name: string, title: string, minutes: number, runs?: number): Suite => ({
    ...{ name, minutes, files: [`${file}.test.ts`], title },
    ...(runs !== undefined && { environment: { WEIR_RUNS: String(runs) } }),
  })
const storage = of('storage')
const operation = of('operation')
const network = of('network')
const outage = of('outage')
const kill = of('kill')
const reload = of('reload')

const FLOODS: Script = {
  command: [process.execPath, 'bench/load/floods.ts'],
  full: [],
  short: ['--connections', '300', '--rounds', '1', '--seconds', '1', '--no-write'],
}

interface FuzzLine {
  readonly target: string
  readonly inputs: number
  readonly findings?: readonly { readonly error: string }[]
  readonly rssGrowthMb?: number
  /** Of heap and buffers. */
  readonly heldGrowthMb?: number
}

/** Lines of JSON, one for each target, and one for all of them. */
function readFuzz(output: string): Omit<Result, 'suite'> | undefined {
  const lines = output.split('\n').filter((line) => line.startsWith('{"target"'))
  const targets = lines.map((line) => JSON.parse(line) as FuzzLine).filter(({ target }) => target !== 'all')
  if (targets.length === 0) return undefined
  const inputs = targets.reduce((sum, each) => sum + each.inputs, 0)
  const errors = targets.flatMap(({ target, findings = [] }) =>
    findings.map(({ error }) => `${target}: ${error.split('\n')[0]}`),
  )
  const grown = targets.map(
    ({ target, rssGrowthMb = 0, heldGrowthMb = 0 }) =>
      `${target} ${Math.round(rssGrowthMb)} (${Math.round(heldGrowthMb)})`,
  )
  return {
    faults: `${inputs} inputs`,
    counts: {
      findings: errors.length,
      ...(errors[0] !== undefined && { first: errors[0] }),
      'growth of RSS (of heap and buffers) in MB:': grown.join(', '),
    },
  }
}

const alone = (name: string, minutes: number, ...files: string[]): Suite => ({
  ...{ name, minutes },
  files: files.map((file) => `${file}.test.ts`),
})

export const GROUPS: readonly (readonly Suite[])[] = [
  [
    alone('power cut, fsync: true', 2.3, 'power-cut'),
    storage('corruptions of the log', 'corruptions', 0.3, 500),
    storage('random lives of the log', 'random lives', 0.5, 500),
    storage('power cuts of the log alone', 'power cuts', 0.5, 500),
  ],
  [operation('disk full (8 MiB)', 'a full disk', 0.3)],
  [alone('disk smaller than a file', 0.5, 'small-disk')],
  [operation('SIGTERM, slow backend', 'SIGTERM under load', 1.2)],
  [operation('SIGTERM, hung backend, storage', 'SIGTERM with a hung', 1.5)],
  [operation('wall clock +-1 h', 'the wall clock', 0.7)],
  [operation('hung branch of a fan-out', 'a backend that is stopped', 0.8)],
  [alone('death of a shard', 0.7, 'shards')],
  [alone('the shard of the next stage is down', 0.5, 'kept')],
  [alone('requests that end their shard', 0.5, 'parked')],
  [
    network('bad network, otlp_http', 'a bad network between the HTTP', 0.8),
    network('scripted backend, otlp_http', 'an HTTP backend', 0.8),
  ],
  [
    network('bad network, otlp_grpc', 'a bad network between the gRPC', 0.8),
    network('scripted backend, otlp_grpc', 'a gRPC backend', 0.8),
  ],
  [
    alone(
      'hostile clients and backends, full queues',
      0.7,
      ...['sending', 'connections', 'http2-floods', 'bombs', 'hostile-backends'],
    ),
  ],
  [reload('reload every 2 s', '\\d+ reloads', 3.7)],
  [reload('what lives on through a reload', 'a (trace that is half|queue that waits|changed exporter)', 0.3)],
  [kill('kill -9 in quick succession', 'killed \\d+ times in quick', 1)],
  [kill('kill -9', 'killed \\d+ times under', 8)],
  [outage('backend down, memory limit of 1000 MiB', 'the memory limiter', 5.4)],
  [
    outage('backend down, queue of 50 requests', 'a full queue', 5.2),
    outage('remote write receiver down', 'remote write: every', 5.2),
    outage('remote write receiver down, batch in front of a small queue', 'remote write behind batch', 5.2),
  ],
  [{ name: 'floods and 10000 connections', minutes: 15, script: FLOODS }],
  [kill('kill -9, Go collector for comparison', 'the Go collector', 1.5)],
  [
    {
      name: 'fuzzing',
      minutes: 12,
      script: {
        command: ['npm', 'run', '--silent', 'fuzz', '--'], // It sets how memory is given back.
        full: ['--full'],
        short: ['--count', '10000'],
        seeded: true,
        read: readFuzz,
      },
    },
  ],
]
