/** What a file in bench/cases says: a question, its rows, and what of a run is shown. */
import type { LoadPlan } from '../load/plan.ts'
import type { CollectorName } from './collectors.ts'

/** One run of one contender. What does not apply is 0. */
export interface Run {
  readonly cpuMicrosPerItem: number
  readonly peakRssMb: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly itemsPerSecond: number
  /** Cores that the collector, the driver and the sink used while the load ran. */
  readonly collectorCores: number
  readonly driverCores: number
  readonly sinkCores: number
  readonly driverCpuMicrosPerItem: number
  readonly sinkCpuMicrosPerItem: number
  /** What the collector sent, as the sink counted it. */
  readonly sentBytesPerItem: number
  readonly errors: number
  /** What only this question measures. */
  readonly more?: Readonly<Record<string, number>>
}

/** A collector with its settings: a column of the table. */
export interface Contender {
  readonly label: string
  readonly collector: CollectorName
  /** Where it cannot have the file of the row. */
  readonly config?: string
  readonly arguments?: readonly string[]
}

/** How long a run is. */
export interface Length {
  readonly warmUpSeconds: number
  readonly seconds: number
  /** After the load: until what is held was decided and sent. Its cost belongs to the items. */
  readonly settleSeconds: number
}

export interface Row {
  readonly name: string
  /** In bench/configs; both contenders get the same file, unless theirs names another. */
  readonly config: string
  readonly load: Omit<LoadPlan, 'port' | 'serial' | 'requests' | 'seconds'>
  readonly contenders: readonly [Contender, Contender]
  readonly length: Length
  readonly sink?: boolean
  /** Limits of the ratio: at most, or at least where more is better. */
  readonly goal?: number
  readonly stretch?: number
  /** Fewer rounds than asked for are enough for a row beside the main one. */
  readonly maxRounds?: number
  readonly environment?: Readonly<Record<string, string>>
}

/** One column: the figure of a run. */
export interface Figure {
  readonly label: string
  readonly digits: number
  pick(run: Run): number
}

export interface Question {
  /** The name of its file, of its results, and what --only finds. */
  readonly name: string
  readonly title: string
  readonly about: string
  readonly rows: readonly Row[]
  /** What the ratio is made of; CPU per item unless said. */
  readonly figure?: Figure
  readonly moreIsBetter?: boolean
  /** The goal is about the figure of the first contender, not about the ratio. */
  readonly absolute?: boolean
  /** Columns beside it; the usual ones unless said. */
  readonly details?: readonly Figure[]
  /** A run that is no plain load. */
  readonly measure?: (row: Row, contender: Contender, quick: boolean) => Promise<Run>
  /** Seconds of a run with its own measure, for the time that is left. */
  readonly runSeconds?: (row: Row) => number
}

export interface RowResult {
  readonly name: string
  readonly config: string
  readonly labels: readonly [string, string]
  readonly items: number
  readonly protocol: string
  readonly connections: number
  readonly goal?: number
  readonly stretch?: number
  /** By label of the contender. */
  readonly runs: Readonly<Record<string, readonly Run[]>>
}

export interface QuestionResult {
  readonly name: string
  readonly machine: string
  readonly node: string
  readonly commit: string
  readonly date: string
  readonly rows: readonly RowResult[]
}

export const WEIR: Contender = { label: 'Weir', collector: 'weir' }
export const GO: Contender = { label: 'Go collector', collector: 'otelcol' }
export const GO_LOKI: Contender = { label: 'Go with its last loki exporter', collector: 'otelcol-loki' }
export const ROTEL: Contender = { label: 'rotel', collector: 'rotel' }

export const MAIN: Length = { warmUpSeconds: 2, seconds: 6, settleSeconds: 0.4 }
/** For the rows beside the main ones. */
export const SHORT: Length = { warmUpSeconds: 1.5, seconds: 3.5, settleSeconds: 0.4 }
/**
 * With tail sampling. What is held grows until the first decisions, and what decides is compiled after them, so the warm-up lasts
 * five decision waits. Decisions come 2 s after the first span, at the tick after; a batch waits 1 s more at most.
 */
export const HOLDING: Length = { warmUpSeconds: 10, seconds: 6, settleSeconds: 3.6 }
export const SIDE_ROUNDS = 3

export const CPU: Figure = { label: 'CPU us/item', digits: 2, pick: (run) => run.cpuMicrosPerItem }
export const USUAL: readonly Figure[] = [
  { label: 'peak RSS MB', digits: 0, pick: (run) => run.peakRssMb },
  { label: 'p50 ms', digits: 1, pick: (run) => run.p50Ms },
  { label: 'p99 ms', digits: 1, pick: (run) => run.p99Ms },
  { label: '1000 items/s', digits: 0, pick: (run) => run.itemsPerSecond / 1000 },
  { label: 'cores', digits: 2, pick: (run) => run.collectorCores },
  { label: 'load us/item', digits: 2, pick: (run) => run.driverCpuMicrosPerItem },
  { label: 'load cores', digits: 2, pick: (run) => run.driverCores },
]
/** For rows with a sink. */
export const WITH_SINK: readonly Figure[] = [
  ...USUAL,
  { label: 'sink us/item', digits: 2, pick: (run) => run.sinkCpuMicrosPerItem },
  { label: 'sink cores', digits: 2, pick: (run) => run.sinkCores },
  { label: 'sent bytes/item', digits: 1, pick: (run) => run.sentBytesPerItem },
]
