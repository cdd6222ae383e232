/**
 * What all series of one resource and scope have in common: job and instance, scope labels, external labels, and
 * resource attributes where they are asked for; sorted, encoded and hashed once.
 *
 * Who wins where a data point has a label of the same name is the mode of the label, lowest to highest: external
 * labels, attributes (of point and resource), then job, instance and scope labels.
 */
import { INSTRUMENTATION_SCOPE, RESOURCE } from '../otlp/fields.ts'
import { FieldCursor, readString } from '../otlp/wire.ts'
import { ByteArea } from './byte-area.ts'
import { ByteMap } from './byte-map.ts'
import { appendLabel, compareNames, LabelName } from './labels.ts'
import { type LabelStyle, labelName, type Strategy } from './naming.ts'
import { readAttributes } from './values.ts'

/** The point's own label wins. */
export const EXTERNAL = 0
/** A resource attribute: it replaces the point's of the same key, and is joined with one whose key differs. */
export const ATTRIBUTE = 1
/** The point's own label is dropped. */
export const WINS = 2
export type Mode = typeof EXTERNAL | typeof ATTRIBUTE | typeof WINS

export interface BaseOptions {
  readonly strategy: Strategy
  readonly external: ReadonlyMap<string, string>
  /** none; those that are not empty (remote write); all, also when empty, and the schema URL (pull exporter). */
  readonly scope: 'none' | 'present' | 'all'
  /** Which resource attributes become labels of every series. */
  readonly resourceLabels: ((key: string) => boolean) | undefined
  readonly labelStyle: LabelStyle
  /**
   * target_info as remote write has it: only when it says more than job and instance, and with external labels. Or as
   * the pull exporter has it: for every resource that has both of them.
   */
  readonly targetInfo: 'informative' | 'always'
}

export interface BaseLabel {
  readonly name: LabelName
  readonly value: string
  readonly mode: Mode
}

const IDENTIFYING = ['service.namespace', 'service.name', 'service.instance.id']

export class LabelBase {
  readonly names: LabelName[] = []
  readonly modes: Mode[] = []
  readonly hashes: number[] = []
  /** Offsets into `bytes`: label i is [starts[i], starts[i + 1]). */
  readonly starts: number[] = [0]
  readonly bytes: Buffer
  readonly hash: number
  readonly labels: readonly BaseLabel[]
  /** Resource attributes that become labels, by their own keys. */
  readonly attributes: ReadonlyMap<string, string>

  /** Tells scopes apart by name and attributes, where they are not among the labels. */
  readonly scope: string

  constructor(labels: readonly BaseLabel[], attributes: ReadonlyMap<string, string>, scope = '') {
    this.scope = scope
    this.labels = [...labels].sort((left, right) => compareNames(left.name, right.name))
    this.attributes = attributes
    const area = new ByteArea(256)
    let sum = 0
    for (const { name, value, mode } of this.labels) {
      const text = Buffer.from(value)
      const hash = appendLabel(area, name, text, 0, text.length)
      sum = (sum + hash) | 0
      this.names.push(name)
      this.modes.push(mode)
      this.hashes.push(hash)
      this.starts.push(area.length)
    }
    this.hash = sum
    this.bytes = area.slice(0, area.length)
  }
}

/** One resource: its identity, and what target_info says of it. */
export interface PreparedResource {
  readonly job: string
  readonly instance: string
  readonly attributes: ReadonlyMap<string, string>
  /** Undefined when target_info would say nothing: no identity, or nothing beyond it. */
  readonly target: LabelBase | undefined
}

export function prepareResource(
  attributes: ReadonlyMap<string, string>,
  options: BaseOptions,
): PreparedResource {
  const name = attributes.get('service.name') ?? ''
  const namespace = attributes.get('service.namespace')
  const job = name === '' ? '' : namespace === undefined ? name : `${namespace}/${name}`
  const instance = attributes.get('service.instance.id') ?? ''
  const rest = new Map([...attributes].filter(([key]) => !IDENTIFYING.includes(key)))
  let target: LabelBase | undefined
  const informative = options.targetInfo === 'informative'
  if (rest.size > 0 || !informative) {
    const labels = new Map<string, BaseLabel>()
    for (const [key, value] of joinAttributes(rest, (raw) => labelName(raw, options.strategy, 'keep')))
      put(labels, key, value, ATTRIBUTE)
    identify(labels, job, instance)
    if (informative) withExternal(labels, options)
    // In remote write an attribute or external label `job` identifies a target as well; the pull exporter wants both.
    const identified = informative
      ? labels.has('job') || labels.has('instance')
      : job !== '' && instance !== ''
    if (identified) target = new LabelBase([...labels.values()], rest)
  }
  return { job, instance, attributes, target }
}

/** Sanitises keys. Keys that become one are taken in the order of the original keys and joined with `;`. */
export function joinAttributes(
  attributes: ReadonlyMap<string, string>,
  rename: (key: string) => string,
): Map<string, string> {
  const values = new Map<string, string[]>()
  const keys = [...attributes.keys()].sort((left, right) =>
    Buffer.compare(Buffer.from(left), Buffer.from(right)),
  )
  for (const key of keys) {
    const name = rename(key)
    const value = attributes.get(key) ?? ''
    if (name === '' || value === '') continue
    const before = values.get(name)
    if (before === undefined) values.set(name, [value])
    else if (!before.includes(value)) before.push(value)
  }
  return new Map([...values].map(([name, list]) => [name, list.join(';')]))
}

