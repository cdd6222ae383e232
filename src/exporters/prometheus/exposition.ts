/**
 * Writes families as the text exposition 0.0.4 or OpenMetrics 1.0, as Prometheus' own libraries for Go write them.
 *
 * A shard writes the sample lines of its families; headers are written once, where the shards are joined (join.ts).
 * Writing takes a break now and then, so that a large scrape does not hold up the data.
 */
import { setImmediate } from 'node:timers/promises'
import { readVarint } from '../../otlp/wire.ts'
import type { ByteArea } from '../../prometheus/byte-area.ts'
import type { ExemplarRecord } from '../../prometheus/exemplars.ts'
import { formatExposition, formatOpenMetrics } from '../../prometheus/numbers.ts'
import type { MetricFamily, Series } from './families.ts'

export interface Form {
  readonly openMetrics: boolean
  /** Names outside [A-Za-z0-9_:] are quoted; otherwise they are escaped to `_`. */
  readonly utf8: boolean
  readonly timestamps: boolean
}

const SERIES_PER_TURN = 1000

/** The sample lines of one family. */
export async function writeFamily(area: ByteArea, family: MetricFamily, form: Form): Promise<void> {
  const writer = new FamilyWriter(area, family, form)
  let turn = 0
  for (const series of family.series) {
    if (++turn % SERIES_PER_TURN === 0) await setImmediate()
    writer.write(series)
  }
}

const LEGAL_NAME = /^[A-Za-z_:][A-Za-z0-9_:]*$/
const LEGAL_LABEL = /^[A-Za-z_][A-Za-z0-9_]*$/

/** The name as it stands in front of the braces; undefined when it has to be quoted inside them. */
export function plainName(name: string, form: Form): string | undefined {
  if (LEGAL_NAME.test(name)) return name
  return form.utf8 ? undefined : escapeName(name)
}

/** What is not legal becomes `_`, a leading digit too. */
function escapeName(name: string): string {
  return name.replace(/[^A-Za-z0-9_:]/gu, '_').replace(/^[0-9]/, '_')
}

export function quoted(text: string): string {
  return `"${text.replace(/\\/g, '\\\\').replace(/\n/g, '\\n').replace(/"/g, '\\"')}"`
}

/** OpenMetrics names a counter without the `_total` that its sample ends with. */
export function openMetricsFamilyName(name: string, type: string): string {
  return type === 'counter' && name.endsWith('_total') ? name.slice(0, -6) : name
}

class FamilyWriter {
  readonly #area: ByteArea
  readonly #family: MetricFamily
  readonly #form: Form
  /** What a line begins with, by suffix of the name: up to the first label, and without labels. */
  readonly #heads = new Map<
    string,
    { readonly labelled: string; readonly bare: string; quotedName: boolean }
  >()
  readonly #number: (value: number) => string

  constructor(area: ByteArea, family: MetricFamily, form: Form) {
    this.#area = area
    this.#family = family
    this.#form = form
    this.#number = form.openMetrics ? formatOpenMetrics : formatExposition
  }

  write(series: Series): void {
    switch (this.#family.type) {
      case 'histogram':
        this.#histogram(series)
        break
      case 'summary':
        this.#summary(series)
        break
      default: {
        const exemplar = series.exemplars.at(-1)
        this.#line(series, '', '', this.#number(series.value), exemplar)
        if (this.#family.type === 'counter') this.#created(series)
      }
    }
  }

  #histogram(series: Series): void {
    const { count } = series
    const exemplars = [...series.exemplars]
    const bucket = (bound: number, value: number) => {
      const inside = exemplars.filter(
        (exemplar) => exemplar.value <= bound || bound === Number.POSITIVE_INFINITY,
      )
      for (const exemplar of inside) exemplars.splice(exemplars.indexOf(exemplar), 1)
      this.#line(series, '_bucket', `le="${this.#number(bound)}"`, this.#count(value), inside.at(-1))
    }
    if (series.histogram) {
      const { bounds, counts } = series.histogram
      const order = [...bounds.keys()].sort((left, right) => bounds[left]! - bounds[right]!)
      let sum = 0
      order.forEach((index, place) => {
        sum += counts[index] ?? 0
        const next = order[place + 1]
        const bound = bounds[index]!
        if (next !== undefined && bounds[next] === bound) return
        if (bound !== Number.POSITIVE_INFINITY) bucket(bound, sum)
      })
    }
    bucket(Number.POSITIVE_INFINITY, count)
    this.#line(series, '_sum', '', this.#number(series.value))
    this.#line(series, '_count', '', this.#count(count))
    this.#created(series)
  }

