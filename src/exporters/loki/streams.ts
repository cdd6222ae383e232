/**
 * Log records sorted into what a push to Loki is made of: a request for each tenant, in it streams of equal
 * labels, in those the entries in the order of time.
 */

import { Assembler } from '../../otlp/assemble.ts'
import type { JsValue } from '../../otlp/attributes.ts'
import { attributesToJs } from '../../otlp/attributes.ts'
import type { Batch } from '../../otlp/batch.ts'
import { RESOURCE } from '../../otlp/fields.ts'
import { ItemWalker } from '../../otlp/item-walker.ts'
import type { LokiConfig } from './config.ts'
import {
  type Attributes,
  attributeTenant,
  HINTS,
  hintedTenant,
  type LabelPairs,
  LabelRules,
  labelPairs,
  lookUp,
  sanitize,
  streamName,
} from './labels.ts'
import { formatLine } from './line.ts'
import { attributeText, type LogRecord, readRecord, readScope, type Scope } from './record.ts'

export interface Entry {
  readonly seconds: number
  readonly nanos: number
  readonly line: string
  readonly metadata: LabelPairs
}

export interface Stream {
  readonly labels: LabelPairs
  readonly name: string
  readonly entries: Entry[]
}

export interface Push {
  /** Empty: no tenant header. */
  readonly tenant: string
  /** By their labels before these are sorted and made valid: what most records only need to look up. */
  readonly byLabels: Map<string, Stream>
  /** By name. */
  readonly streams: Map<string, Stream>
  records: number
}

export interface Converted {
  readonly pushes: readonly Push[]
  /** Records with a format that does not exist. */
  readonly droppedRecords: number
  readonly unknownFormat: string
  /** The push of each record, in their order; undefined for a dropped one. */
  readonly pushOf: readonly (Push | undefined)[]
}

const items = new ItemWalker()
const NONE: Attributes = {}

export class Converter {
  readonly #rules: LabelRules
  readonly #tenant: LokiConfig['tenant']
  readonly #staticTenant: string
  readonly #metadata: LokiConfig['structured_metadata']

  /** `staticTenant`: of records for which nothing else says it. */
  constructor(config: LokiConfig, staticTenant: string) {
    this.#rules = new LabelRules(config)
    this.#tenant = config.tenant
    this.#staticTenant = staticTenant
    this.#metadata = config.structured_metadata
  }

  convert(batch: Batch, nowMs: number): Converted {
    const pushes = new Map<string, Push>()
    const pushOf: (Push | undefined)[] = []
    let droppedRecords = 0
    let unknownFormat = ''
    for (const chunk of batch.chunks) {
      let resource = NONE
      let scope: Scope | undefined
      let resourceNumber = -1
      let scopeNumber = -1
      items.reset('logs', chunk)
      while (items.next()) {
        const { around } = items
        if (items.resourceNumber !== resourceNumber)
          resource = attributesToJs(chunk, around.resourceStart, around.resourceEnd, RESOURCE.attributes)
        if (items.scopeNumber !== scopeNumber || scope === undefined)
          scope = readScope(chunk, around.scopeStart, around.scopeEnd)
        resourceNumber = items.resourceNumber
        scopeNumber = items.scopeNumber
        const record = readRecord(chunk, items.start, items.end, nowMs)
        const format = this.#rules.format(record.attributes, resource)
        const push = this.#pushFor(record, resource, batch, pushes)
        if (this.#add(push, record, resource, scope, format)) pushOf.push(push)
        else {
          pushOf.push(undefined)
          droppedRecords++
          unknownFormat = format
        }
      }
    }
    const filled = [...pushes.values()].filter((push) => push.records > 0)
    for (const push of filled) for (const stream of push.streams.values()) sortByTime(stream.entries)
    return { pushes: filled, droppedRecords, unknownFormat, pushOf }
  }

  #pushFor(record: LogRecord, resource: Attributes, batch: Batch, pushes: Map<string, Push>): Push {
    const tenant = this.#tenantOf(record, resource, batch)
    let push = pushes.get(tenant)
    if (!push) {
      push = { tenant, byLabels: new Map(), streams: new Map(), records: 0 }
      pushes.set(tenant, push)
    }
    return push
  }

