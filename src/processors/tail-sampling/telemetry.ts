/**
 * Metrics of `tail_sampling`: those of the Go collector under the same names, and what it takes to close the
 * books: spans taken = held + kept + sampled out + dropped.
 */
import { counter, gauge, histogram, type Instruments, volatileItems } from '../../component/telemetry.ts'

const P = 'processor_tail_sampling_'
const POLICY = ['policy', 'sampled', 'decision']
const SECONDS = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600]
const TICK_MS = [1, 2, 5, 10, 25, 50, 75, 100, 150, 200, 300, 400, 500, 750]
const LONG_TICK_MS = [1000, 2000, 3000, 4000, 5000, 10_000, 20_000, 30_000, 50_000]

export const telemetry = {
  tracesByPolicy: counter(
    `${P}count_traces_sampled`,
    '{traces}',
    'Traces by policy and its decision.',
    POLICY,
  ),
  spansByPolicy: counter(`${P}count_spans_sampled`, '{spans}', 'Spans by policy and its decision.', POLICY),
  bytesByPolicy: counter(`${P}count_bytes_sampled`, 'By', 'Bytes by policy and its decision.', POLICY),
  traces: counter(`${P}global_count_traces_sampled`, '{traces}', 'Traces by final decision.', [
    'sampled',
    'decision',
  ]),
  newTraces: counter(`${P}new_trace_id_received`, '{traces}', 'Traces that were new.'),
  droppedTooEarly: counter(
    `${P}sampling_trace_dropped_too_early`,
    '{traces}',
    'Traces that num_traces pushed out before they were decided.',
  ),
  droppedTooLarge: counter(
    `${P}traces_dropped_too_large`,
    '{traces}',
    'Traces above maximum_trace_size_bytes.',
  ),
  evaluationErrors: counter(
    `${P}sampling_policy_evaluation_error`,
    '{errors}',
    'Policies that failed on a trace.',
  ),
  earlyReleases: counter(
    `${P}early_releases_from_cache_decision`,
    '{spans}',
    'Spans whose trace was found in a decision cache.',
    ['sampled'],
  ),
  unparseableTraceState: counter(
    `${P}count_spans_with_unparseable_tracestate`,
    '{spans}',
    'Spans whose tracestate a trace_state policy could not read.',
  ),
  tickLatency: histogram(`${P}sampling_decision_timer_latency`, 'ms', 'Time a tick takes to decide.', [
    ...TICK_MS,
    ...LONG_TICK_MS,
  ]),
  lateSpanAge: histogram(`${P}sampling_late_span_age`, 's', 'Time from decision to a late span.', SECONDS),
  removalAge: histogram(
    `${P}sampling_trace_removal_age`,
    's',
    'Time from arrival to removal of a trace.',
    SECONDS,
  ),
  executions: counter(`${P}sampling_policy_execution_count`, '{executions}', 'Evaluations by policy.', [
    'policy',
  ]),
  executionTime: counter(`${P}sampling_policy_execution_time_sum`, 'us', 'Time of evaluations by policy.', [
    'policy',
  ]),
  tracesHeld: gauge(`${P}sampling_traces_on_memory`, '{traces}', 'Traces in memory, decided ones included.'),
  spansHeld: gauge(`${P}spans_on_memory`, '{spans}', 'Spans in memory.'),
  liveBytes: gauge(`${P}live_bytes`, 'By', 'Bytes of held spans and their resource and scope headers.'),
  slabBytes: gauge(`${P}slab_bytes`, 'By', 'Memory of the slabs that hold spans, free room included.'),
  indexBytes: gauge(`${P}index_bytes`, 'By', 'Memory of the tables of traces, spans and decisions.'),
  keptSpans: counter(`${P}kept_spans`, '{spans}', 'Spans sent on.'),
  sampledOutSpans: counter(`${P}sampled_out_spans`, '{spans}', 'Spans that a decision discarded.'),
  droppedSpans: counter(`${P}dropped_spans`, '{spans}', 'Spans lost for another reason than a decision.', [
    'reason',
  ]),
  volatile: volatileItems,
}

export type TailTelemetry = Instruments<typeof telemetry>