  #summary(series: Series): void {
    const quantiles = series.quantiles ?? new Float64Array(0)
    for (let at = 0; at < quantiles.length; at += 2)
      this.#line(series, '', `quantile="${this.#number(quantiles[at]!)}"`, this.#number(quantiles[at + 1]!))
    this.#line(series, '_sum', '', this.#number(series.value))
    this.#line(series, '_count', '', this.#count(series.count))
    this.#created(series)
  }

  /** Counts are integers in OpenMetrics and floats in the text format. */
  #count(count: number): string {
    return this.#form.openMetrics ? BigInt(count).toString() : formatExposition(count)
  }

  #head(suffix: string) {
    const known = this.#heads.get(suffix)
    if (known) return known
    const { name, type } = this.#family
    const base = suffix === '_created' ? openMetricsFamilyName(name, type) : name
    const plain = plainName(base + suffix, this.#form)
    const quotedName = plain === undefined
    const labelled = plain === undefined ? `{${quoted(base + suffix)}` : `${plain}{`
    const made = { labelled, bare: plain ?? `${labelled}}`, quotedName }
    this.#heads.set(suffix, made)
    return made
  }

  #line(series: Series, suffix: string, extra: string, value: string, exemplar?: ExemplarRecord): void {
    const area = this.#area
    const head = this.#head(suffix)
    if (series.labels.length === 0 && extra === '') area.utf8(head.bare)
    else {
      area.utf8(head.labelled)
      const any = this.#labels(series.labels, head.quotedName)
      if (extra !== '') area.utf8(any ? `,${extra}` : extra)
      area.byte(0x7d)
    }
    area.byte(0x20)
    area.utf8(value)
    if (this.#form.timestamps && suffix !== '_created') this.#timestamp(series)
    if (exemplar && this.#form.openMetrics) this.#exemplar(exemplar)
    area.byte(0x0a)
  }

  /** Milliseconds in the text format, seconds in OpenMetrics. target_info has no time. */
  #timestamp(series: Series): void {
    if (series.timeHigh === 0 && series.timeLow === 0) return
    const nanos = (BigInt(series.timeHigh) << 32n) | BigInt(series.timeLow)
    const ms = nanos / 1_000_000n
    this.#area.utf8(this.#form.openMetrics ? ` ${formatOpenMetrics(Number(ms) / 1000)}` : ` ${ms}`)
  }

  #exemplar(exemplar: ExemplarRecord): void {
    if (exemplar.ids.size === 0) return // Go writes none without labels.
    const labels = [...exemplar.ids].map(([name, value]) => `${name}=${quoted(value)}`)
    const time = exemplar.timeMs > 0 ? ` ${formatOpenMetrics(exemplar.timeMs / 1000)}` : ''
    this.#area.utf8(` # {${labels.join(',')}} ${formatOpenMetrics(exemplar.value)}${time}`)
  }

  #created(series: Series): void {
    if (!this.#form.openMetrics || (series.startHigh === 0 && series.startLow === 0)) return
    const nanos = (BigInt(series.startHigh) << 32n) | BigInt(series.startLow)
    this.#line(series, '_created', '', formatOpenMetrics(Number(nanos) / 1e9))
  }

  /** Encoded labels as `name="value",...`. True when something stands before what comes next. */
  #labels(labels: Buffer, started: boolean): boolean {
    const area = this.#area
    let at = 0
    while (at < labels.length) {
      at += 1 // Tag of the label; then its length, the tag and the length of the name.
      at += varintSize(labels, at) + 1
      const nameLength = readVarint(labels, at)
      const nameStart = at + varintSize(labels, at)
      at = nameStart + nameLength + 1
      const valueLength = readVarint(labels, at)
      const valueStart = at + varintSize(labels, at)
      at = valueStart + valueLength
      if (started) area.byte(0x2c)
      started = true
      this.#labelName(labels, nameStart, nameStart + nameLength)
      area.byte(0x3d)
      area.byte(0x22)
      writeEscaped(area, labels, valueStart, at)
      area.byte(0x22)
    }
    return started
  }

  #labelName(labels: Buffer, start: number, end: number): void {
    if (isPlainLabel(labels, start, end)) this.#area.copy(labels, start, end)
    else {
      const name = labels.toString('utf8', start, end)
      if (this.#form.utf8) this.#area.utf8(LEGAL_LABEL.test(name) ? name : quoted(name))
      else this.#area.utf8(escapeName(name).replaceAll(':', '_'))
    }
  }
}

function varintSize(bytes: Uint8Array, at: number): number {
  let size = 1
  while (bytes[at]! >= 128) {
    at++
    size++
  }
  return size
}

function isPlainLabel(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!
    const letter = (byte | 32) >= 97 && (byte | 32) <= 122
    if (!letter && byte !== 0x5f && (byte < 48 || byte > 57 || at === start)) return false
  }
  return true
}

function writeEscaped(area: ByteArea, bytes: Uint8Array, start: number, end: number): void {
  let from = start
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!
    if (byte !== 0x22 && byte !== 0x5c && byte !== 0x0a) continue
    area.copy(bytes, from, at)
    area.byte(0x5c)
    area.byte(byte === 0x0a ? 0x6e : byte)
    from = at + 1
  }
  area.copy(bytes, from, end)
}
