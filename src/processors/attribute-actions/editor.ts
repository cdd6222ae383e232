/**
 * Compiles attribute actions, once, into steps that edit an AttributeList. Actions run in the order of
 * the list and each sees what the earlier ones did.
 *
 * Duplicate keys behave as in the Go collector's map: every action but a pattern means the first
 * attribute with its key. A pattern means all attributes whose keys match.
 */
import type { RE2JS } from 're2js'
import { compileRe2 } from '../../config/re2.ts'
import { type JsValue, jsToAnyValue, ValueRef } from '../../otlp/any-value.ts'
import { type AttributeList, type EncodedAttribute, encodeAttribute } from '../../otlp/attribute-list.ts'
import type { RequestContext } from '../../otlp/batch.ts'
import { ANY_VALUE } from '../../otlp/fields.ts'
import { readString } from '../../otlp/wire.ts'
import { type ActionConfig, type ActionName, actionName, groupNames } from './config.ts'
import { convertedValue, encodeStringValue, hashedValue } from './conversions.ts'

type Step = (list: AttributeList) => void

const utf8 = new TextEncoder()
const reader = new ValueRef()

export class AttributeEditor {
  readonly #steps: readonly Step[]
  /** Values that come from the request, encoded anew when it changes. */
  readonly #contextValues: ContextValue[] = []
  #context: RequestContext | undefined

  /** `fallback` is the action of entries that name none. */
  constructor(actions: readonly ActionConfig[], fallback?: ActionName) {
    this.#steps = actions.map((action) => this.#compile(action, actionName(action, fallback) ?? 'upsert'))
  }

  /** To be called before the messages of a batch. */
  begin(context: RequestContext): void {
    if (this.#contextValues.length === 0 || context === this.#context) return
    this.#context = context
    for (const value of this.#contextValues) value.read(context)
  }

  edit(list: AttributeList): void {
    const steps = this.#steps
    for (let index = 0; index < steps.length; index++) steps[index]!(list)
  }

  #compile(action: ActionConfig, name: ActionName): Step {
    const key = utf8.encode(action.key)
    const pattern = action.pattern === '' ? undefined : compileRe2(action.pattern)
    switch (name) {
      case 'delete':
        return compileDelete(action.key === '' ? undefined : key, pattern)
      case 'hash':
        return compileHash(action.key === '' ? undefined : key, pattern)
      case 'extract':
        return compileExtract(key, pattern)
      case 'convert':
        return compileConvert(key, action.converted_type)
      default:
        return this.#compileSet(action, name, key)
    }
  }

  #compileSet(action: ActionConfig, name: ActionName, key: Uint8Array): Step {
    // Which of "there" and "not there" the action applies to.
    const replaces = name !== 'insert'
    const adds = name !== 'update'
    const fallback = encodeConstant(key, action.default_value)
    const constant = encodeConstant(key, action.value)
    if (constant !== undefined || (action.from_attribute === '' && action.from_context === '')) {
      const attribute = constant ?? fallback
      if (attribute === undefined) return () => {}
      return (list) => {
        const index = list.find(key)
        if (index >= 0 ? replaces : adds) list.put(index, attribute)
      }
    }
    if (action.from_context !== '') {
      const value = new ContextValue(key, action.from_context, fallback)
      this.#contextValues.push(value)
      return (list) => {
        if (value.attribute === undefined) return
        const index = list.find(key)
        if (index >= 0 ? replaces : adds) list.put(index, value.attribute)
      }
    }
    const sourceKey = utf8.encode(action.from_attribute)
    return (list) => {
      const source = list.find(sourceKey)
      if (source < 0 && fallback === undefined) return
      const index = list.find(key)
      if (index >= 0 ? !replaces : !adds) return
      if (source >= 0) {
        list.putValue(index, key, list.bytes(source), list.valueStart(source), list.valueEnd(source))
      } else if (fallback !== undefined) list.put(index, fallback)
    }
  }
}

