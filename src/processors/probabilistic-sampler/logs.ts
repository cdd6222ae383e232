/**
 * Judges log records: randomness from their attributes, the trace id or an attribute of the config;
 * priority, a percentage, from another attribute.
 */

import { AttributeList } from '../../otlp/attribute-list.ts'
import { ValueRef } from '../../otlp/attributes.ts'
import { DROP, KEEP, type Verdict, WROTE } from '../../otlp/edit.ts'
import { ANY_VALUE, LOG_RECORD } from '../../otlp/fields.ts'
import type { ItemWalker } from '../../otlp/item-walker.ts'
import { FieldCursor, LEN, type WireWriter } from '../../otlp/wire.ts'
import type { Config } from './config.ts'
import { ATTRIBUTE, MISSING_RANDOMNESS, type Sampler, TRACE_ID_HASH } from './sampler.ts'
import { isId } from './spans.ts'
import {
  HEX_DIGITS,
  probabilityToThreshold,
  readHex,
  type Threshold,
  writeRandomness,
  writeThreshold,
} from './threshold.ts'

const utf8 = new TextEncoder()
const THRESHOLD = utf8.encode('sampling.threshold')
const RANDOMNESS = utf8.encode('sampling.randomness')

export class LogJudge {
  readonly #sampler: Sampler
  readonly #precision: number
  readonly #usesTraceId: boolean
  readonly #source: Uint8Array | undefined
  readonly #priority: Uint8Array | undefined
  readonly #list = new AttributeList()
  readonly #fields = new FieldCursor()
  readonly #value = new ValueRef()
  readonly #number = { high: 0, low: 0 }
  /** An AnyValue that holds a text of up to 14 digits. */
  readonly #text = new Uint8Array(2 + HEX_DIGITS)

  constructor(sampler: Sampler, config: Config) {
    this.#sampler = sampler
    this.#precision = config.sampling_precision
    this.#usesTraceId = config.attribute_source === 'traceID'
    this.#source = config.from_attribute === '' ? undefined : utf8.encode(config.from_attribute)
    this.#priority = config.sampling_priority === '' ? undefined : utf8.encode(config.sampling_priority)
  }

  // message LogRecord { repeated KeyValue attributes = 6; bytes trace_id = 9; ... }
  edit(items: ItemWalker, output: WireWriter): Verdict {
    const { bytes, start, end } = items
    const sampler = this.#sampler
    let id = -1
    const fields = this.#fields.reset(bytes, start, end)
    while (fields.next()) {
      if (fields.number !== LOG_RECORD.traceId || fields.wireType !== LEN) continue
      id = isId(bytes, fields.start, fields.end) ? fields.start : -1
    }
    const list = this.#list.load(bytes, start, end, LOG_RECORD.attributes)
    sampler.begin()
    const readable = this.#readState()
    this.#findRandomness(bytes, id, readable)
    sampler.priority = this.#priorityOf()
    sampler.judge()
    if (!sampler.sampled) return DROP
    if (sampler.writable) this.#writeState()
    if (!list.changed) return KEEP
    list.writeInto(output)
    return WROTE
  }

  /** False when a threshold or a randomness is there and malformed. */
  #readState(): boolean {
    const { state } = this.#sampler
    const threshold = this.#find(THRESHOLD)
    let readable = true
    if (threshold !== undefined && threshold.end > threshold.start) {
      if (readHex(threshold.bytes, threshold.start, threshold.end, this.#number))
        state.setThreshold(this.#number.high, this.#number.low)
      else readable = false
    }
    const randomness = this.#find(RANDOMNESS)
    if (randomness !== undefined && randomness.end > randomness.start) {
      if (
        randomness.end - randomness.start === HEX_DIGITS &&
        readHex(randomness.bytes, randomness.start, randomness.end, this.#number)
      )
        state.setRandomness(this.#number.high, this.#number.low)
      else readable = false
    }
    return readable
  }

  /** The text attribute with this key. */
  #find(key: Uint8Array): ValueRef | undefined {
    const value = this.#read(key)
    return value?.kind === ANY_VALUE.stringValue ? value : undefined
  }

  #read(key: Uint8Array): ValueRef | undefined {
    const list = this.#list
    const index = list.find(key)
    if (index < 0) return undefined
    return this.#value.read(list.bytes(index), list.valueStart(index), list.valueEnd(index))
  }

  #findRandomness(bytes: Uint8Array, id: number, readable: boolean): void {
    const sampler = this.#sampler
    const { state } = sampler
    if (!readable) sampler.usable = sampler.writable = false
    if (sampler.mode === 'never') return
    if (sampler.mode === 'hash_seed') {
      if (this.#usesTraceId && id >= 0) sampler.hash(bytes, id, id + 16, TRACE_ID_HASH)
      else this.#hashSource()
      if (!readable) return
      if (state.hasRandomness || state.hasThreshold) sampler.usable = sampler.writable = false
      else if (sampler.policy !== MISSING_RANDOMNESS) state.setRandomness(sampler.high, sampler.low)
    } else if (!readable) return
    else if (state.hasRandomness) sampler.carried()
    else if (id >= 0) sampler.traceId(bytes, id)
  }

  #hashSource(): void {
    const value = this.#source && this.#read(this.#source)
    if (value === undefined) return
    if (value.kind === ANY_VALUE.stringValue || value.kind === ANY_VALUE.bytesValue) {
      if (value.end > value.start) this.#sampler.hash(value.bytes, value.start, value.end, ATTRIBUTE)
      return
    }
    const text = utf8.encode(value.text())
    if (text.length > 0) this.#sampler.hash(text, 0, text.length, ATTRIBUTE)
  }

  /** Ints and doubles only; 0 and what is no percentage do not count. */
  #priorityOf(): Threshold | undefined {
    const value = this.#priority && this.#read(this.#priority)
    if (value === undefined) return undefined
    let percentage = 0
    if (value.kind === ANY_VALUE.intValue) percentage = Number(value.int())
    else if (value.kind === ANY_VALUE.doubleValue) percentage = value.double()
    return percentage === 0 ? undefined : probabilityToThreshold(percentage / 100, this.#precision)
  }

  #writeState(): void {
    const { state } = this.#sampler
    const text = this.#text
    if (state.hasRandomness) {
      const end = writeRandomness(text, 2, state.randomHigh, state.randomLow)
      this.#putText(RANDOMNESS, end)
    }
    if (state.hasThreshold) {
      const end = writeThreshold(text, 2, state.thresholdHigh, state.thresholdLow)
      this.#putText(THRESHOLD, end)
    }
  }

  #putText(key: Uint8Array, end: number): void {
    const text = this.#text
    text[0] = ANY_VALUE.stringValue * 8 + LEN
    text[1] = end - 2
    this.#list.putValue(this.#list.find(key), key, text, 0, end)
  }
}
