/**
 * Config of `tail_sampling`: the fields and defaults of the Go collector, checked as it checks them, and a
 * little more.
 */
import { z } from 'zod'
import { duration, harmless, refused } from '../../config/fields.ts'
import { compileRe2 } from '../../config/re2.ts'
import { toError } from '../../errors.ts'

/** Decisions may lie this far ahead; the ring of seconds is as long as the wait. */
const LONGEST_WAIT_MS = 7 * 24 * 3600 * 1000
const OTTL = 'OTTL conditions are not built'

const BASIC_TYPES = [
  'always_sample',
  'latency',
  'numeric_attribute',
  'probabilistic',
  'status_code',
  'string_attribute',
  'boolean_attribute',
  'trace_state',
  'trace_flags',
  'rate_limiting',
  'bytes_limiting',
  'span_count',
]
const AND_SUB_TYPES = [...BASIC_TYPES, 'not']
const COMPOSITE_SUB_TYPES = [...BASIC_TYPES, 'and']
const TOP_TYPES = [...BASIC_TYPES, 'and', 'not', 'drop', 'composite']

const STATUS_CODES = ['OK', 'ERROR', 'UNSET']

/** For editors; the check below has better words. */
const oneOf = (words: readonly string[]) => z.string().meta({ enum: [...words] })

const count = () => z.int().min(0)
const basicFields = {
  name: z.string().default(''),
  type: oneOf(BASIC_TYPES),
  latency: z
    .strictObject({ threshold_ms: count().default(0), upper_threshold_ms: count().default(0) })
    .prefault({}),
  numeric_attribute: z
    .strictObject({
      key: z.string().default(''),
      min_value: z.int().default(0),
      max_value: z.int().default(0),
      invert_match: z.boolean().default(false),
    })
    .prefault({}),
  probabilistic: z
    .strictObject({ hash_salt: z.string().default(''), sampling_percentage: z.number().default(0) })
    .prefault({}),
  status_code: z.strictObject({ status_codes: z.array(oneOf(STATUS_CODES)).default([]) }).prefault({}),
  string_attribute: z
    .strictObject({
      key: z.string().default(''),
      values: z.array(z.string()).default([]),
      enabled_regex_matching: z.boolean().default(false),
      cache_max_size: z.int().default(0),
      invert_match: z.boolean().default(false),
    })
    .prefault({}),
  boolean_attribute: z
    .strictObject({
      key: z.string().default(''),
      value: z.boolean().default(false),
      invert_match: z.boolean().default(false),
    })
    .prefault({}),
  trace_state: z
    .strictObject({ key: z.string().default(''), values: z.array(z.string()).default([]) })
    .prefault({}),
  rate_limiting: z
    .strictObject({ spans_per_second: count().default(0), burst_capacity: count().default(0) })
    .prefault({}),
  bytes_limiting: z
    .strictObject({ bytes_per_second: count().default(0), burst_capacity: count().default(0) })
    .prefault({}),
  span_count: z.strictObject({ min_spans: count().default(0), max_spans: count().default(0) }).prefault({}),
  ottl_condition: refused(OTTL),
}

const basicPolicy = z.strictObject(basicFields)
const not = z.strictObject({ not_sub_policy: basicPolicy.optional() }).prefault({})
const andSubPolicy = z.strictObject({ ...basicFields, type: oneOf(AND_SUB_TYPES), not })
const and = z.strictObject({ and_sub_policy: z.array(andSubPolicy).default([]) }).prefault({})
const compositeSubPolicy = z.strictObject({ ...basicFields, type: oneOf(COMPOSITE_SUB_TYPES), and })
const composite = z
  .strictObject({
    max_total_spans_per_second: count().default(0),
    policy_order: harmless(
      'sub-policies are tried in the order of composite_sub_policy',
      z.array(z.string()),
    ),
    composite_sub_policy: z.array(compositeSubPolicy).default([]),
    rate_allocation: z.array(z.strictObject({ policy: z.string(), percent: count().default(0) })).default([]),
  })
  .prefault({})
const drop = z.strictObject({ drop_sub_policy: z.array(andSubPolicy).default([]) }).prefault({})
const topPolicy = z.strictObject({ ...basicFields, type: oneOf(TOP_TYPES), composite, and, not, drop })

export type BasicPolicy = z.output<typeof basicPolicy>
export type AndSubPolicy = z.output<typeof andSubPolicy>
export type CompositeSubPolicy = z.output<typeof compositeSubPolicy>
export type Policy = z.output<typeof topPolicy>
/** A policy of any level; blocks that its level does not have are absent. */
export type AnyPolicy = BasicPolicy & Partial<Pick<Policy, 'composite' | 'and' | 'not' | 'drop'>>

type Path = readonly (string | number)[]
type Issue = (path: Path, message: string) => void

