/**
 * What one target exposed, from scrape to scrape: series by the bytes that name them, sorted into groups
 * (data points), families (metrics), scopes and resources. A series that was there before costs a comparison
 * of bytes and a few stores into its group; labels are parsed, relabelled and encoded only when a series is
 * new.
 *
 * A scrape is begin(), add() with the body, any number of report(), then encode() in encode.ts. A body that
 * is refused half-way counts as an empty one: discard() takes back what it brought.
 */
import { TooLargeError } from '../../errors.ts'
import { rangeEquals } from '../../otlp/wire.ts'
import { Catalog } from './catalog.ts'
import { Exemplars } from './exemplars.ts'
import { Exposition } from './exposition.ts'
import { type Group, kindOf, MetadataStore, typeWord } from './families.ts'
import { type Labels, setLabel } from './relabel.ts'
import type { Resource } from './resource.ts'
import { checkLimits, numberOf, relabelSample, type ScrapeOptions } from './sample-labels.ts'
import {
  BAD,
  COUNT,
  CREATED,
  DROPPED,
  IGNORED,
  newSeries,
  PART,
  SCOPE_INFO,
  type Series,
  SUM,
  TARGET_INFO,
  VALUE,
} from './series.ts'
import { NAME_LABEL, readHelp, readLabels, readName } from './series-labels.ts'
import { Slab } from './slab.ts'

/** Series of so many scrapes ago are forgotten. */
const KEPT_SCRAPES = 2
export class ScrapeState {
  readonly options: ScrapeOptions
  readonly exemplars = new Exemplars()
  /** Number of the running scrape, from 1. */
  scrape = 0
  /** When it began, on the wall clock. */
  timeMs = 0
  /**
   * Of the last add(), as far as it came: all samples, those left after relabelling, new series, rejected
   * ones.
   */
  scraped = 0
  kept = 0
  added = 0
  rejected = 0
  /** Why the first of the rejected was. */
  rejection = ''
  readonly #metadata = new MetadataStore()
  readonly #series = new Map<string, Series>()
  readonly #first: Series = newSeries(new Uint8Array(0))
  /** Comments in their order; one that is where it was last time is not read again. */
  readonly #comments: Uint8Array[] = []
  readonly #slab = new Slab()
  readonly #catalog: Catalog
  readonly #labels: Labels = new Map()
  readonly #reports = new Map<string, Group>()
  /** Groups whose series are in others now, since the comments changed: these series live on. */
  readonly #moved: Group[] = []

  constructor(options: ScrapeOptions) {
    this.options = options
    this.#catalog = new Catalog(options, this.#slab)
  }

  get resources(): Map<string, Resource> {
    return this.#catalog.resources
  }

  get seriesCount(): number {
    return this.#series.size
  }

  begin(timeMs: number): void {
    this.scrape++
    this.timeMs = timeMs
    this.scraped = this.kept = this.added = this.rejected = 0
    this.rejection = ''
    this.exemplars.clear()
    this.#moved.length = 0
  }

  /**
   * Takes a whole body. Throws InvalidError or TooLargeError: the scrape has failed, and discard() is to be
   * called.
   */
  add(body: Uint8Array, openMetrics: boolean): void {
    const input = new Exposition(body, openMetrics)
    let last = this.#first
    let comments = 0
    while (true) {
      const kind = input.next(last.next?.raw)
      if (kind === 'end') break
      if (kind !== 'sample') {
        this.#comment(input, kind, comments++)
        continue
      }
      this.scraped++
      const series = this.#find(input, last.next)
      last.next = series
      last = series
      this.#sample(series, input)
    }
    last.next = undefined // What is forgotten later may not hang on here.
    this.#comments.length = comments
    const { sampleLimit } = this.options.limits
    if (sampleLimit > 0 && this.kept > sampleLimit)
      throw new TooLargeError(`sample_limit exceeded (${this.kept} samples, limit ${sampleLimit})`)
    for (const group of this.#moved) if (group.live !== this.scrape) group.tracked = -1
    for (const resource of this.resources.values()) resource.commit(this.scrape)
    this.#forget()
  }

  /** The failed scrape counts as empty: what was there before goes stale. */
  discard(): void {
    for (const resource of this.resources.values())
      for (const scope of resource.scopes.values())
        for (const family of scope.families.values())
          for (const group of family.groups.values()) if (group.live === this.scrape) group.takeBack()
    this.exemplars.clear()
  }

  /** After discard(): the scrape does not count, not even as a failed one. */
  cancel(): void {
    this.scrape--
  }

  /** A metric that the scrape adds by itself. */
  report(name: string, value: number): void {
    const labels = new Map(this.options.labels).set(NAME_LABEL, name)
    for (const [key, text] of this.options.externalLabels) setLabel(labels, key, text)
    const group = this.#reports.get(name)
    const target =
      group && !group.removed
        ? group
        : this.#catalog.groupOf(labels, 'gauge', name, this.#metadata.find(name).metadata)
    this.#reports.set(name, target)
    this.#open(target, undefined)
    target.value = value
  }
  #comment(input: Exposition, kind: 'type' | 'help' | 'unit', index: number): void {
    const { bytes, lineStart, lineEnd } = input
    const known = this.#comments[index]
    if (known && rangeEquals(bytes, lineStart, lineEnd, known)) return
    this.#comments[index] = this.#slab.copy(bytes, lineStart, lineEnd)
    const name = readName(bytes, input.nameStart, input.nameEnd)
    const text = readHelp(bytes, input.textStart, input.textEnd, input.openMetrics)
    this.#metadata.set(name, kind, kind === 'type' ? typeWord(text) : text)
  }

