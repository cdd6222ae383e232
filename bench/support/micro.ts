/** Rounds of a micro bench: the sides take turns, CPU of the process (garbage collection included) an item, median and spread. */
import { execFileSync } from 'node:child_process'
import os from 'node:os'
import { median } from './statistics.ts'

const ROUNDS = 7
const ROUND_MS = 200

/** Machine, Node and commit: what every bench says first. */
export function printMachine(): void {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  console.log(`${os.cpus()[0]?.model}, ${os.cpus().length} cores, Node ${process.version}, commit ${commit}`)
}

/** Each side does some work and returns how many items it was for. `what` names an item. */
export async function compareSides(
  what: string,
  sides: Readonly<Record<string, () => number | Promise<number>>>,
): Promise<void> {
  const figures = new Map(Object.keys(sides).map((name) => [name, [] as number[]]))
  for (let round = -1; round < ROUNDS; round++) {
    for (const [name, run] of Object.entries(sides)) {
      const untilMs = performance.now() + ROUND_MS
      const before = process.cpuUsage()
      let items = 0
      while (performance.now() < untilMs) for (let turn = 0; turn < 5; turn++) items += await run()
      const { user, system } = process.cpuUsage(before)
      if (round >= 0) figures.get(name)?.push((user + system) / items) // The first round warms up.
    }
  }
  for (const [name, values] of figures) {
    const range = `(${Math.min(...values).toFixed(4)} to ${Math.max(...values).toFixed(4)})`
    console.log(`${name}: ${median(values).toFixed(4)} us/${what} ${range}`)
  }
}
