/**
 * Labels as encoded bytes: `Label { string name = 1; string value = 2; }` as field 1 of a TimeSeries, which is also
 * the form in which the pull exporter keeps its series.
 *
 * Names are sanitised once and kept; their order is that of their UTF-8 bytes. The hash of a label set is the sum of
 * the mixed hashes of its labels, so that sets that share most labels share most of the work too.
 */
import { isUtf8 } from 'node:buffer'
import { readString } from '../otlp/wire.ts'
import { type ByteArea, hashRange, mix } from './byte-area.ts'
import { ByteMap } from './byte-map.ts'
import { type LabelStyle, labelName, type Strategy } from './naming.ts'

/** Distinct attribute keys that are kept sanitised. */
const MAX_NAMES = 16_384

export class LabelName {
  readonly text: string
  readonly bytes: Buffer
  /** The first six bytes as a number: most comparisons end with it. */
  readonly order: number
  readonly hash: number
  /** The field in front of the value: tag, length and bytes of the name, tag of the value. */
  readonly head: Buffer

  constructor(text: string) {
    this.text = text
    this.bytes = kept(Buffer.from(text))
    let order = 0
    for (let index = 0; index < 6; index++) order = order * 256 + (this.bytes[index] ?? 0)
    this.order = order
    this.hash = hashRange(this.bytes, 0, this.bytes.length)
    this.head = kept(Buffer.from([0x0a, ...varintBytes(this.bytes.length), ...this.bytes, 0x12]))
  }
}

/** In memory of its own: short buffers lie in blocks of 8 KB that the runtime shares out, and a name that is kept would keep its block. */
function kept(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length)
  bytes.copy(copy)
  return copy
}

/** Order by UTF-8 bytes. */
export function compareNames(left: LabelName, right: LabelName): number {
  if (left === right) return 0
  if (left.order !== right.order) return left.order - right.order
  return Buffer.compare(left.bytes, right.bytes)
}

export function varintBytes(value: number): number[] {
  const bytes: number[] = []
  while (value >= 128) {
    bytes.push((value % 128) + 128)
    value = Math.floor(value / 128)
  }
  bytes.push(value)
  return bytes
}

/** Sanitised names by the bytes of the attribute key. */
export class LabelNames {
  readonly #strategy: Strategy
  readonly #style: LabelStyle
  readonly #names = new ByteMap<LabelName>(MAX_NAMES, 256)

  constructor(strategy: Strategy, style: LabelStyle) {
    this.#strategy = strategy
    this.#style = style
  }

  get(bytes: Uint8Array, start: number, end: number): LabelName {
    const known = this.#names.get(bytes, start, end)
    if (known) return known
    const made = new LabelName(labelName(readString(bytes, start, end), this.#strategy, this.#style))
    this.#names.set(bytes, start, end, made)
    return made
  }
}

/** Appends one label and returns its hash. The value must not be empty, unless the label is wanted all the same. */
export function appendLabel(
  area: ByteArea,
  name: LabelName,
  value: Uint8Array,
  start: number,
  end: number,
): number {
  let hash = name.hash
  let seen = 0
  for (let index = start; index < end; index++) {
    const byte = value[index]!
    seen |= byte
    hash = Math.imul(hash ^ byte, 0x01000193)
  }
  if (seen >= 128 && !isUtf8(value.subarray(start, end))) {
    // Prometheus refuses what is not UTF-8: the bytes that are not become U+FFFD.
    const repaired = Buffer.from(readString(value, start, end))
    return appendLabel(area, name, repaired, 0, repaired.length)
  }
  const head = name.head
  const count = end - start
  area.reserve(head.length + count + 16)
  const length = head.length + (count < 128 ? 1 : varintBytes(count).length) + count
  if (length < 128) {
    area.bytes[area.length] = 0x0a
    area.bytes[area.length + 1] = length
    area.length += 2
  } else {
    area.byte(0x0a)
    area.varint(length)
  }
  area.copy(head, 0, head.length)
  if (count < 128) area.bytes[area.length++] = count
  else area.varint(count)
  area.copy(value, start, end)
  return mix(hash)
}

/** One label whose value is known beforehand: `__name__`, `le`, `quantile`. */
export class FixedLabel {
  readonly value: string
  readonly bytes: Buffer
  readonly hash: number

  constructor(area: ByteArea, name: LabelName, value: string) {
    this.value = value
    const from = area.length
    const text = Buffer.from(value)
    this.hash = appendLabel(area, name, text, 0, text.length)
    this.bytes = area.slice(from, area.length)
    area.length = from
  }
}

export const METRIC_NAME = new LabelName('__name__')
export const LE = new LabelName('le')
export const QUANTILE = new LabelName('quantile')
