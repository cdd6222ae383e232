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
import { EntryStore, Stream } from './entries.ts'
import {
  type Attributes,
  attributeTenant,
  HINT_TENANT,
  HINTS,
  hintedTenant,
  type LabelPairs,
  LabelRules,
  LEVEL,
  labelPairs,
  lookUp,
  sanitize,
  streamName,
} from './labels.ts'
import { formatLine, sharedMembers } from './line.ts'
import { PlainRecord, SpecialKeys } from './plain-record.ts'
import { attributeText, type LogRecord, readRecord, readScope, type Scope } from './record.ts'

export interface Push {
  /** Empty: no tenant header. */
  readonly tenant: string
  /** By their labels before these are sorted and made valid: what most records only need to look up. */
  readonly byLabels: Map<string, Stream>
  /** By name. */
  readonly streams: Map<string, Stream>
  /** Where the bytes of their entries are. */
  readonly entries: EntryStore
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
const NO_RECORD = { severityNumber: 0, severityText: '', traceId: '', spanId: '' }
/** Severity numbers, 0 included, for which streams are looked up by number. */
const SEVERITIES = 25

/** What the records of one resource and scope have in common. */
interface Shared {
  readonly resource: Attributes
  readonly scope: Scope
  /** For records without anything special; undefined when the resource itself needs the long way. */
  readonly plain: Plain | undefined
}

interface Plain {
  readonly resource: Attributes
  readonly push: Push
  readonly special: SpecialKeys
  /** What their lines end with. */
  readonly tail: Uint8Array
  /** By severity number. */
  readonly streams: (Stream | undefined)[]
}

export class Converter {
  readonly #rules: LabelRules
  readonly #tenant: LokiConfig['tenant']
  readonly #staticTenant: string
  readonly #metadata: LokiConfig['structured_metadata']
  readonly #entries = new EntryStore()
  readonly #record = new PlainRecord()

  /** `staticTenant`: of records for which nothing else says it. */
  constructor(config: LokiConfig, staticTenant: string) {
    this.#rules = new LabelRules(config)
    this.#tenant = config.tenant
    this.#staticTenant = staticTenant
    this.#metadata = config.structured_metadata
  }

  /** The pushes hold bytes that the next conversion overwrites: their bodies are made before it. */
  convert(batch: Batch, nowMs: number): Converted {
    const pushes = new Map<string, Push>()
    const pushOf: (Push | undefined)[] = []
    let droppedRecords = 0
    let unknownFormat = ''
    this.#entries.clear()
    for (const chunk of batch.chunks) {
      let shared: Shared | undefined
      let scopeNumber = -1
      items.reset('logs', chunk)
      while (items.next()) {
        if (items.scopeNumber !== scopeNumber || shared === undefined) {
          shared = this.#sharedOf(chunk, batch, pushes)
          scopeNumber = items.scopeNumber
        }
        const { plain } = shared
        if (plain !== undefined && this.#addPlain(plain, chunk, nowMs)) {
          pushOf.push(plain.push)
          continue
        }
        const { resource, scope } = shared
        const record = readRecord(chunk, items.start, items.end, nowMs)
        const format = this.#rules.format(record.attributes, resource)
        const push = this.#pushFor(record.attributes, resource, batch, pushes)
        if (this.#add(push, record, resource, scope, format)) pushOf.push(push)
        else {
          pushOf.push(undefined)
          droppedRecords++
          unknownFormat = format
        }
      }
    }
    const filled = [...pushes.values()].filter((push) => push.records > 0)
    return { pushes: filled, droppedRecords, unknownFormat, pushOf }
  }

  /** Of the resource and scope that the walker is in. */
  #sharedOf(chunk: Uint8Array, batch: Batch, pushes: Map<string, Push>): Shared {
    const { around } = items
    const resource = attributesToJs(chunk, around.resourceStart, around.resourceEnd, RESOURCE.attributes)
    const scope = readScope(chunk, around.scopeStart, around.scopeEnd)
    if (!this.#isPlain(resource)) return { resource, scope, plain: undefined }
    const push = this.#pushFor(NONE, resource, batch, pushes)
    const taken = this.#rules.taken(this.#rules.labels(NO_RECORD, NONE, resource))
    const special = new SpecialKeys([...taken, LEVEL, ...HINTS])
    const tail = Buffer.from(`${sharedMembers(without(resource, taken), scope).join(',')}}`)
    const streams = new Array<Stream | undefined>(SEVERITIES)
    return { resource, scope, plain: { resource, push, special, tail, streams } }
  }

  /** True when label, tenant and line of a record without hints follow from its resource and severity. */
  #isPlain(resource: Attributes): boolean {
    if (!this.#rules.onlyDefaults || this.#metadata !== false || LEVEL in resource) return false
    if (this.#rules.format(NONE, resource) !== 'json') return false
    // The tenant may be in an attribute of the record.
    const hint = resource[HINT_TENANT]
    if (hint !== undefined && (typeof hint !== 'string' || resource[hint] === undefined)) return false
    const source = this.#tenant?.source
    return (
      (source !== 'attributes' && source !== 'attribute') || resource[this.#tenant?.value ?? ''] !== undefined
    )
  }

  /** Adds the record that the walker is at. False when it needs the long way. */
  #addPlain(plain: Plain, chunk: Uint8Array, nowMs: number): boolean {
    const record = this.#record
    const { push, streams } = plain
    if (!record.read(chunk, items.start, items.end, plain.special, plain.tail, nowMs)) return false
    const { severityNumber, line } = record
    if (severityNumber >= SEVERITIES) return false
    let stream = streams[severityNumber]
    if (stream === undefined) {
      stream = streamFor(push, this.#rules.labels({ ...NO_RECORD, severityNumber }, NONE, plain.resource))
      streams[severityNumber] = stream
    }
    this.#entries.add(stream, record.seconds, record.nanos, line.bytes, line.length)
    push.records++
    return true
  }

  #pushFor(attributes: Attributes, resource: Attributes, batch: Batch, pushes: Map<string, Push>): Push {
    const tenant = this.#tenantOf(attributes, resource, batch)
    let push = pushes.get(tenant)
    if (!push) {
      push = { tenant, byLabels: new Map(), streams: new Map(), entries: this.#entries, records: 0 }
      pushes.set(tenant, push)
    }
    return push
  }

  #tenantOf(attributes: Attributes, resource: Attributes, batch: Batch): string {
    const hinted = hintedTenant(attributes, resource)
    if (hinted !== '') return hinted
    const source = this.#tenant?.source
    const value = this.#tenant?.value ?? ''
    let found = ''
    if (source === 'context') found = batch.context.metadata.get(value.toLowerCase())?.[0] ?? ''
    else if (source === 'attributes' || source === 'attribute')
      found = attributeTenant(value, attributes, resource)
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
    this.#entries.addText(stream, record.seconds, record.nanos, line, metadata)
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
    stream = new Stream(pairs, name)
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
