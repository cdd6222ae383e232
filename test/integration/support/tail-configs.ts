/** The policies that are compared: those of the seed, and one list or more for each policy type. */
import type { TraceFacts } from './tail-traffic.ts'

export interface TailCase {
  readonly name: string
  readonly policies: readonly object[]
  /** What must come of it, so that a comparison of nothing with nothing does not pass. */
  readonly keeps?: 'all' | 'none'
  /** 0.155 keeps no trace at all. */
  readonly nothingByGo?: boolean
  readonly settings?: object
  /** The threshold of a latency policy in it, of which 0.155 takes another view: see differsAt. */
  readonly latencyMs?: number
  /** A difference shows only in traces that this other case keeps, and none of those keeps. */
  readonly within?: string
  readonly unless?: readonly string[]
}

const policy = (type: string, block: object = {}, name: string = type) => ({ name, type, [type]: block })
const always = { name: 'always', type: 'always_sample' }
const flags = { name: 'flags', type: 'trace_flags' }
const status = (...status_codes: string[]) =>
  policy('status_code', { status_codes }, `status_${status_codes.join('_')}`)
const share = (sampling_percentage: number, hash_salt?: string) =>
  policy('probabilistic', { sampling_percentage, ...(hash_salt === undefined ? {} : { hash_salt }) })
const latency = (threshold_ms: number) => policy('latency', { threshold_ms })
const code = (block: object) => policy('numeric_attribute', { key: 'http.code', ...block })
const tier = (values: string[], block: object = {}) =>
  policy('string_attribute', { key: 'tier', values, ...block })
const canary = (value: boolean, block: object = {}) =>
  policy('boolean_attribute', { key: 'canary', value, ...block })
const state = (values: string[], key = 'vendor') => policy('trace_state', { key, values })
const spans = (block: object) => policy('span_count', block)
const not = (sub: object) => policy('not', { not_sub_policy: sub })
const and = (...subs: object[]) => policy('and', { and_sub_policy: named(subs) })
const drop = (...subs: object[]) => policy('drop', { drop_sub_policy: named(subs) })
const named = (subs: object[]) => subs.map((sub, index) => ({ ...sub, name: `sub_${index}` }))
/** A total that is never reached, so that the rates decide nothing. */
const composite = (percent: number | undefined, ...subs: object[]) =>
  policy('composite', {
    max_total_spans_per_second: 1_000_000_000,
    composite_sub_policy: named(subs),
    rate_allocation:
      percent === undefined ? [] : subs.map((_, index) => ({ policy: `sub_${index}`, percent })),
  })
const limit = { burst_capacity: 2_000_000_000 }
const regex = { enabled_regex_matching: true }
const inverted = { invert_match: true }

/**
 * Whether 0.155 sees the latency of the trace otherwise than Weir. It samples at the threshold (in whole ms,
 * cut towards zero), Weir, as later releases, above it; and it overlooks a first span without times, which
 * for Weir starts at 0.
 */
export function differsAt(thresholdMs: number, trace: TraceFacts): boolean {
  const threshold = BigInt(thresholdMs)
  const go = trace.nanosWithoutUntimedFirst / 1_000_000n >= threshold
  return go !== trace.nanos / 1_000_000n > threshold
}

const one = (name: string, ...policies: object[]): TailCase => ({ name, policies })