  /** The series of the sample that `input` stands on; `likely` is the one that came here last time. */
  #find(input: Exposition, likely: Series | undefined): Series {
    const { bytes, seriesStart, seriesEnd } = input
    if (likely && !likely.forgotten && rangeEquals(bytes, seriesStart, seriesEnd, likely.raw)) return likely
    const key = Buffer.from(bytes.buffer, bytes.byteOffset + seriesStart, seriesEnd - seriesStart).toString(
      'latin1',
    )
    let series = this.#series.get(key)
    if (!series) {
      series = newSeries(this.#slab.copy(bytes, seriesStart, seriesEnd))
      this.#resolve(series)
      this.#series.set(key, series)
      if (series.role !== DROPPED) this.added++
    }
    return series
  }

  #sample(series: Series, input: Exposition): void {
    if (series.epoch !== this.#metadata.epoch || series.group?.removed || series.resource?.removed)
      this.#resolve(series)
    const twice = series.seen === this.scrape
    series.seen = this.scrape
    if (series.role === DROPPED) return
    this.kept++
    if (twice) {
      this.rejected++
      if (this.rejection === '') this.rejection = 'a series is there twice'
      return
    }
    const { group } = series
    if (!group) {
      if (series.role === BAD) this.rejected++
      else if (series.role !== IGNORED && series.labels)
        series.resource?.addInfo(series.role === TARGET_INFO ? 'target' : 'scope', series.labels, this.scrape)
      return
    }
    const timed = input.hasTimestamp && this.options.honorTimestamps
    this.#open(group, timed ? input.timestampMs : undefined)
    const { value } = input
    if (series.role === VALUE) group.value = value
    else if (series.role === PART) group.addPart(series.bound, value)
    else if (series.role === CREATED) group.createdSeconds = value
    else if (series.role === SUM) {
      group.sum = value
      group.hasSum = true
    } else {
      group.count = value
      group.hasCount = true
      if (timed) group.timestampMs = input.timestampMs // The count is the one part that is always there.
    }
    if (input.exemplarEnd > 0 && (series.role === VALUE || series.role === PART))
      this.exemplars.add(group, input, timed ? input.timestampMs : this.timeMs)
  }

  #open(group: Group, timestampMs: number | undefined): void {
    const { scrape } = this
    if (group.live !== scrape) {
      group.begin(scrape)
      group.timestampMs = timestampMs
    }
    if (timestampMs === undefined || this.options.trackTimestampsStaleness) group.track(scrape)
  }

  /** Finds out what a series is, from its labels and from what the comments say about its name. */
  #resolve(series: Series): void {
    const labels = this.#labels
    labels.clear()
    const { group: before } = series
    series.group = series.labels = series.resource = undefined
    const twice = readLabels(series.raw, 0, series.raw.length, labels)
    const kept = relabelSample(labels, this.options)
    if (kept) checkLimits(labels, this.options.limits)
    series.epoch = this.#metadata.epoch
    if (!kept) {
      series.role = DROPPED
      return
    }
    for (const [name, value] of this.options.externalLabels) setLabel(labels, name, value)
    const name = labels.get(NAME_LABEL) ?? ''
    if (twice !== undefined) this.#reject(series, `label "${twice}" is there twice`)
    else if (name === 'target_info' || name === 'otel_scope_info') {
      series.role = name === 'target_info' ? TARGET_INFO : SCOPE_INFO
      series.resource = this.#catalog.resourceOf(labels)
      series.labels = new Map(labels)
      // What all series of the target have says nothing about a scope.
      if (series.role === SCOPE_INFO)
        for (const common of [this.options.labels, this.options.externalLabels])
          for (const key of common.keys()) series.labels.delete(key)
    } else {
      this.#sort(series, labels, name)
      if (before && series.group && before !== series.group) this.#moved.push(before)
    }
  }

  #reject(series: Series, why: string): void {
    series.role = BAD
    if (this.rejection === '') this.rejection = why
  }

  #sort(series: Series, labels: Labels, name: string): void {
    const { metadata, family } = this.#metadata.find(name)
    const kind = kindOf(metadata.type)
    if (kind === undefined) {
      series.role = IGNORED
      return
    }
    series.role = VALUE
    const compound = kind === 'histogram' || kind === 'summary'
    if (name.endsWith('_created') && family !== name && (compound || metadata.type === 'counter'))
      series.role = CREATED
    else if (compound) {
      if (name === `${family}_sum`) series.role = SUM
      else if (name === `${family}_count`) series.role = COUNT
      else {
        series.role = PART
        const label = kind === 'histogram' ? 'le' : 'quantile'
        const text = labels.get(label)
        series.bound = text === undefined ? Number.NaN : numberOf(text)
        if (Number.isNaN(series.bound)) {
          this.#reject(series, `${name} without a number in its label ${label}`)
          return
        }
        labels.delete(label)
      }
    }
    series.group = this.#catalog.groupOf(labels, kind, family, metadata)
  }

  /** Forgets series that have not been there for some scrapes. */
  #forget(): void {
    for (const [key, series] of this.#series) {
      if (this.scrape - series.seen <= KEPT_SCRAPES) continue
      series.forgotten = true
      this.#series.delete(key)
    }
    if (this.#metadata.prune(this.#series.size)) this.#comments.length = 0
  }
}
