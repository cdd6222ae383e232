/**
 * How property tests run: WEIR_SEED repeats a run, WEIR_RUNS makes it longer. The seed is printed, so that a
 * failure on another machine can be repeated.
 */
const seed = process.env['WEIR_SEED'] === undefined ? Date.now() % 2 ** 31 : Number(process.env['WEIR_SEED'])
const numRuns = Number(process.env['WEIR_RUNS'] ?? 100)

console.log(`property tests: WEIR_SEED=${seed} WEIR_RUNS=${numRuns}`)

export const RUN = { seed, numRuns }
