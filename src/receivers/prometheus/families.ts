/**
 * What one target exposes, sorted as OTLP has it: resources, scopes, metrics (families), data points (groups
 * of series). Kept from scrape to scrape, since a target mostly exposes the same; only new series touch
 * strings and maps.
 */

import { writeAttribute } from '../../otlp/attributes.ts'
import { METRIC } from '../../otlp/fields.ts'
import { WireWriter } from '../../otlp/wire.ts'

export type MetricType =
  | 'counter'
  | 'gauge'
  | 'histogram'
  | 'gaugehistogram'
  | 'summary'
  | 'info'
  | 'stateset'
  | 'unknown'

export interface Metadata {
  type: MetricType
  help: string
  unit: string
  /** Some series was sorted by this entry, or by its absence. */
  used: boolean
}

/** The metrics that a scrape adds by itself. */
export const REPORT_METADATA: ReadonlyMap<string, Metadata> = new Map(
  Object.entries({
    up: ['The scraping was successful', ''],
    scrape_duration_seconds: ['Duration of the scrape', 'seconds'],
    scrape_samples_scraped: ['The number of samples the target exposed', ''],
    scrape_samples_post_metric_relabeling: [
      'The number of samples remaining after metric relabeling was applied',
      '',
    ],
    scrape_series_added: ['The approximate number of new series in this scrape', ''],
    scrape_timeout_seconds: ['The configured scrape timeout for a target', 'seconds'],
    scrape_sample_limit: ['The configured sample limit for a target; zero when there is none', ''],
    scrape_body_size_bytes: ['The uncompressed size of the last scrape response', 'bytes'],
  }).map(([name, [help = '', unit = '']]) => [name, { type: 'gauge', help, unit, used: true }]),
)

/** The parts of a histogram or summary, and what OpenMetrics appends to names. */
const SUFFIXES = ['_bucket', '_count', '_sum', '_total', '_info', '_created', '_gcount', '_gsum']

/**
 * More entries than this for each series are forgotten: a target that makes up names does not fill the
 * memory.
 */
const SPARE_ENTRIES = 10_000

/** What the comments of a target say, by name; a change raises `epoch`, so that series are sorted anew. */
export class MetadataStore {
  readonly #entries = new Map<string, Metadata>()
  epoch = 0

  set(name: string, key: 'type' | 'help' | 'unit', value: string): void {
    const entry = this.#entry(name)
    if (entry[key] === value) return
    if (entry.used)
      this.epoch++
      // The type is one of the words, since typeWord() gave it.
    ;(entry as Record<typeof key, string>)[key] = value
  }

  /** The metadata for a sample of this name, and the name of the metric that it is a part of. */
  find(name: string): { metadata: Metadata; family: string } {
    const report = REPORT_METADATA.get(name)
    if (report) return { metadata: report, family: name }
    const exact = this.#use(name)
    if (isKnown(exact)) return { metadata: exact, family: name }
    const suffix = SUFFIXES.find((one) => name.endsWith(one) && name.length > one.length)
    if (suffix === undefined) return { metadata: exact, family: name }
    const base = name.slice(0, -suffix.length)
    const metadata = this.#use(base)
    if (!isKnown(metadata)) return { metadata: exact, family: name }
    if (metadata.type !== 'counter') return { metadata, family: base }
    // The name of a counter is not altered; its `_created` belongs to the sample with `_total`.
    return { metadata, family: suffix === '_created' ? `${base}_total` : name }
  }

  /** Forgets everything when there is far more of it than there are series. Returns true when it did. */
  prune(seriesCount: number): boolean {
    if (this.#entries.size <= SPARE_ENTRIES + 4 * seriesCount) return false
    this.#entries.clear()
    this.epoch++
    return true
  }

  #use(name: string): Metadata {
    const entry = this.#entry(name)
    entry.used = true
    return entry
  }

  #entry(name: string): Metadata {
    let entry = this.#entries.get(name)
    if (!entry) {
      entry = { type: 'unknown', help: '', unit: '', used: false }
      this.#entries.set(name, entry)
    }
    return entry
  }
}

function isKnown(metadata: Metadata): boolean {
  return metadata.type !== 'unknown' || metadata.help !== '' || metadata.unit !== ''
}

export function typeWord(word: string): MetricType {
  switch (word) {
    case 'counter':
    case 'gauge':
    case 'histogram':
    case 'gaugehistogram':
    case 'summary':
    case 'info':
    case 'stateset':
      return word
    default:
      return 'unknown'
  }
}

/** The one data point that a set of series makes. */
export class Group {
  readonly family: Family
  /** Encoded, each with its tag. */
  readonly attributes: Uint8Array
  readonly key: string
  /** The last scrape that had it, and the last in which its absence from the next would make it stale; -1 = none. */
  live = 0
  tracked = -1
  #trackedBefore = -1
  removed = false
  /** Undefined = the time of the scrape. */
  timestampMs: number | undefined
  value = 0
  count = 0
  sum = 0
  hasCount = false
  hasSum = false
  createdSeconds = Number.NaN
  /**
   * Bounds of buckets with their cumulated counts, or quantiles with their values; the first `parts` are of
   * this scrape.
   */
  readonly bounds: number[] = []
  readonly counts: number[] = []
  parts = 0
  /** Indexes into the exemplars of this scrape; -1 = none. */
  firstExemplar = -1
  lastExemplar = -1

