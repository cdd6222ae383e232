/**
 * How long the fault bench runs. `npm run test:faults -- --full` runs whole lists (WEIR_FULL=1); otherwise a
 * seeded part of each runs with the other tests. WEIR_SEED repeats a schedule. A suite reports what it did
 * in one line, which a full run collects (run.ts).
 */
import { appendFileSync } from 'node:fs'

export const FULL = process.env['WEIR_FULL'] === '1'
export const SEED = Number(process.env['WEIR_SEED'] ?? 1)

export const times = (part: number, whole: number): number => (FULL ? whole : part)

export interface Result {
  readonly suite: string
  /** How often the fault struck. */
  readonly faults: string
  /** What was counted. */
  readonly counts: Readonly<Record<string, number | string>>
}

/** Prints the result and hands it to the runner. */
export function report(suite: string, faults: string, counts: Result['counts']): void {
  const result: Result = { suite, faults, counts }
  const text = Object.entries(counts).map(([name, count]) => `${name} ${count}`)
  console.log(`${suite} (seed ${SEED}): ${faults}; ${text.join(', ')}`)
  const path = process.env['WEIR_FAULT_RESULTS']
  if (path !== undefined) appendFileSync(path, `${JSON.stringify(result)}\n`)
}

/** Says how far a long case is; in the short form nobody waits for it. */
export function progress(text: string): void {
  if (FULL) process.stderr.write(`${text}\n`)
}

/** Median, 95th percentile and most, in whole numbers. */
export function spread(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number) => Math.round(sorted[Math.ceil(share * sorted.length) - 1] ?? 0)
  return `${at(0.5)}/${at(0.95)}/${at(1)}`
}
