/**
 * How long does a replay of 1,000,000 recorded spans take, through one and through two configurations of
 * tail sampling, and how much memory?
 *
 *     node --expose-gc bench/micro/replay.ts [SPANS]
 *
 * The recording lies in a file of length-prefixed protobuf; reading and checking it is part of the time.
 * One round warms up. The traces kept are compared from round to round.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { config as schema } from '../../src/processors/tail-sampling/config.ts'
import { replay } from '../../src/replay/replay.ts'
import { printMachine } from '../support/micro.ts'
import { writeRecording } from '../support/recording.ts'

const SPANS = Number(process.argv[2] ?? 1_000_000)
const ROUNDS = 3

const policies = (percentage: number) =>
  schema.parse({
    decision_wait: '10s',
    policies: [
      { name: 'errors', type: 'status_code', status_code: { status_codes: ['ERROR'] } },
      { name: 'slow', type: 'latency', latency: { threshold_ms: 1000 } },
      { name: 'some', type: 'probabilistic', probabilistic: { sampling_percentage: percentage } },
    ],
  })
const a = { id: 'tail_sampling', source: 'a', config: policies(10) }
const b = { id: 'tail_sampling', source: 'b', config: policies(5) }

printMachine()
const folder = mkdtempSync(join(tmpdir(), 'weir-replay-'))
const file = join(folder, 'recorded.otlp')
writeRecording(file, SPANS)
console.log(`${SPANS} spans, ${(statSync(file).size / 1e6).toFixed(0)} MB`)
for (const configs of [[a], [a, b]]) {
  const times: number[] = []
  let kept = -1
  for (let round = 0; round <= ROUNDS; round++) {
    const before = process.cpuUsage()
    const { summary } = await replay({ recordings: [{ name: file, files: [file] }], configs })
    const { user, system } = process.cpuUsage(before)
    if (round > 0) times.push((user + system) / 1e6)
    const traces = summary.configs[0]?.kept.traces ?? 0
    if (kept >= 0 && traces !== kept) throw new Error(`kept ${traces} traces, before ${kept}`)
    kept = traces
  }
  times.sort((x, y) => x - y)
  const [least = 0, middle = 0, most = 0] = times
  console.log(
    `replay, ${configs.length} configuration(s): median ${middle.toFixed(2)} s (${least.toFixed(2)} to ${most.toFixed(2)}), kept ${kept} traces`,
  )
}
console.log(`peak RSS ${Math.round(process.resourceUsage().maxRSS / 1024)} MiB`)
rmSync(folder, { recursive: true })