  constructor(family: Family, key: string, attributes: Uint8Array) {
    this.family = family
    this.key = key
    this.attributes = attributes
  }

  /** The first series of a scrape. */
  begin(scrape: number): void {
    this.live = scrape
    this.timestampMs = undefined
    this.hasCount = this.hasSum = false
    this.createdSeconds = Number.NaN
    this.parts = 0
    this.firstExemplar = this.lastExemplar = -1
  }

  track(scrape: number): void {
    if (this.tracked === scrape) return
    this.#trackedBefore = this.tracked
    this.tracked = scrape
  }

  /** The scrape that has it counts for nothing. */
  takeBack(): void {
    if (this.tracked === this.live) this.tracked = this.#trackedBefore
    this.live = 0
  }

  addPart(bound: number, value: number): void {
    this.bounds[this.parts] = bound
    this.counts[this.parts] = value
    this.parts++
  }

  /** Puts the parts in the order of their bounds, as they usually are. */
  sortParts(): void {
    const { bounds, counts, parts } = this
    let sorted = true
    for (let index = 1; index < parts && sorted; index++) sorted = bounds[index - 1]! <= bounds[index]!
    if (sorted) return
    const order = Array.from({ length: parts }, (_, index) => index)
    order.sort((a, b) => bounds[a]! - bounds[b]!)
    const [oldBounds, oldCounts] = [bounds.slice(), counts.slice()]
    for (let index = 0; index < parts; index++) {
      bounds[index] = oldBounds[order[index]!]!
      counts[index] = oldCounts[order[index]!]!
    }
  }
}

export type FamilyKind = 'gauge' | 'sum' | 'histogram' | 'summary'

const KINDS: Readonly<Record<MetricType, FamilyKind | undefined>> = {
  counter: 'sum',
  info: 'sum',
  stateset: 'sum',
  gauge: 'gauge',
  unknown: 'gauge',
  histogram: 'histogram',
  summary: 'summary',
  gaugehistogram: undefined, // OTLP has nothing for it.
}

export function kindOf(type: MetricType): FamilyKind | undefined {
  return KINDS[type]
}

/** One metric of one scope. */
export class Family {
  readonly key: string
  readonly kind: FamilyKind
  readonly monotonic: boolean
  /** Name, description, unit and metadata of the Metric, encoded. */
  readonly header: Uint8Array
  readonly groups = new Map<string, Group>()

  constructor(key: string, name: string, metadata: Metadata, kind: FamilyKind, trimSuffixes: boolean) {
    this.key = key
    this.kind = kind
    this.monotonic = metadata.type === 'counter'
    const shown = trimSuffixes ? trimmed(name, metadata) : name
    // message Metric { string name = 1; string description = 2; string unit = 3; repeated KeyValue metadata =
    // 12; ... }
    const writer = new WireWriter(128).string(METRIC.name, shown)
    if (metadata.help !== '') writer.string(METRIC.description, metadata.help)
    if (metadata.unit !== '') writer.string(METRIC.unit, ucumUnit(metadata.unit))
    this.header = writeAttribute(writer, METRIC.metadata, 'prometheus.type', metadata.type).finish()
  }
}

/** Takes the type and unit words off the end of a name: `http_request_duration_seconds_total`. */
function trimmed(name: string, metadata: Metadata): string {
  let words = name.split('_')
  if (words.length > 1 && metadata.type === 'counter' && words.at(-1) === 'total') words = words.slice(0, -1)
  const unit = metadata.unit.split('_')
  if (metadata.unit === '' || words.length <= unit.length) return words.join('_')
  const rest = words.length - unit.length
  return (unit.every((word, index) => words[rest + index] === word) ? words.slice(0, rest) : words).join('_')
}

const UCUM: ReadonlyMap<string, string> = new Map(
  Object.entries({
    days: 'd',
    hours: 'h',
    minutes: 'min',
    seconds: 's',
    milliseconds: 'ms',
    microseconds: 'us',
    nanoseconds: 'ns',
    bytes: 'By',
    kibibytes: 'KiBy',
    mebibytes: 'MiBy',
    gibibytes: 'GiBy',
    tibibytes: 'TiBy',
    tebibytes: 'TiBy',
    kilobytes: 'KBy',
    megabytes: 'MBy',
    gigabytes: 'GBy',
    terabytes: 'TBy',
    meters: 'm',
    volts: 'V',
    amperes: 'A',
    joules: 'J',
    watts: 'W',
    grams: 'g',
    celsius: 'Cel',
    hertz: 'Hz',
    ratio: '1',
    percent: '%',
  }),
)
const UCUM_PER: ReadonlyMap<string, string> = new Map(
  Object.entries({ second: 's', minute: 'm', hour: 'h', day: 'd', week: 'w', month: 'mo', year: 'y' }),
)

/** Unit words back to UCUM: `bytes_per_second` is `By/s`. Unknown words stay. */
export function ucumUnit(words: string): string {
  const per = words.indexOf('_per_')
  if (per < 0) return UCUM.get(words) ?? words
  const [main, rest] = [words.slice(0, per), words.slice(per + 5)]
  return `${UCUM.get(main) ?? main}/${UCUM_PER.get(rest) ?? rest}`
}