export const TAIL_CASES: readonly TailCase[] = [
  {
    name: 'seed',
    policies: [
      { name: 'error_sampling', type: 'status_code', status_code: { status_codes: ['ERROR'] } },
      { name: 'slow_requests', type: 'latency', latency: { threshold_ms: 1000 } },
      { name: 'random_sampling', type: 'probabilistic', probabilistic: { sampling_percentage: 10 } },
    ],
    latencyMs: 1000,
    unless: ['status-error', 'share-10'],
  },
  { ...one('always', always), keeps: 'all' },
  { ...one('latency', latency(1000)), latencyMs: 1000 },
  { ...one('latency-1', latency(1)), latencyMs: 1 },
  { ...one('latency-0', latency(0)), latencyMs: 0 },
  one('number-range', code({ min_value: 400, max_value: 500 })),
  one('number-min', code({ min_value: 500 })),
  one('number-max', code({ max_value: 4 })),
  one('number-negative-min', code({ min_value: -5 })),
  one('number-around-zero', code({ min_value: -5, max_value: 5 })),
  one('number-large', code({ min_value: Number.MAX_SAFE_INTEGER })),
  one('number-inverted', code({ min_value: 200, max_value: 499, ...inverted })),
  one('share-10', share(10)),
  one('share-salt', share(10, 'tier-2')),
  one('share-utf8', share(33.333, 's\u00e4lz')),
  one('share-small', share(0.1)),
  one('share-99.9', share(99.9, 'x'.repeat(100))),
  { ...one('share-100', share(100)), keeps: 'all' },
  { ...one('share-150', share(150)), keeps: 'all' },
  { ...one('share-0', share(0)), keeps: 'none' },
  one('status-error', status('ERROR')),
  one('status-ok', status('OK')),
  one('status-unset', status('UNSET')),
  one('status-two', status('OK', 'ERROR')),
  one('string', tier(['gold', 'g\u00f6ld'])),
  one('string-empty', tier(['', 'silver', 'x'.repeat(300)])),
  one('string-inverted', tier(['gold', 'silver', 'bronze', ''], inverted)),
  one('string-regex', tier(['^go', 'ze$'], regex)),
  one('string-regex-unanchored', tier(['old.', '(?i)GOLD$'], { ...regex, cache_max_size: 2 })),
  one('string-regex-empty', tier(['^$'], regex)),
  one('string-regex-inverted', tier(['\\p{Lu}|\\n', 'fish'], { ...regex, ...inverted })),
  {
    ...one('string-other-key', policy('string_attribute', { key: 'nowhere', values: ['gold'] })),
    keeps: 'none',
  },
  one('string-empty-key', policy('string_attribute', { key: '', values: ['gold'] })),
  one('boolean-true', canary(true)),
  one('boolean-false', canary(false)),
  one('boolean-inverted', canary(true, inverted)),
  one('boolean-false-inverted', canary(false, inverted)),
  one('state', state(['a'])),
  one('state-two', state(['b', 'c', ''])),
  one('state-tenant', state(['a', '1'], 'tenant@vendor')),
  one('flags', flags),
  one('count-min', spans({ min_spans: 6 })),
  one('count-range', spans({ min_spans: 2, max_spans: 4 })),
  one('count-max', spans({ max_spans: 2 })),
  { ...one('count-none', spans({})), keeps: 'all' },
  one('and', and(status('ERROR'), spans({ min_spans: 3 }), not(canary(true)))),
  {
    ...one('and-latency', and(latency(1000), share(50, 'and'))),
    latencyMs: 1000,
    within: 'share-and',
  },
  one('share-and', share(50, 'and')),
  one('not', not(tier(['^g'], regex))),
  { ...one('not-latency', not(latency(1000))), latencyMs: 1000 },
  one('drop', always, drop(status('ERROR'))),
  one('drop-two', share(60), drop(canary(false), not(flags)), { ...drop(state(['a'])), name: 'drop_2' }),
  { ...one('drop-alone', drop(share(50))), keeps: 'none' },
  {
    ...one(
      'first-match',
      status('ERROR'),
      share(20, 'first'),
      drop(spans({ max_spans: 1 })),
      code({ min_value: 500 }),
    ),
    settings: { sample_on_first_match: true },
  },
  one('composite', composite(30, status('ERROR'), and(flags, spans({ min_spans: 3 })), share(5, 'last'))),
  // Sub-policies without an allocation: from 0.160 on they have equal shares.
  { ...one('composite-unlisted', composite(undefined, flags, share(10))), nothingByGo: true },
  { ...one('rate', policy('rate_limiting', { spans_per_second: 1000, ...limit })), keeps: 'all' },
  { ...one('bytes', policy('bytes_limiting', { bytes_per_second: 1000, ...limit })), keeps: 'all' },
  one('several', flags, tier(['gold']), code({ min_value: 600 }), spans({ min_spans: 8 }), state(['c'])),
]

/** One case for each policy type, to be run on other numbers of shards. */
export const SHARD_CASES: readonly TailCase[] = TAIL_CASES.filter(({ name }) =>
  [
    'seed',
    'always',
    'number-range',
    'number-inverted',
    'share-10',
    'status-two',
    'string',
    'string-regex',
    'boolean-inverted',
    'state',
    'flags',
    'count-range',
    'and',
    'not-latency',
    'drop-two',
    'first-match',
    'composite',
  ].includes(name),
)
