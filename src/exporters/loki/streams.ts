/**
 * Log records sorted into what a push to Loki is made of: a request for each tenant, in it streams of equal
 * labels, in those the entries in the order of time.
 */
import type { Counter } from '../../component/telemetry.ts'
import { Assembler } from '../../otlp/assemble.ts'
import type { JsValue } from '../../otlp/attributes.ts'
import type { Batch } from '../../otlp/batch.ts'
import { ItemWalker } from '../../otlp/item-walker.ts'
import type { LokiConfig } from './config.ts'
import { EntryStore, Stream } from './entries.ts'
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
import type { Text } from './line-text.ts'
import { PlainRecord } from './plain-record.ts'
import { attributeText, type LogRecord, readRecord, type Scope } from './record.ts'
import { type Plain, Resources, SEVERITIES, type Shared, without } from './resources.ts'

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
  /** Which records are in which push, in their order. */
  readonly runs: readonly Run[]
}

interface Outcome {
  readonly runs: Run[]
  droppedRecords: number
  unknownFormat: string
}

/** Records side by side that are in the same push; in none when they were dropped. */
interface Run {
  readonly push: Push | undefined
  records: number
}

const items = new ItemWalker()
export class Converter {
  readonly #rules: LabelRules
  readonly #tenant: LokiConfig['tenant']
  readonly #staticTenant: string
  readonly #metadata: LokiConfig['structured_metadata']
  readonly #resources: Resources
  readonly #entries = new EntryStore()
  readonly #record = new PlainRecord()
  /** What the conversion at hand has used. */
  readonly #used: Plain[] = []

  /** `staticTenant`: of records for which nothing else says it. `made`: counts resources that were not kept. */
  constructor(config: LokiConfig, staticTenant: string, made?: Counter) {
    this.#rules = new LabelRules(config)
    this.#tenant = config.tenant
    this.#staticTenant = staticTenant
    this.#metadata = config.structured_metadata
    this.#resources = new Resources(this.#rules, config, made)
  }

  /** The pushes hold bytes that the next conversion overwrites: their bodies are made before it. */
  convert(batch: Batch, nowMs: number): Converted {
    const pushes = new Map<string, Push>()
    const outcome: Outcome = { runs: [], droppedRecords: 0, unknownFormat: '' }
    this.#release()
    this.#entries.clear()
    for (const chunk of batch.chunks) this.#convertChunk(chunk, batch, pushes, outcome, nowMs)
    this.#release()
    const filled = [...pushes.values()].filter((push) => push.records > 0)
    return { pushes: filled, ...outcome }
  }

  /** Of its own, so that the compiler gets it in one piece, and not a loop that is entered in its middle. */
  #convertChunk(
    chunk: Uint8Array,
    batch: Batch,
    pushes: Map<string, Push>,
    outcome: Outcome,
    nowMs: number,
  ): void {
    const source = { bytes: chunk, view: new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength) }
    let shared: Shared | undefined
    let scopeNumber = -1
    items.reset('logs', chunk)
    while (items.next()) {
      if (items.scopeNumber !== scopeNumber || shared === undefined) {
        shared = this.#resources.find(chunk, items.around)
        scopeNumber = items.scopeNumber
        if (shared.plain !== undefined) this.#use(shared.plain, shared.resource, batch, pushes)
      }
      const { plain } = shared
      if (plain !== undefined && this.#addPlain(plain, source, nowMs)) note(outcome.runs, plain.push)
      else this.#addLong(chunk, shared, batch, pushes, outcome, nowMs)
    }
  }

  /** Adds the record that the walker is at over objects. */
  #addLong(
    chunk: Uint8Array,
    { resource, scope }: Shared,
    batch: Batch,
    pushes: Map<string, Push>,
    outcome: Outcome,
    nowMs: number,
  ): void {
    const record = readRecord(chunk, items.start, items.end, nowMs)
    const format = this.#rules.format(record.attributes, resource)
    const push = this.#pushFor(record.attributes, resource, batch, pushes)
    const added = this.#add(push, record, resource, scope, format)
    note(outcome.runs, added ? push : undefined)
    if (added) return
    outcome.droppedRecords++
    outcome.unknownFormat = format
  }

  #release(): void {
    for (const plain of this.#used) plain.clear()
    this.#used.length = 0
  }

  #use(plain: Plain, resource: Attributes, batch: Batch, pushes: Map<string, Push>): void {
    if (plain.push !== undefined) return
    plain.push = this.#pushFor({}, resource, batch, pushes)
    this.#used.push(plain)
  }

  /** Adds the record that the walker is at. False when it needs the long way. */
  #addPlain(plain: Plain, source: Text, nowMs: number): boolean {
    const record = this.#record
    const entries = this.#entries
    const { push } = plain
    const end = record.write(source, items.start, items.end, plain, entries, nowMs)
    if (end < 0 || push === undefined) return false
    const { severityNumber } = record
    let stream = plain.streams[severityNumber]
    if (stream === undefined) {
      if (severityNumber >= SEVERITIES) return false
      const { pairs, name } = plain.nameOf(severityNumber)
      stream = plain.streams[severityNumber] = streamOf(push, pairs, name)
    }
    entries.close(stream, end)
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
  const stream = streamOf(push, pairs, streamName(pairs))
  push.byLabels.set(key, stream)
  return stream
}

function streamOf(push: Push, labels: LabelPairs, name: string): Stream {
  let stream = push.streams.get(name)
  if (!stream) {
    stream = new Stream(labels, name)
    push.streams.set(name, stream)
  }
  return stream
}

function note(runs: Run[], push: Push | undefined): void {
  const last = runs[runs.length - 1]
  if (last !== undefined && last.push === push) last.records++
  else runs.push({ push, records: 1 })
}

/** A batch of the records whose push is among `failed`. */
export function selectRecords(batch: Batch, converted: Converted, failed: ReadonlySet<Push>): Batch {
  const chunks: Uint8Array[] = []
  const assembler = new Assembler(4096)
  const runs = converted.runs.values()
  let run = runs.next().value
  let left = run?.records ?? 0
  let count = 0
  for (const chunk of batch.chunks) {
    items.reset('logs', chunk)
    while (items.next()) {
      if (left === 0) {
        run = runs.next().value
        left = run?.records ?? 0
      }
      left--
      if (run?.push === undefined || !failed.has(run.push)) continue
      assembler.add(items)
      count++
    }
    if (!assembler.isEmpty) chunks.push(assembler.finish())
  }
  return batch.with(chunks, count)
}
