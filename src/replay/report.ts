/**
 * The result of a replay as plain values: what `--json` prints and what table and page are made of
 * (docs/sampling-replay.md has the fields).
 */
import { telemetry } from '../processors/tail-sampling/telemetry.ts'
import type { Lane, Replayed } from './replay.ts'
import { type Cell, type ConfigSummary, DURATION_BOUNDS, type TraceExample } from './summary.ts'

export interface Amount {
  readonly traces: number
  readonly spans: number
  readonly bytes: number
}

export interface PolicyReport {
  /** Empty for `not_sampled`, `undecided` and `late`. */
  readonly policy: string
  readonly type: string
  readonly outcome: 'sampled' | 'dropped' | 'not_sampled' | 'undecided' | 'late'
  /** Of the traces that this policy decided. */
  readonly decided: Amount
  /** Traces that it would keep by itself, and those that it alone keeps. */
  readonly matchedTraces: number
  readonly onlyTraces: number
}

export interface ServiceReport {
  readonly service: string
  /** Traces whose root, or first span, is of this service. */
  readonly traces: number
  readonly spans: number
  readonly bytes: number
  /** By configuration. */
  readonly kept: readonly (Amount & { readonly lostErrorTraces: number })[]
}

export interface ConfigReport {
  readonly label: 'A' | 'B'
  readonly source: string
  readonly processor: string
  readonly decisionWaitMs: number
  readonly kept: Amount & { readonly partialTraces: number }
  readonly dropped: Amount
  /** Kept of all, 0 to 1. */
  readonly share: { readonly traces: number; readonly spans: number; readonly bytes: number }
  /** Encoded, with resources and scopes. */
  readonly encodedBytes: number
  readonly perDay: Rate | null
  readonly policies: readonly PolicyReport[]
  readonly tooLargeTraces: number
  readonly pushedOutTraces: number
  readonly lostErrors: Amount & { readonly examples: readonly TraceExample[] }
  readonly slowestLost: readonly TraceExample[]
  readonly keptDurations: readonly number[]
}

interface Rate {
  readonly traces: number
  readonly spans: number
  readonly bytes: number
}

export interface DifferenceReport {
  readonly both: CellReport
  readonly onlyA: CellReport
  readonly onlyB: CellReport
  readonly none: CellReport
}

interface CellReport extends Amount {
  readonly examples: readonly TraceExample[]
}

export interface Report {
  readonly version: 1
  readonly recording: {
    readonly files: number
    readonly bytes: number
    readonly messages: number
    readonly withoutSpans: number
    readonly broken: number
    readonly cutOffFiles: number
    /** Where the times come from. */
    readonly arrival: 'recorded' | 'estimated' | 'mixed'
    readonly from: string | null
    readonly to: string | null
    readonly seconds: number
  }
  readonly input: Amount & {
    readonly encodedBytes: number
    readonly errorTraces: number
    readonly perDay: Rate | null
    /** Traces that were counted before their end, since there were too many at a time. */
    readonly forgottenTraces: number
  }
  readonly configs: readonly ConfigReport[]
  readonly difference: DifferenceReport | null
  readonly services: readonly ServiceReport[]
  readonly durations: { readonly upToMs: readonly number[]; readonly traces: readonly number[] }
  /** Spans by the time at which their trace began to arrive: of the recording, then of each configuration. */
  readonly timeline: { readonly bucketMs: number; readonly spans: readonly (readonly number[])[] }
}

const DAY_MS = 86_400_000
/** A recording shorter than this says nothing about a day. */
const LEAST_RANGE_MS = 1000

export function reportOf(result: Replayed): Report {
  const { summary, counts, times, index, lanes, firstMs, lastMs, readBytes } = result
  const rangeMs = lastMs - firstMs
  const perDay = (traces: number, spans: number, bytes: number): Rate | null => {
    if (rangeMs < LEAST_RANGE_MS) return null
    const scale = DAY_MS / rangeMs
    return {
      traces: Math.round(traces * scale),
      spans: Math.round(spans * scale),
      bytes: Math.round(bytes * scale),
    }
  }
  const timed = firstMs > 0
  return {
    version: 1,
    recording: {
      files: counts.files,
      bytes: counts.bytes,
      messages: counts.messages,
      withoutSpans: counts.withoutSpans,
      broken: counts.broken,
      cutOffFiles: counts.cutOff,
      arrival: times.estimated === 0 ? 'recorded' : times.recorded === 0 ? 'estimated' : 'mixed',
      from: timed ? new Date(firstMs).toISOString() : null,
      to: timed ? new Date(lastMs).toISOString() : null,
      seconds: Math.round(rangeMs) / 1000,
    },
    input: {
      ...amount(summary.all),
      encodedBytes: readBytes,
      errorTraces: summary.errors.traces,
      perDay: perDay(summary.all.traces, summary.all.spans, readBytes),
      forgottenTraces: index.forgotten,
    },
    configs: lanes.map((lane, number) => configReport(lane, number, result, perDay)),
    difference: lanes.length < 2 ? null : differenceOf(summary.cells),
    services: servicesOf(result),
    durations: { upToMs: DURATION_BOUNDS, traces: [...summary.durations] },
    timeline: { bucketMs: summary.timeline.bucketMs, spans: summary.timeline.series() },
  }
}

