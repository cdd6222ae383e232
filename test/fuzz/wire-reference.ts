/**
 * The rules of the door, written as plainly as they can be: what src/otlp/receive.ts has to accept and how many items it has to
 * count. Only the table of shapes is shared with it.
 */
import type { Signal } from '../../src/otlp/batch.ts'
import { SHAPES } from '../../src/otlp/shapes.ts'

const MAX_DEPTH = 100
/** Leaves are not counted as levels wherever they are read in one step, so that the last levels are either way. */
const LEEWAY = 4

class Refused extends Error {}
class NearLimit extends Error {}

export interface Verdict {
  readonly accepted: boolean
  readonly why: string
  /** It has the list that field 1000 once was, which protobufjs does not know. */
  readonly legacy: boolean
}

/** Undefined when it is too near to the limit of depth to be told. */
export function reference(signal: Signal, bytes: Uint8Array): Verdict | undefined {
  try {
    const reader = new Reader(bytes)
    reader.request(signal)
    return { accepted: true, why: '', legacy: reader.legacy }
  } catch (error) {
    if (error instanceof NearLimit) return undefined
    if (error instanceof Refused) return { accepted: false, why: error.message, legacy: false }
    throw error
  }
}

const NAMES: Readonly<Record<Signal, readonly [resources: string, scopes: string]>> = {
  traces: ['ResourceSpans', 'ScopeSpans'],
  metrics: ['ResourceMetrics', 'ScopeMetrics'],
  logs: ['ResourceLogs', 'ScopeLogs'],
}

class Reader {
  readonly #bytes: Uint8Array
  #at = 0
  legacy = false

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  request(signal: Signal): void {
    const [resources, scopes] = NAMES[signal]
    while (this.#at < this.#bytes.length) {
      const tag = this.#short(this.#bytes.length)
      if (tag === 10) this.#message(resources, scopes, this.#length(this.#bytes.length), 1)
      else if (tag >>> 3 === 1) throw new Refused('wire type')
      else this.#unknown(tag, this.#bytes.length)
    }
  }

  #message(shape: string, legacy: string, end: number, depth: number): void {
    if (depth > MAX_DEPTH + LEEWAY) throw new Refused('depth')
    if (depth > MAX_DEPTH - LEEWAY) throw new NearLimit()
    while (this.#at < end) {
      const tag = this.#short(end)
      const kind = SHAPES[shape]?.[tag >>> 3]
      if (kind === undefined) {
        const start = this.#at
        this.#unknown(tag, end)
        if (tag === 8002 && legacy !== '') {
          const after = this.#at
          this.legacy = true
          this.#at = start
          this.#length(end)
          this.#message(legacy, '', after, 2)
        }
      } else this.#known(tag & 7, kind, end, depth)
    }
  }

  #known(type: number, kind: string, end: number, depth: number): void {
    const [, name = '', marks = ''] = /^(\w+)(.*)$/.exec(kind) ?? []
    const own = { varint: 0, fixed64: 1, fixed32: 5 }[name]
    if (own !== undefined) {
      this.#number(type, own, marks.includes('*'), end)
      return
    }
    if (type !== 2) throw new Refused('wire type')
    const fieldEnd = this.#length(end)
    const length = fieldEnd - this.#at
    const idLength = { traceId: 16, spanId: 8 }[name]
    if (idLength !== undefined && length !== 0 && length !== idLength) throw new Refused('id')
    if (idLength !== undefined || name === 'bytes') this.#at = fieldEnd
    else this.#message(name, '', fieldEnd, depth + 1)
  }

  /** `own`: the wire type of such a number; a run of them may be packed. */
  #number(type: number, own: number, repeated: boolean, end: number): void {
    if (type === own && own === 0) this.#varint(end)
    else if (type === own) this.#skip(own === 1 ? 8 : 4, end)
    else if (type !== 2 || !repeated) throw new Refused('wire type')
    else {
      const packedEnd = this.#length(end)
      if (own === 1 && (packedEnd - this.#at) % 8 !== 0) throw new Refused('packed')
      if (own === 1) this.#at = packedEnd
      while (this.#at < packedEnd) this.#varint(packedEnd)
    }
  }

  #unknown(tag: number, end: number): void {
    if (tag < 8) throw new Refused('field 0')
    const type = tag & 7
    if (type === 0) this.#varint(end)
    else if (type === 1) this.#skip(8, end)
    else if (type === 5) this.#skip(4, end)
    else if (type === 2) this.#at = this.#length(end)
    else throw new Refused('wire type')
  }

  /** Reads a length; gives where what it is of ends. */
  #length(end: number): number {
    const length = this.#short(end)
    if (this.#at + length > end) throw new Refused('bounds')
    return this.#at + length
  }

  #skip(bytes: number, end: number): void {
    this.#at += bytes
    if (this.#at > end) throw new Refused('bounds')
  }

  /** Up to 32 bits in up to 5 bytes. */
  #short(end: number): number {
    let value = 0
    for (let index = 0; index < 5; index++) {
      const byte = this.#next(end)
      value += (byte & 127) * 2 ** (7 * index)
      if (byte >= 128) continue
      if (value >= 2 ** 32) break
      return value
    }
    throw new Refused('32 bits')
  }

  #varint(end: number): void {
    for (let index = 0; index < 10; index++) {
      const byte = this.#next(end)
      if (index === 9 && byte > 1) break
      if (byte < 128) return
    }
    throw new Refused('64 bits')
  }

  #next(end: number): number {
    const byte = this.#bytes[this.#at]
    if (this.#at >= end || byte === undefined) throw new Refused('bounds')
    this.#at++
    return byte
  }
}
