/**
 * Metric families: the Prometheus name of a metric and its derived names as encoded labels, with type, help and unit
 * for metadata. Kept per distinct name, unit and type, so that nothing of it is computed per batch.
 */

import { encodeSnappyBlock } from '../../net/snappy.ts'
import { RW1_METRIC_METADATA, RW1_METRIC_METADATA_METRIC_TYPE as TYPE } from '../../net/wire-fields.ts'
import { METRIC } from '../../otlp/fields.ts'
import { WireWriter } from '../../otlp/wire.ts'
import { ByteArea } from '../../prometheus/byte-area.ts'
import { ByteMap } from '../../prometheus/byte-map.ts'
import type { BaseOptions } from '../../prometheus/label-base.ts'
import { FixedLabel, METRIC_NAME } from '../../prometheus/labels.ts'
import type { MetricReader } from '../../prometheus/metric-reader.ts'
import { metricName, targetInfoName, unitName } from '../../prometheus/naming.ts'
import type { WriteRequest } from './series.ts'

/** Distinct metrics that are kept named. */
const MAX_FAMILIES = 16_384

export interface FamilyOptions {
  readonly base: BaseOptions
  readonly namespace: string
  readonly targetInfo: boolean
  /** Help texts are wanted: metadata is sent. */
  readonly metadata: boolean
  /** Remote write 2.0: samples of counters and histograms tell when they began. */
  readonly startTimestamps: boolean
  /** Explicit histograms as native ones with custom bounds; `classicToo` keeps the classic series beside them. */
  readonly customBuckets: boolean
  readonly classicToo: boolean
}

export interface Family {
  /** Empty when the metric cannot be named. */
  readonly name: string
  readonly type: number
  readonly help: string
  readonly unit: string
  readonly plain: FixedLabel
  readonly bucket: FixedLabel
  readonly sum: FixedLabel
  readonly count: FixedLabel
}

export class FamilyCache {
  readonly target: Family
  readonly #options: FamilyOptions
  readonly #families = new ByteMap<Family>(MAX_FAMILIES, 4096)
  readonly #key = new ByteArea(256)
  readonly #scratch = new ByteArea(256)

  constructor(options: FamilyOptions) {
    this.#options = options
    const name = targetInfoName({ namespace: options.namespace, strategy: options.base.strategy })
    this.target = this.#make(name, TYPE.gauge, 'Target metadata', '')
  }

  get(metric: MetricReader): Family {
    const key = this.#key
    key.length = 0
    key.byte(metric.type * 2 + (metric.monotonic ? 1 : 0))
    key.varint(metric.nameEnd - metric.nameStart)
    key.copy(metric.bytes, metric.nameStart, metric.nameEnd)
    key.varint(metric.unitEnd - metric.unitStart)
    key.copy(metric.bytes, metric.unitStart, metric.unitEnd)
    if (this.#options.metadata) key.copy(metric.bytes, metric.helpStart, metric.helpEnd)
    if (metric.typeHint !== '') key.utf8(`\0${metric.typeHint}`)
    const known = this.#families.get(key.bytes, 0, key.length)
    if (known) return known
    const { namespace, base, metadata } = this.#options
    const { strategy } = base
    const name = metricName(metric.name(), metric.unit(), metric.kind, { namespace, strategy })
    const unit = unitName(metric.unit(), strategy)
    const made = this.#make(name, typeOf(metric), metadata ? metric.help() : '', unit)
    this.#families.set(key.bytes, 0, key.length, made)
    return made
  }

  #make(name: string, type: number, help: string, unit: string): Family {
    const label = (suffix: string) => new FixedLabel(this.#scratch, METRIC_NAME, name + suffix)
    const derived = { bucket: label('_bucket'), sum: label('_sum'), count: label('_count') }
    return { name, type, help, unit, plain: label(''), ...derived }
  }
}

/** Types that OTLP does not have come as a hint in the metadata of the metric. */
function typeOf(metric: MetricReader): number {
  switch (metric.type) {
    case METRIC.gauge:
      return metric.typeHint === 'unknown' ? TYPE.unknown : TYPE.gauge
    case METRIC.sum:
      if (metric.monotonic) return TYPE.counter
      if (metric.typeHint === 'info') return TYPE.info
      return metric.typeHint === 'stateset' ? TYPE.stateset : TYPE.gauge
    case METRIC.summary:
      return TYPE.summary
    default:
      return TYPE.histogram
  }
}

/** Remote write 1.0 sends metadata in requests of its own: `MetricMetadata` is field 3 of WriteRequest. */
export function metadataRequests(families: readonly Family[], limitBytes: number): WriteRequest[] {
  const requests: WriteRequest[] = []
  const writer = new WireWriter(4096)
  const seen = new Set<string>()
  const flush = () => {
    if (writer.length > 0) requests.push({ block: encodeSnappyBlock(writer.view()), series: 0 })
    writer.truncate(0)
  }
  for (const family of families) {
    if (seen.has(family.name)) continue
    seen.add(family.name)
    const before = writer.length
    writeMetadata(writer, family)
    if (before > 0 && writer.length >= limitBytes) {
      writer.truncate(before)
      flush()
      writeMetadata(writer, family)
    }
  }
  flush()
  return requests
}

function writeMetadata(writer: WireWriter, family: Family): void {
  writer.begin(3, 200)
  writer.uintField(RW1_METRIC_METADATA.type, family.type)
  writer.string(RW1_METRIC_METADATA.metricFamilyName, family.name)
  if (family.help !== '') writer.string(RW1_METRIC_METADATA.help, family.help)
  if (family.unit !== '') writer.string(RW1_METRIC_METADATA.unit, family.unit)
  writer.end()
}