function configReport(
  lane: Lane,
  number: number,
  { summary }: Replayed,
  perDay: (traces: number, spans: number, bytes: number) => Rate | null,
): ConfigReport {
  const config = summary.configs[number]!
  const { kept, lost } = config
  const share = (part: number, whole: number) => (whole === 0 ? 0 : part / whole)
  const { given, meter } = lane
  return {
    label: number === 0 ? 'A' : 'B',
    source: given.source,
    processor: given.id,
    decisionWaitMs: given.config.decision_wait,
    kept: { ...amount(kept), partialTraces: config.partial },
    dropped: {
      traces: lost.traces,
      spans: summary.all.spans - kept.spans,
      bytes: summary.all.bytes - kept.bytes,
    },
    share: {
      traces: share(kept.traces, summary.all.traces),
      spans: share(kept.spans, summary.all.spans),
      bytes: share(kept.bytes, summary.all.bytes),
    },
    encodedBytes: lane.keptBytes,
    perDay: perDay(kept.traces, kept.spans, lane.keptBytes),
    policies: policiesOf(lane, config),
    tooLargeTraces: meter.read(telemetry.droppedTooLarge.name),
    pushedOutTraces: meter.read(telemetry.droppedTooEarly.name),
    lostErrors: { ...amount(config.lostErrors), examples: config.lostErrorExamples.entries },
    slowestLost: config.slowestLost.entries,
    keptDurations: [...config.keptDurations],
  }
}

/** In the order of the configuration; then what no policy decided. */
function policiesOf(lane: Lane, config: ConfigSummary): PolicyReport[] {
  const { id, config: settings } = lane.given
  const slash = id.indexOf('/')
  const prefix = slash < 0 ? '' : `${id.slice(slash + 1)}.`
  const reports = settings.policies.map(({ name, type }, number): PolicyReport => {
    const drops = type === 'drop'
    const sum = (drops ? config.dropped : config.sampled)[number]!
    const labels = {
      policy: `${prefix}${name}`,
      ...(drops ? { sampled: 'false', decision: 'dropped' } : { sampled: 'true', decision: 'sampled' }),
    }
    return {
      policy: name,
      type,
      outcome: drops ? 'dropped' : 'sampled',
      decided: amount(sum),
      matchedTraces: lane.meter.read(telemetry.tracesByPolicy.name, labels),
      onlyTraces: sum.alone,
    }
  })
  const rest = (outcome: PolicyReport['outcome'], sum: Amount) => {
    if (sum.traces === 0) return
    reports.push({ policy: '', type: '', outcome, decided: amount(sum), matchedTraces: 0, onlyTraces: 0 })
  }
  const onIngest = settings.sampling_strategy === 'span-ingest'
  if (onIngest) rest('not_sampled', joined(config.notSampled, config.undecided))
  else {
    rest('not_sampled', config.notSampled)
    rest('undecided', config.undecided)
  }
  rest('late', config.unattributed)
  return reports
}

function joined(a: Amount, b: Amount): Amount {
  return { traces: a.traces + b.traces, spans: a.spans + b.spans, bytes: a.bytes + b.bytes }
}

function amount({ traces, spans, bytes }: Amount): Amount {
  return { traces, spans, bytes }
}

function differenceOf(cells: readonly Cell[]): DifferenceReport {
  const cell = (number: number): CellReport => {
    const { sum, examples } = cells[number]!
    return { ...amount(sum), examples: examples.entries }
  }
  return { both: cell(3), onlyA: cell(1), onlyB: cell(2), none: cell(0) }
}

/** The ones with the most spans first. */
function servicesOf({ summary, services }: Replayed): ServiceReport[] {
  const reports: ServiceReport[] = []
  for (const [number, service] of services.names.entries()) {
    const spans = summary.services.spans[number] ?? 0
    if (spans === 0) continue
    reports.push({
      service,
      traces: summary.serviceTraces[number] ?? 0,
      spans,
      bytes: summary.services.bytes[number] ?? 0,
      kept: summary.configs.map((config) => ({
        traces: config.serviceTraces[number] ?? 0,
        spans: config.services.spans[number] ?? 0,
        bytes: config.services.bytes[number] ?? 0,
        lostErrorTraces: config.serviceLostErrors[number] ?? 0,
      })),
    })
  }
  return reports.sort((a, b) => b.spans - a.spans)
}