function put(labels: Map<string, BaseLabel>, name: string, value: string, mode: Mode): void {
  labels.set(name, { name: new LabelName(name), value, mode })
}

function identify(labels: Map<string, BaseLabel>, job: string, instance: string): void {
  if (job !== '') put(labels, 'job', job, WINS)
  if (instance !== '') put(labels, 'instance', instance, WINS)
}

function withExternal(labels: Map<string, BaseLabel>, options: BaseOptions): Map<string, BaseLabel> {
  for (const [name, value] of options.external) if (!labels.has(name)) put(labels, name, value, EXTERNAL)
  return labels
}

const SCOPE_OWN = ['name', 'version', 'schema_url']

/** The labels that come from resource, scope and configuration, in the order in which they override each other. */
export function prepareBase(
  resource: PreparedResource,
  scope: { readonly name: string; readonly version: string; readonly schemaUrl: string },
  scopeAttributes: ReadonlyMap<string, string>,
  options: BaseOptions,
): LabelBase {
  const labels = new Map<string, BaseLabel>()
  const wanted = options.resourceLabels
  const attributes = new Map(wanted ? [...resource.attributes].filter(([key]) => wanted(key)) : [])
  const rename = (key: string) => labelName(key, options.strategy, options.labelStyle)
  for (const [name, value] of joinAttributes(attributes, rename)) put(labels, name, value, ATTRIBUTE)
  identify(labels, resource.job, resource.instance)
  withExternal(labels, options)
  if (options.scope !== 'none') {
    const all = options.scope === 'all'
    for (const [key, value] of scopeAttributes) {
      if (SCOPE_OWN.includes(key) || value === '') continue
      put(labels, rename(`otel_scope_${key}`), value, WINS)
    }
    if (all || scope.name !== '') put(labels, 'otel_scope_name', scope.name, WINS)
    if (all || scope.version !== '') put(labels, 'otel_scope_version', scope.version, WINS)
    if (all) put(labels, 'otel_scope_schema_url', scope.schemaUrl, WINS)
  }
  const scopeText = JSON.stringify([scope.name, ...[...scopeAttributes].sort()])
  return new LabelBase([...labels.values()], attributes, scopeText)
}

/** Resources and scopes that are kept prepared; a key is their encoded content. */
const MAX_PREPARED = 1024
const MAX_KEY_BYTES = 8192
/** Of all keys of a kind: 4 KB each, where all 1024 are kept. What is made of a key takes a few times its length. */
const MAX_KEYS_BYTES = 4 * 1024 * 1024

/** Keeps what batch after batch has in common: resources and scopes, by their encoded bytes. */
export class BaseCache {
  readonly options: BaseOptions
  readonly #resources = new ByteMap<PreparedResource>(MAX_PREPARED, MAX_KEY_BYTES, MAX_KEYS_BYTES)
  readonly #bases = new ByteMap<LabelBase>(MAX_PREPARED, MAX_KEY_BYTES, MAX_KEYS_BYTES)
  readonly #key = new ByteArea(1024)

  constructor(options: BaseOptions) {
    this.options = options
  }

  resource(chunk: Uint8Array, start: number, end: number): PreparedResource {
    const known = this.#resources.get(chunk, start, end)
    if (known) return known
    const made = prepareResource(readAttributes(chunk, start, end, RESOURCE.attributes), this.options)
    this.#resources.set(chunk, start, end, made)
    return made
  }

  /** `at` has the ranges of resource, scope and the scope's schema URL in the chunk (a ChunkWalker). */
  base(chunk: Uint8Array, at: ScopeRanges, resource: PreparedResource): LabelBase {
    const key = this.#key
    key.clear()
    key.varint(at.resourceEnd - at.resourceStart)
    key.copy(chunk, at.resourceStart, at.resourceEnd)
    key.varint(at.scopeEnd - at.scopeStart)
    key.copy(chunk, at.scopeStart, at.scopeEnd)
    key.copy(chunk, at.scopeSchemaStart, at.scopeSchemaEnd)
    const known = this.#bases.get(key.bytes, 0, key.length)
    if (known) return known
    const cursor = new FieldCursor(chunk, at.scopeStart, at.scopeEnd)
    let name = ''
    let version = ''
    while (cursor.next()) {
      if (cursor.number === INSTRUMENTATION_SCOPE.name) name = cursor.string()
      else if (cursor.number === INSTRUMENTATION_SCOPE.version) version = cursor.string()
    }
    const schemaUrl = readString(chunk, at.scopeSchemaStart, at.scopeSchemaEnd)
    const attributes = readAttributes(chunk, at.scopeStart, at.scopeEnd, INSTRUMENTATION_SCOPE.attributes)
    const made = prepareBase(resource, { name, version, schemaUrl }, attributes, this.options)
    this.#bases.set(key.bytes, 0, key.length, made)
    return made
  }
}

export interface ScopeRanges {
  readonly resourceStart: number
  readonly resourceEnd: number
  readonly scopeStart: number
  readonly scopeEnd: number
  readonly scopeSchemaStart: number
  readonly scopeSchemaEnd: number
}