/**
 * A value of the config, which YAML made of JS values that an AnyValue can hold; undefined when it is not
 * given.
 */
function encodeConstant(key: Uint8Array, value: unknown): EncodedAttribute | undefined {
  if (value === undefined || value === null) return undefined
  return encodeAttribute(key, jsToAnyValue(value as JsValue))
}

/** One `from_context` source: `metadata.x`, `auth.x`, `client.address`, or the bare name of metadata. */
class ContextValue {
  attribute: EncodedAttribute | undefined
  readonly #key: Uint8Array
  readonly #source: string
  readonly #fallback: EncodedAttribute | undefined

  constructor(key: Uint8Array, source: string, fallback: EncodedAttribute | undefined) {
    this.#key = key
    this.#source = source
    this.#fallback = fallback
    this.attribute = fallback
  }

  read(context: RequestContext): void {
    const text = this.#text(context)
    this.attribute = text === undefined ? this.#fallback : encodeAttribute(this.#key, encodeStringValue(text))
  }

  #text(context: RequestContext): string | undefined {
    const source = this.#source
    if (source === 'client.address') return context.clientAddress
    if (source.startsWith('auth.')) {
      const value = context.auth?.get(source.slice('auth.'.length))
      if (typeof value === 'string' || value === undefined) return value
      return value.length === 0 ? undefined : value.join(';')
    }
    const name = source.startsWith('metadata.') ? source.slice('metadata.'.length) : source
    const values = context.metadata.get(name.toLowerCase())
    return values === undefined || values.length === 0 ? undefined : values.join(';')
  }
}

function compileDelete(key: Uint8Array | undefined, pattern: RE2JS | undefined): Step {
  return (list) => {
    const index = key === undefined ? -1 : list.find(key)
    if (index >= 0) list.remove(index)
    if (pattern === undefined) return
    for (let each = 0; each < list.count; each++) if (keyMatches(list, each, pattern)) list.remove(each)
  }
}

function compileHash(key: Uint8Array | undefined, pattern: RE2JS | undefined): Step {
  return (list) => {
    const index = key === undefined ? -1 : list.find(key)
    if (index >= 0) replaceValue(list, index, hashedValue(readValue(list, index)))
    if (pattern === undefined) return
    for (let each = 0; each < list.count; each++) {
      if (keyMatches(list, each, pattern)) replaceValue(list, each, hashedValue(readValue(list, each)))
    }
  }
}

function compileConvert(key: Uint8Array, to: string): Step {
  return (list) => {
    const index = list.find(key)
    if (index >= 0) replaceValue(list, index, convertedValue(readValue(list, index), to))
  }
}

function compileExtract(key: Uint8Array, pattern: RE2JS | undefined): Step {
  if (pattern === undefined) return () => {}
  const targets = (groupNames(pattern) ?? []).map((name) => utf8.encode(name))
  return (list) => {
    const index = list.find(key)
    if (index < 0) return
    const value = readValue(list, index)
    if (value.kind !== ANY_VALUE.stringValue) return
    const matcher = pattern.matcher(value.text())
    if (!matcher.find()) return
    for (let group = 0; group < targets.length; group++) {
      const target = targets[group]!
      const text = encodeStringValue(matcher.group(group + 1) ?? '')
      list.putValue(list.find(target), target, text, 0, text.length)
    }
  }
}

function keyMatches(list: AttributeList, index: number, pattern: RE2JS): boolean {
  return (
    list.has(index) && pattern.test(readString(list.bytes(index), list.keyStart(index), list.keyEnd(index)))
  )
}

function readValue(list: AttributeList, index: number): ValueRef {
  return reader.read(list.bytes(index), list.valueStart(index), list.valueEnd(index))
}

function replaceValue(list: AttributeList, index: number, value: Uint8Array | undefined): void {
  if (value === undefined) return
  const key = list.bytes(index).slice(list.keyStart(index), list.keyEnd(index))
  list.putValue(index, key, value, 0, value.length)
}
