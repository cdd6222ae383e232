import { expect, test } from 'vitest'
import { config } from './config.ts'

/** Problems as `path: message`, of one policy or of a whole config. */
function problems(raw: Record<string, unknown>): string[] {
  const whole = 'policies' in raw ? raw : { policies: [{ name: 'p', ...raw }] }
  const result = config.safeParse(whole)
  return (result.error?.issues ?? []).map((issue) => `${issue.path.join('.')}: ${issue.message}`)
}

function f(raw: Record<string, unknown>, path: string, message: string | RegExp): void {
  const found = problems(raw)
  expect(found).toHaveLength(1)
  expect(found[0]).toMatch(message)
  expect(found[0]?.startsWith(`${path}: `), found[0]).toBe(true)
}

test('defaults are those of the Go collector', () => {
  const parsed = config.parse({ policies: [{ name: 'p', type: 'always_sample' }] })
  expect(parsed).toMatchObject({
    decision_wait: 30_000,
    decision_wait_after_root_received: 0,
    num_traces: 50_000,
    decision_cache: { sampled_cache_size: 0, non_sampled_cache_size: 0 },
    sample_on_first_match: false,
    sampling_strategy: 'trace-complete',
    block_on_overflow: false,
    drop_pending_traces_on_shutdown: false,
    maximum_trace_size_bytes: 0,
  })
})

test('the forms of the documentation are taken', () => {
  const basic = { name: 'b', type: 'latency', latency: { threshold_ms: 5000, upper_threshold_ms: 10_000 } }
  const string = {
    name: 's',
    type: 'string_attribute',
    string_attribute: { key: 'k', values: ['v+', '\\d'], enabled_regex_matching: true, cache_max_size: 10 },
  }
  const not = { name: 'n', type: 'not', not: { not_sub_policy: string } }
  const composite = {
    max_total_spans_per_second: 1000,
    policy_order: ['b', 's'],
    composite_sub_policy: [basic, string, { name: 'a', type: 'and', and: { and_sub_policy: [basic, not] } }],
    rate_allocation: [{ policy: 's', percent: 50 }],
  }
  const policies = [
    basic,
    string,
    not,
    { name: 'a', type: 'and', and: { and_sub_policy: [basic, not] } },
    { name: 'd', type: 'drop', drop: { drop_sub_policy: [basic, not] } },
    { name: 'c', type: 'composite', composite },
  ]
  const more = { expected_new_traces_per_sec: 10, num_shards: 4, decision_wait_after_root_received: '5s' }
  expect(problems({ policies, ...more })).toEqual([])
})

test('mistakes are named with their place', () => {
  f({ type: 'sometimes' }, 'policies.0.type', /unknown policy type "sometimes".*always_sample/)
  f({ type: 'my_extension/1' }, 'policies.0.type', /unknown policy type/)
  f({ type: 'ottl_condition' }, 'policies.0.type', /ottl_condition is not supported/)
  f({ type: 'status_code' }, 'policies.0.status_code.status_codes', /at least one/)
  f(
    { type: 'status_code', status_code: { status_codes: ['BAD'] } },
    'policies.0.status_code.status_codes.0',
    /BAD/,
  )
  f(
    { type: 'numeric_attribute', numeric_attribute: { key: 'k' } },
    'policies.0.numeric_attribute',
    /other than 0/,
  )
  const pattern = { key: 'k', values: ['ok', '('], enabled_regex_matching: true }
  f(
    { type: 'string_attribute', string_attribute: pattern },
    'policies.0.string_attribute.values.1',
    /bad regular/,
  )
  f({ type: 'and' }, 'policies.0.and.and_sub_policy', /at least one/)
  f({ type: 'not' }, 'policies.0.not.not_sub_policy', /needed/)
  const nested = { and_sub_policy: [{ name: 'x', type: 'and' }] }
  f({ type: 'and', and: nested }, 'policies.0.and.and_sub_policy.0.type', /unknown policy type "and" here/)
  const deep = { not_sub_policy: { name: 'x', type: 'status_code' } }
  const path = 'policies.0.drop.drop_sub_policy.0.not.not_sub_policy.status_code.status_codes'
  f(
    { type: 'drop', drop: { drop_sub_policy: [{ name: 'n', type: 'not', not: deep }] } },
    path,
    /at least one/,
  )
  const composite = {
    composite_sub_policy: [{ name: 'a', type: 'always_sample' }],
    rate_allocation: [{ policy: 'b' }],
  }
  f(
    { type: 'composite', composite },
    'policies.0.composite.rate_allocation.0.policy',
    /no sub-policy named "b"/,
  )
})

test('mistakes around the policies', () => {
  const one = { name: 'p', type: 'always_sample' }
  const policies = [one]
  f({ policies: [] }, 'policies', /at least one/)
  f({ policies: [{ type: 'always_sample' }] }, 'policies.0.name', /needs a name/)
  f({ policies: [one, one] }, 'policies.1.name', /another policy named "p"/)
  f({ policies, decision_wait: '-1s' }, 'decision_wait', /expected 0 to 168h/)
  f({ policies, decision_wait: 'soon' }, 'decision_wait', /duration/)
  f({ policies, num_traces: 0 }, 'num_traces', /.*/)
  f({ policies, sampling_strategy: 'later' }, 'sampling_strategy', /trace-complete/)
  f({ policies, tail_storage: 'file_storage' }, 'tail_storage', /not supported/)
  f({ policies: [{ ...one, ottl_condition: {} }] }, 'policies.0.ottl_condition', /not supported/)
  expect(problems({ policies, tail_sampling_wait: 1 })[0]).toMatch(/tail_sampling_wait/)
})

test('span-ingest takes stateless policies only', () => {
  const g = (policy: Record<string, unknown>, stateful: boolean) => {
    const found = problems({ sampling_strategy: 'span-ingest', policies: [{ name: 'p', ...policy }] })
    expect(found.filter((text) => text.startsWith('policies.0.type: sampling_strategy'))).toHaveLength(
      stateful ? 1 : 0,
    )
  }
  const rate = { name: 'r', type: 'rate_limiting', rate_limiting: { spans_per_second: 1 } }
  g({ type: 'latency', latency: { threshold_ms: 1 } }, false)
  g({ type: 'latency', latency: { threshold_ms: 1, upper_threshold_ms: 2 } }, true)
  g({ type: 'span_count', span_count: { min_spans: 1 } }, false)
  g({ type: 'span_count', span_count: { min_spans: 1, max_spans: 2 } }, true)
  g(rate, true)
  g({ type: 'bytes_limiting', bytes_limiting: { bytes_per_second: 1 } }, true)
  g({ type: 'and', and: { and_sub_policy: [rate] } }, true)
  g({ type: 'drop', drop: { drop_sub_policy: [rate] } }, true)
  g({ type: 'not', not: { not_sub_policy: rate } }, true)
  g({ type: 'composite', composite: { composite_sub_policy: [rate] } }, true)
  g({ type: 'composite', composite: { composite_sub_policy: [{ name: 'a', type: 'always_sample' }] } }, false)
})
