/**
 * What the records of one resource and scope have in common: labels, and what their lines end with. It follows from the bytes
 * of the two, and is kept by these: a service sends the same ones with every request.
 */
import type { Counter } from '../../component/telemetry.ts'
import { attributesToJs } from '../../otlp/attributes.ts'
import { RESOURCE } from '../../otlp/fields.ts'
import type { ChunkWalker } from '../../otlp/walk.ts'
import type { LokiConfig } from './config.ts'
import type { Stream } from './entries.ts'
import { KeyShapes, SpecialKeys } from './key-shapes.ts'
import {
  type Attributes,
  HINT_TENANT,
  HINTS,
  type LabelPairs,
  type LabelRules,
  LEVEL,
  labelPairs,
  streamName,
} from './labels.ts'
import { sharedMembers } from './line.ts'
import type { PlainLines } from './plain-record.ts'
import { readScope, type Scope } from './record.ts'
import type { Push } from './streams.ts'

/** Resources with scope that are kept, and the bytes that the two may have. When there are more, all are forgotten. */
const MAX_KEPT = 256
const MAX_BYTES = 4096
const NONE: Attributes = {}
const NO_RECORD = { severityNumber: 0, severityText: '', traceId: '', spanId: '' }
/** Severity numbers, 0 included, for which streams are looked up by number. */
export const SEVERITIES = 25

export interface Shared {
  readonly resource: Attributes
  readonly scope: Scope
  /** For records without anything special; undefined when the resource itself needs the long way. */
  readonly plain: Plain | undefined
}

interface StreamName {
  readonly pairs: LabelPairs
  readonly name: string
}

export class Plain implements PlainLines {
  readonly shapes: KeyShapes
  readonly tail: Uint8Array
  /** Where its records go in the conversion at hand, and their streams by severity number; cleared after it. */
  push: Push | undefined
  readonly streams = new Array<Stream | undefined>(SEVERITIES)
  readonly #names = new Array<StreamName | undefined>(SEVERITIES)
  readonly #rules: LabelRules
  readonly #resource: Attributes

  constructor(rules: LabelRules, resource: Attributes, shapes: KeyShapes, tail: Uint8Array) {
    this.#rules = rules
    this.#resource = resource
    this.shapes = shapes
    this.tail = tail
  }

  nameOf(severityNumber: number): StreamName {
    let known = this.#names[severityNumber]
    if (known === undefined) {
      const pairs = labelPairs(this.#rules.labels({ ...NO_RECORD, severityNumber }, NONE, this.#resource))
      known = this.#names[severityNumber] = { pairs, name: streamName(pairs) }
    }
    return known
  }

  clear(): void {
    this.push = undefined
    this.streams.fill(undefined)
  }
}

export class Resources {
  readonly #rules: LabelRules
  readonly #tenant: LokiConfig['tenant']
  readonly #metadata: LokiConfig['structured_metadata']
  readonly #made: Counter | undefined
  readonly #kept = new Map<string, Shared>()
  /** By the keys that are special. */
  readonly #shapes = new Map<string, KeyShapes>()

  /** `made` counts what was not kept. */
  constructor(rules: LabelRules, config: LokiConfig, made: Counter | undefined) {
    this.#rules = rules
    this.#tenant = config.tenant
    this.#metadata = config.structured_metadata
    this.#made = made
  }

  /** Of the resource and scope that the walker is in. */
  find(chunk: Uint8Array, around: ChunkWalker): Shared {
    const { resourceStart, resourceEnd, scopeStart, scopeEnd } = around
    const resourceBytes = resourceEnd - resourceStart
    if (resourceBytes + scopeEnd - scopeStart > MAX_BYTES) return this.#make(chunk, around)
    const resource = latin1(chunk, resourceStart, resourceEnd)
    const key = `${resourceBytes} ${resource}${latin1(chunk, scopeStart, scopeEnd)}`
    let shared = this.#kept.get(key)
    if (shared === undefined) {
      shared = this.#make(chunk, around)
      if (this.#kept.size === MAX_KEPT) {
        this.#kept.clear()
        this.#shapes.clear()
      }
      this.#kept.set(key, shared)
    }
    return shared
  }

  #make(chunk: Uint8Array, around: ChunkWalker): Shared {
    this.#made?.add(1)
    const resource = attributesToJs(chunk, around.resourceStart, around.resourceEnd, RESOURCE.attributes)
    const scope = readScope(chunk, around.scopeStart, around.scopeEnd)
    if (!this.#isPlain(resource)) return { resource, scope, plain: undefined }
    const taken = this.#rules.taken(this.#rules.labels(NO_RECORD, NONE, resource))
    const tail = Buffer.from(`${sharedMembers(without(resource, taken), scope).join(',')}}`)
    return { resource, scope, plain: new Plain(this.#rules, resource, this.#shapesOf(taken), tail) }
  }

  #shapesOf(taken: ReadonlySet<string>): KeyShapes {
    const keys = [...taken, LEVEL, ...HINTS]
    const name = keys.join('\0')
    let shapes = this.#shapes.get(name)
    if (shapes === undefined) {
      shapes = new KeyShapes(new SpecialKeys(keys))
      this.#shapes.set(name, shapes)
    }
    return shapes
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
}

function latin1(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1')
}

/** Without the hints and without what became a label or structured metadata. */
export function without(attributes: Attributes, taken: ReadonlySet<string>): Attributes {
  let copy: Record<string, Attributes[string]> | undefined
  for (const key of Object.keys(attributes)) {
    if (!taken.has(key) && !HINTS.has(key)) continue
    copy ??= { ...attributes }
    delete copy[key]
  }
  return copy ?? attributes
}