  #tenantOf(record: LogRecord, resource: Attributes, batch: Batch): string {
    const hinted = hintedTenant(record.attributes, resource)
    if (hinted !== '') return hinted
    const source = this.#tenant?.source
    const value = this.#tenant?.value ?? ''
    let found = ''
    if (source === 'context') found = batch.context.metadata.get(value.toLowerCase())?.[0] ?? ''
    else if (source === 'attributes' || source === 'attribute')
      found = attributeTenant(value, record.attributes, resource)
    return found === '' ? this.#staticTenant : found
  }

  /** False when the format does not exist. */
  #add(push: Push, record: LogRecord, resource: Attributes, scope: Scope, format: string): boolean {
    const labels = this.#rules.labels(record, record.attributes, resource)
    const taken = this.#rules.taken(labels)
    const metadata = this.#structuredMetadata(record, resource, taken)
    const attributes = without(record.attributes, taken)
    const line = formatLine(format, record, attributes, without(resource, taken), scope, this.#rules)
    if (line === undefined) return false
    const stream = streamFor(push, labels)
    const { seconds, nanos } = record
    stream.entries.push({ seconds, nanos, line, metadata })
    push.records++
    return true
  }

  /** What goes beside the line; the names are added to `taken`, so that they leave the line. */
  #structuredMetadata(record: LogRecord, resource: Attributes, taken: Set<string>): LabelPairs {
    const wanted = this.#metadata
    if (wanted === false) return []
    const pairs: [string, string][] = []
    const add = (name: string, value: JsValue | undefined) => {
      const text = value === undefined || value === null ? '' : attributeText(value)
      if (text !== '') pairs.push([sanitize(name), text])
    }
    if (wanted === true) {
      add('trace_id', record.traceId)
      add('span_id', record.spanId)
      for (const [name, value] of Object.entries(record.attributes)) {
        if (taken.has(name) || HINTS.has(name)) continue
        add(name, value)
        taken.add(name)
      }
      return pairs
    }
    for (const name of wanted) {
      const own = name === 'trace_id' ? record.traceId : name === 'span_id' ? record.spanId : undefined
      add(name, own ?? lookUp(record.attributes, name) ?? lookUp(resource, name))
      taken.add(name)
    }
    return pairs
  }
}

function streamFor(push: Push, labels: ReadonlyMap<string, string>): Stream {
  let key = ''
  for (const [name, value] of labels) key += `${name}\0${value}\0`
  const known = push.byLabels.get(key)
  if (known) return known
  const pairs = labelPairs(labels)
  const name = streamName(pairs)
  let stream = push.streams.get(name)
  if (!stream) {
    stream = { labels: pairs, name, entries: [] }
    push.streams.set(name, stream)
  }
  push.byLabels.set(key, stream)
  return stream
}

/** Without the hints and without what became a label or structured metadata. */
function without(attributes: Attributes, taken: ReadonlySet<string>): Attributes {
  let copy: Record<string, JsValue> | undefined
  for (const key of Object.keys(attributes)) {
    if (!taken.has(key) && !HINTS.has(key)) continue
    copy ??= { ...attributes }
    delete copy[key]
  }
  return copy ?? attributes
}

function sortByTime(entries: Entry[]): void {
  let sorted = true
  for (let index = 1; index < entries.length && sorted; index++)
    sorted = compareTimes(entries[index - 1]!, entries[index]!) <= 0
  if (!sorted) entries.sort(compareTimes)
}

function compareTimes(a: Entry, b: Entry): number {
  return a.seconds - b.seconds || a.nanos - b.nanos
}

/** A batch of the records whose push is among `failed`. */
export function selectRecords(batch: Batch, converted: Converted, failed: ReadonlySet<Push>): Batch {
  const chunks: Uint8Array[] = []
  const assembler = new Assembler(4096)
  let index = 0
  let count = 0
  for (const chunk of batch.chunks) {
    items.reset('logs', chunk)
    while (items.next()) {
      const push = converted.pushOf[index++]
      if (push === undefined || !failed.has(push)) continue
      assembler.add(items)
      count++
    }
    if (!assembler.isEmpty) chunks.push(assembler.finish())
  }
  return batch.with(chunks, count)
}
