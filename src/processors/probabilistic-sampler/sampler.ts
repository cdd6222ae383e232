/**
 * Decides over one item at a time, in one of three modes.
 *
 * - hash_seed: R comes from a hash over the seed and the trace id (or an attribute); 14 bits of it count.
 *   Items that say already how they were sampled are errors.
 * - proportional: the threshold is that of the incoming probability times the ratio.
 * - equalizing: the larger one of the incoming and the configured threshold.
 *
 * The caller fills `state` and the randomness, calls judge(), and reads `sampled`, `policy` and `state`
 * again.
 */
import type { Config } from './config.ts'
import { isLess, SamplingState } from './sampling-state.ts'
import {
  ALWAYS,
  MOST_RANDOM,
  NEVER,
  probabilityOf,
  probabilityToThreshold,
  type Threshold,
  thresholdOf,
} from './threshold.ts'

/** Where the randomness or the decision came from: values of the label `policy`. */
export const POLICIES = [
  'trace_id_hash',
  'trace_id_w3c',
  'sampling_randomness',
  'sampling_priority',
  'missing_randomness',
] as const
export const TRACE_ID_HASH = 0
export const TRACE_ID_W3C = 1
export const SAMPLING_RANDOMNESS = 2
export const SAMPLING_PRIORITY = 3
export const MISSING_RANDOMNESS = 4
/** The name of the attribute is the policy. */
export const ATTRIBUTE = 5

const BUCKETS = 2 ** 14
const FNV_OFFSET = 0x811c9dc5
const FNV_PRIME = 0x01000193

export class Sampler {
  /** What the item carries, and after judge() what it has to carry when it is kept. */
  readonly state = new SamplingState()
  readonly mode: 'never' | Config['mode']
  high = 0
  low = 0
  policy: number = MISSING_RANDOMNESS
  sampled = false
  /** False when the item cannot be judged; set before judge() when its state is malformed. */
  usable = true
  /** Whether what the item carries may be rewritten. */
  writable = true
  /** Overrides the decision, after everything else. */
  priority: Threshold | undefined
  readonly #failure: Threshold
  readonly #ratio: number
  readonly #precision: number
  readonly #threshold: Threshold
  readonly #seedHash: number
  /** The last incoming threshold and its result, in proportional mode: senders have few. */
  #incomingHigh = -1
  #incomingLow = -1
  #product: Threshold = NEVER

  constructor(config: Config) {
    const percentage = Math.min(Math.fround(config.sampling_percentage), 100)
    this.#ratio = percentage / 100
    this.#precision = config.sampling_precision
    this.#failure = config.fail_closed ? NEVER : ALWAYS
    // As the Go collector computes it, in 32-bit floats and rounded down.
    const kept = Math.trunc(Math.fround(percentage * Math.fround(BUCKETS / 100)))
    const nothing = percentage === 0 || (config.mode === 'hash_seed' && kept === 0)
    this.mode = nothing ? 'never' : config.mode
    this.#threshold =
      config.mode === 'hash_seed'
        ? thresholdOf(BigInt(BUCKETS - kept) << 42n)
        : (probabilityToThreshold(this.#ratio, this.#precision) ?? NEVER)
    let hash = FNV_OFFSET
    for (let shift = 0; shift < 32; shift += 8)
      hash = Math.imul(hash ^ ((config.hash_seed >>> shift) & 255), FNV_PRIME)
    this.#seedHash = hash
  }

  /** To be called before anything else of an item. */
  begin(): void {
    this.state.clear()
    this.high = MOST_RANDOM.high
    this.low = MOST_RANDOM.low
    this.policy = this.mode === 'never' ? SAMPLING_PRIORITY : MISSING_RANDOMNESS
    this.usable = true
    this.writable = true
    this.priority = undefined
  }

  /** Takes the randomness of the hash of these bytes. */
  hash(bytes: Uint8Array, start: number, end: number, policy: number): void {
    let hash = this.#seedHash
    for (let at = start; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, FNV_PRIME)
    const bucket = hash & (BUCKETS - 1)
    const rest = hash >>> 18
    const mix = rest ^ (rest << 10)
    // 14 bits that count, 28 mixed ones, 14 of the bucket.
    this.high = ((BUCKETS - 1 - bucket) << 14) | (mix >>> 14)
    this.low = ((mix & (BUCKETS - 1)) << 14) | bucket
    this.policy = policy
  }

  /** Takes the randomness of a trace id: its last 7 bytes. */
  traceId(bytes: Uint8Array, start: number): void {
    const middle = bytes[start + 12]!
    this.high =
      (bytes[start + 9]! << 20) | (bytes[start + 10]! << 12) | (bytes[start + 11]! << 4) | (middle >>> 4)
    this.low =
      ((middle & 15) << 24) | (bytes[start + 13]! << 16) | (bytes[start + 14]! << 8) | bytes[start + 15]!
    this.policy = TRACE_ID_W3C
  }

  /** Takes the randomness that the item carries. */
  carried(): void {
    this.high = this.state.randomHigh
    this.low = this.state.randomLow
    this.policy = SAMPLING_RANDOMNESS
  }

  judge(): void {
    const state = this.state
    if (this.usable) this.#check()
    let threshold = this.usable ? this.#decide() : this.#failure
    if (this.priority !== undefined) {
      threshold = this.priority
      this.policy = SAMPLING_PRIORITY
    }
    this.sampled = !isLess(this.high, this.low, threshold.high, threshold.low)
    if (!this.sampled || !this.writable) return
    // A threshold is never lowered: the probability so far cannot rise again.
    if (state.hasThreshold && isLess(threshold.high, threshold.low, state.thresholdHigh, state.thresholdLow))
      return
    state.setThreshold(threshold.high, threshold.low)
  }

  #check(): void {
    const state = this.state
    if (this.policy === MISSING_RANDOMNESS) this.usable = false
    else if (state.hasThreshold && isLess(this.high, this.low, state.thresholdHigh, state.thresholdLow)) {
      // It should not have been kept so far: its threshold is wrong.
      state.hasThreshold = false
      this.usable = false
    }
  }

  #decide(): Threshold {
    const { state } = this
    const own = this.#threshold
    if (this.mode === 'never') return NEVER
    if (!state.hasThreshold || this.mode === 'hash_seed') return own
    if (this.mode === 'proportional') return this.#proportional(state.thresholdHigh, state.thresholdLow)
    // What the item has is not lowered: judge() sees to it that the larger one is kept.
    return isLess(own.high, own.low, state.thresholdHigh, state.thresholdLow) ? ALWAYS : own
  }

  #proportional(high: number, low: number): Threshold {
    if (high !== this.#incomingHigh || low !== this.#incomingLow) {
      this.#incomingHigh = high
      this.#incomingLow = low
      this.#product = probabilityToThreshold(probabilityOf(high, low) * this.#ratio, this.#precision) ?? NEVER
    }
    return this.#product
  }
}
