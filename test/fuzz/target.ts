/**
 * What can be fuzzed, and how: inputs that come from a seed, and the judge of each. An input is one run of bytes that says all, so
 * that one that was found can be kept in corpus/<target>/ under a name and be run again.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Draw } from './draw.ts'

export interface Target {
  /** An input made or mutated; `pool` holds inputs that were accepted, which mutate further. */
  next(draw: Draw, pool: readonly Uint8Array[]): Uint8Array
  /** What the pool begins with. */
  seeds(draw: Draw): Uint8Array[]
  /** Runs one: true = accepted, false = refused as it should be. What is thrown is a finding. */
  run(input: Uint8Array): boolean | Promise<boolean>
}

export interface Finding {
  readonly error: string
  readonly input: Uint8Array
}

export interface FuzzResult {
  readonly target: string
  readonly seed: number
  readonly inputs: number
  readonly accepted: number
  readonly seconds: number
  readonly slowestMs: number
  /** From the end of the warm-up to the end, and to the highest point, in MB. */
  readonly rssGrowthMb: number
  readonly rssPeakGrowthMb: number
  /** The same of what is held: heap and buffers after a collection. A leak shows here, whatever the allocator keeps back. */
  readonly heldGrowthMb: number
  readonly findings: readonly Finding[]
}

/** An input that takes longer, twice, is a finding. */
const SLOW_MS = 1000
const MAX_FINDINGS = 5
const POOL = 400
const MAX_INPUT_BYTES = 16 * 1024
/**
 * The part of the inputs after which the memory is measured first. By then the caches have been full once: prepared resources and scopes
 * of the Prometheus exporters, 1024 of each, are the largest.
 */
const WARM_UP = 0.25

const CORPUS = join(import.meta.dirname, 'corpus')

/** The inputs that are kept for a target, by their names; `.hex` files hold them as hexadecimal text. */
export function keptInputs(target: string): Map<string, Uint8Array> {
  const folder = join(CORPUS, target)
  const kept = new Map<string, Uint8Array>()
  let names: string[] = []
  try {
    names = readdirSync(folder).sort()
  } catch {
    return kept
  }
  for (const name of names) {
    const content = readFileSync(join(folder, name))
    kept.set(
      name,
      name.endsWith('.hex') ? Buffer.from(content.toString().replace(/\s/g, ''), 'hex') : content,
    )
  }
  return kept
}

export interface FuzzOptions {
  readonly name: string
  readonly seed: number
  readonly count: number
  /** Called before each input, for a watch from outside. */
  readonly onInput?: ((input: Uint8Array) => void) | undefined
  readonly onProgress?: ((inputs: number) => void) | undefined
  /** It ends then, whatever the count. */
  readonly limitSeconds?: number | undefined
}

export async function fuzzTarget(target: Target, options: FuzzOptions): Promise<FuzzResult> {
  const { name, seed, count } = options
  const draw = new Draw(seed)
  const pool = [...keptInputs(name).values(), ...target.seeds(draw)]
  const findings: Finding[] = []
  let current: Uint8Array = new Uint8Array(0)
  const unhandled = (reason: unknown): void => {
    findings.push({ error: `unhandled: ${textOf(reason)}`, input: current })
  }
  process.on('unhandledRejection', unhandled)
  const startMs = performance.now()
  const limitMs = (options.limitSeconds ?? Number.POSITIVE_INFINITY) * 1000
  let accepted = 0
  let slowestMs = 0
  let inputs = 0
  let baseMb = Number.NaN
  let heldBaseMb = Number.NaN
  let peakMb = 0
  for (; inputs < count && findings.length < MAX_FINDINGS; ) {
    current = target.next(draw, pool)
    options.onInput?.(current)
    const beganMs = performance.now()
    try {
      const outcome = target.run(current)
      if (typeof outcome === 'boolean' ? outcome : await outcome) {
        accepted++
        if (current.length <= MAX_INPUT_BYTES && draw.chance(0.05)) grow(pool, current, draw)
      }
    } catch (error) {
      findings.push({ error: textOf(error), input: current })
    }
    const tookMs = performance.now() - beganMs
    inputs++
    slowestMs = Math.max(slowestMs, tookMs)
    if (tookMs > SLOW_MS) {
      const againMs = await tookAgain(target, current)
      if (againMs > SLOW_MS) findings.push({ error: `took ${Math.round(againMs)} ms`, input: current })
    }
    const warm = inputs >= count * WARM_UP || performance.now() - startMs > limitMs * WARM_UP
    if (warm && Number.isNaN(baseMb)) {
      baseMb = rssMb()
      heldBaseMb = heldMb()
    }
    if (inputs % 512 === 0 && performance.now() - startMs > limitMs) break
    if (inputs % 4096 === 0) {
      await new Promise((resolve) => setImmediate(resolve))
      peakMb = Math.max(peakMb, process.memoryUsage.rss() / 2 ** 20)
      options.onProgress?.(inputs)
    }
  }
  await new Promise((resolve) => setImmediate(resolve))
  process.off('unhandledRejection', unhandled)
  const endMb = rssMb()
  return {
    target: name,
    seed,
    inputs,
    accepted,
    seconds: Math.round((performance.now() - startMs) / 100) / 10,
    slowestMs: Math.round(slowestMs),
    rssGrowthMb: Math.round(endMb - baseMb),
    rssPeakGrowthMb: Math.round(Math.max(peakMb, endMb) - baseMb),
    heldGrowthMb: Math.round((heldMb() - heldBaseMb) * 10) / 10,
    findings,
  }
}

/** On a machine that is busy with other work an input may wait long, but hardly twice. */
async function tookAgain(target: Target, input: Uint8Array): Promise<number> {
  const beganMs = performance.now()
  try {
    await target.run(input)
  } catch {} // What it throws has been told.
  return performance.now() - beganMs
}

/** The pool has an end: a new one takes the place of an old one, but never of those that are kept. */
function grow(pool: Uint8Array[], input: Uint8Array, draw: Draw): void {
  if (pool.length < POOL) pool.push(Uint8Array.from(input))
  else pool[POOL / 2 + draw.below(POOL / 2)] = Uint8Array.from(input)
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

function rssMb(): number {
  globalThis.gc?.()
  globalThis.gc?.() // Buffers that the first one found to be garbage are freed by the next.
  return process.memoryUsage.rss() / 2 ** 20
}

/** To be called after rssMb(), which collects. */
function heldMb(): number {
  const { heapUsed, external } = process.memoryUsage()
  return (heapUsed + external) / 2 ** 20
}