export const config = z
  .strictObject({
    policies: z.array(topPolicy).min(1, 'at least one policy is needed'),
    decision_wait: waitTime().prefault('30s'),
    decision_wait_after_root_received: waitTime().prefault('0s'),
    num_traces: z.int().min(1).max(100_000_000).default(50_000),
    expected_new_traces_per_sec: harmless('the tables grow as they need', z.int().min(0)),
    decision_cache: z
      .strictObject({
        sampled_cache_size: count().max(1_000_000_000).default(0),
        non_sampled_cache_size: count().max(1_000_000_000).default(0),
      })
      .prefault({}),
    sample_on_first_match: z.boolean().default(false),
    sampling_strategy: z.enum(['trace-complete', 'span-ingest']).default('trace-complete'),
    block_on_overflow: z.boolean().default(false),
    drop_pending_traces_on_shutdown: z.boolean().default(false),
    maximum_trace_size_bytes: count()
      .max(2 ** 31 - 1)
      .default(0),
    num_shards: harmless('service.shards sets how many threads share the work', z.int().min(0).max(256)),
    tail_storage: refused('spans are held in memory'),
  })
  .superRefine((value, context) => {
    const issue: Issue = (path, message) => context.addIssue({ code: 'custom', path: [...path], message })
    const names = new Set<string>()
    for (const [index, policy] of value.policies.entries()) {
      const path = ['policies', index]
      if (policy.name === '') issue([...path, 'name'], 'a policy needs a name')
      else if (names.has(policy.name))
        issue([...path, 'name'], `there is another policy named "${policy.name}"`)
      names.add(policy.name)
      checkPolicy(policy, TOP_TYPES, path, issue)
      if (value.sampling_strategy === 'span-ingest' && isStateful(policy))
        issue([...path, 'type'], 'sampling_strategy span-ingest takes stateless policies only')
    }
  })

export type Config = z.output<typeof config>

function waitTime() {
  return duration().refine((ms) => ms >= 0 && ms <= LONGEST_WAIT_MS, { error: 'expected 0 to 168h' })
}

function checkPolicy(policy: AnyPolicy, types: readonly string[], path: Path, issue: Issue): void {
  const block = [...path, policy.type]
  if (policy.type === 'ottl_condition')
    issue([...path, 'type'], `policy type ottl_condition is not supported: ${OTTL}`)
  else if (!types.includes(policy.type))
    issue([...path, 'type'], `unknown policy type "${policy.type}" here; known: ${types.join(', ')}`)
  else if (policy.type === 'and')
    checkSubPolicies(policy.and?.and_sub_policy, AND_SUB_TYPES, [...block, 'and_sub_policy'], issue)
  else if (policy.type === 'drop')
    checkSubPolicies(policy.drop?.drop_sub_policy, AND_SUB_TYPES, [...block, 'drop_sub_policy'], issue)
  else if (policy.type === 'composite') checkComposite(policy, block, issue)
  else if (policy.type === 'not') {
    const sub = policy.not?.not_sub_policy
    if (sub === undefined) issue([...block, 'not_sub_policy'], 'a policy to invert is needed')
    else checkPolicy(sub, BASIC_TYPES, [...block, 'not_sub_policy'], issue)
  } else checkBasic(policy, block, issue)
}

function checkSubPolicies(
  policies: readonly AnyPolicy[] | undefined,
  types: readonly string[],
  path: Path,
  issue: Issue,
): void {
  if (policies === undefined || policies.length === 0) issue(path, 'at least one policy is needed')
  for (const [index, policy] of (policies ?? []).entries())
    checkPolicy(policy, types, [...path, index], issue)
}

function checkComposite(policy: AnyPolicy, block: Path, issue: Issue): void {
  const subs = policy.composite?.composite_sub_policy ?? []
  checkSubPolicies(subs, COMPOSITE_SUB_TYPES, [...block, 'composite_sub_policy'], issue)
  for (const [index, { policy: name }] of (policy.composite?.rate_allocation ?? []).entries()) {
    if (!subs.some((sub) => sub.name === name))
      issue([...block, 'rate_allocation', index, 'policy'], `there is no sub-policy named "${name}"`)
  }
}

function checkBasic(policy: BasicPolicy, block: Path, issue: Issue): void {
  const type = policy.type
  if (type === 'numeric_attribute') {
    const { min_value, max_value } = policy.numeric_attribute
    if (min_value === 0 && max_value === 0)
      issue(block, 'min_value or max_value must be other than 0 (0 means not set)')
  }
  if (type === 'status_code') {
    const codes = policy.status_code.status_codes
    if (codes.length === 0) issue([...block, 'status_codes'], 'at least one status code is needed')
    for (const [index, code] of codes.entries())
      if (!STATUS_CODES.includes(code))
        issue([...block, 'status_codes', index], `unknown status code "${code}"; known: OK, ERROR, UNSET`)
  }
  if (type === 'string_attribute' && policy.string_attribute.enabled_regex_matching) {
    for (const [index, pattern] of policy.string_attribute.values.entries()) {
      try {
        compileRe2(pattern)
      } catch (error) {
        issue([...block, 'values', index], `bad regular expression: ${toError(error).message}`)
      }
    }
  }
}

/** The decision on a part of a trace may be wrong for the whole, or it spends something. */
function isStateful(policy: AnyPolicy): boolean {
  switch (policy.type) {
    case 'rate_limiting':
    case 'bytes_limiting':
      return true
    case 'latency':
      return policy.latency.upper_threshold_ms > 0
    case 'span_count':
      return policy.span_count.max_spans > 0
    case 'and':
      return policy.and?.and_sub_policy.some(isStateful) ?? false
    case 'drop':
      return policy.drop?.drop_sub_policy.some(isStateful) ?? false
    case 'composite':
      return policy.composite?.composite_sub_policy.some(isStateful) ?? false
    case 'not':
      return policy.not?.not_sub_policy !== undefined && isStateful(policy.not.not_sub_policy)
    default:
      return false
  }
}
