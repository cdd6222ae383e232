/**
 * The label set of one data point, put together as bytes: the labels of its base and its own, sorted, unique, none
 * of them empty. Two gaps stay open in it, for `__name__` and for `le` or `quantile`, so that the fifteen series of
 * a histogram share one assembly:
 *
 *     bytes[0, nameAt) __name__ bytes[nameAt, extraAt) le bytes[extraAt, length)
 *
 * Names that only become equal by sanitising are rare and go the slow way over strings.
 */
import { anyValueText } from '../otlp/any-value.ts'
import { ANY_VALUE, KEY_VALUE } from '../otlp/fields.ts'
import { FieldCursor, LEN, VARINT } from '../otlp/wire.ts'
import { ByteArea } from './byte-area.ts'
import { ATTRIBUTE, EXTERNAL, joinAttributes, type LabelBase, WINS } from './label-base.ts'
import { appendLabel, compareNames, LabelName, type LabelNames, METRIC_NAME } from './labels.ts'
import { readAttribute } from './values.ts'

/** Varints of so many bytes are exact as numbers, and not negative. */
const SAFE_VARINT = 7
const TRUE = Buffer.from('true')
const FALSE = Buffer.from('false')

/** Up to here sorting by insertion is cheapest; a hostile point may have many more. */
const INSERTION_SORT = 48

export class LabelSet {
  /** The finished set. */
  readonly area = new ByteArea(4096)
  nameAt = 0
  extraAt = 0
  /** A label of the point had the name of a gap, and gave way. */
  displaced = false
  /** Changes with every finish(): two series of one generation differ in the gaps only. */
  generation = 0
  /** Sum of the hashes of all labels in the set; the gaps add theirs. */
  hash = 0

  readonly #keys: LabelNames
  readonly #scratch = new ByteArea(4096)
  readonly #digits = new Uint8Array(20)
  readonly #attribute = new FieldCursor()
  readonly #value = new FieldCursor()
  #base: LabelBase | undefined
  #source: Uint8Array = new Uint8Array(0)
  // The point's labels as they came: name, range in scratch, hash, range of the KeyValue in the source.
  #count = 0
  readonly #order: number[] = []
  readonly #names: LabelName[] = []
  readonly #starts: number[] = []
  readonly #ends: number[] = []
  readonly #hashes: number[] = []
  readonly #pairStarts: number[] = []
  readonly #pairEnds: number[] = []

  constructor(keys: LabelNames) {
    this.#keys = keys
  }

  get length(): number {
    return this.area.length
  }

  begin(base: LabelBase, source: Uint8Array): void {
    this.#base = base
    this.#source = source
    this.#count = 0
    this.#scratch.length = 0
  }

  /** Adds one attribute of the point: the content of its KeyValue. */
  add(start: number, end: number): void {
    const bytes = this.#source
    // The common layout, read at a glance: short key first, then a short string value.
    const keyLength = bytes[start + 1]!
    const valueAt = start + 2 + keyLength
    if (
      bytes[start] === 0x0a &&
      keyLength < 128 &&
      valueAt + 4 <= end &&
      bytes[valueAt] === 0x12 &&
      bytes[valueAt + 1]! < 128 &&
      valueAt + 2 + bytes[valueAt + 1]! === end &&
      bytes[valueAt + 2] === 0x0a &&
      valueAt + 4 + bytes[valueAt + 3]! === end
    ) {
      if (valueAt + 4 === end) return
      const name = this.#keys.get(bytes, start + 2, valueAt)
      this.#push(name, bytes, valueAt + 4, end, start, end)
      return
    }
    this.#addAny(start, end)
  }

  #addAny(start: number, end: number): void {
    const bytes = this.#source
    const attribute = this.#attribute.reset(bytes, start, end)
    let keyStart = start
    let keyEnd = start
    let valueStart = start
    let valueEnd = start
    while (attribute.next()) {
      if (attribute.wireType !== LEN) continue
      if (attribute.number === KEY_VALUE.key) {
        keyStart = attribute.start
        keyEnd = attribute.end
      } else if (attribute.number === KEY_VALUE.value) {
        valueStart = attribute.start
        valueEnd = attribute.end
      }
    }
    const value = this.#value.reset(bytes, valueStart, valueEnd)
    if (!value.next()) return
    const name = this.#keys.get(bytes, keyStart, keyEnd)
    if (value.number === 1 && value.wireType === LEN && value.end === valueEnd) {
      if (value.start < value.end) this.#push(name, bytes, value.start, value.end, start, end)
      return
    }
    if (value.wireType === VARINT && value.end === valueEnd && value.end - value.start <= SAFE_VARINT) {
      const number = value.uint()
      if (value.number === ANY_VALUE.intValue) this.#pushDigits(name, number, start, end)
      else if (value.number === ANY_VALUE.boolValue) {
        const text = number === 0 ? FALSE : TRUE
        this.#push(name, text, 0, text.length, start, end)
      }
      return
    }
    const text = Buffer.from(anyValueText(bytes, valueStart, valueEnd))
    if (text.length > 0) this.#push(name, text, 0, text.length, start, end)
  }

  /** A whole number that is not negative, in decimal. */
  #pushDigits(name: LabelName, number: number, pairStart: number, pairEnd: number): void {
    const digits = this.#digits
    let at = digits.length
    do {
      digits[--at] = 48 + (number % 10)
      number = Math.floor(number / 10)
    } while (number > 0)
    this.#push(name, digits, at, digits.length, pairStart, pairEnd)
  }

  #push(
    name: LabelName,
    value: Uint8Array,
    start: number,
    end: number,
    pairStart: number,
    pairEnd: number,
  ): void {
    if (name.bytes.length === 0) return
    const index = this.#count++
    const scratch = this.#scratch
    this.#names[index] = name
    this.#starts[index] = scratch.length
    this.#hashes[index] = appendLabel(scratch, name, value, start, end)
    this.#ends[index] = scratch.length
    this.#pairStarts[index] = pairStart
    this.#pairEnds[index] = pairEnd
  }

  #pushGap(name: LabelName): void {
    const index = this.#count++
    this.#names[index] = name
    this.#starts[index] = -1
    this.#ends[index] = -1
    this.#hashes[index] = 0
    this.#pairStarts[index] = this.#pairEnds[index] = 0
  }

  /**
   * Sorts and merges. `extra` is the label that the second gap is for, or undefined. May be called again, with
   * another gap.
   */
  finish(extra: LabelName | undefined): void {
    this.generation++
    this.displaced = false
    const own = this.#count
    this.#pushGap(METRIC_NAME)
    if (extra) this.#pushGap(extra)
    this.#sort()
    this.area.length = 0
    this.nameAt = this.extraAt = -1
    if (!this.#merge()) {
      const source = this.#source
      const attributes = new Map<string, string>()
      for (let index = 0; index < this.#count; index++) {
        if (this.#starts[index]! < 0) continue
        const pair = readAttribute(source, this.#pairStarts[index]!, this.#pairEnds[index]!)
        if (pair.value !== '') attributes.set(pair.key, pair.value)
      }
      this.#mergeText(attributes, extra)
    }
    this.#count = own
    if (this.nameAt < 0) this.nameAt = this.area.length
    if (this.extraAt < 0) this.extraAt = this.area.length
  }

  /** Sorts `#order`, the indices of the labels; stable, so that of equal names the earlier comes first. */
  #sort(): void {
    const names = this.#names
    const order = this.#order
    const count = this.#count
    order.length = count
    for (let index = 0; index < count; index++) order[index] = index
    if (count > INSERTION_SORT) {
      order.sort((left, right) => compareNames(names[left]!, names[right]!) || left - right)
      return
    }
    for (let index = 1; index < count; index++) {
      const moved = order[index]!
      const name = names[moved]!
      let at = index
      while (at > 0 && compareNames(names[order[at - 1]!]!, name) > 0) {
        order[at] = order[at - 1]!
        at--
      }
      order[at] = moved
    }
  }

  /** False when values have to be joined: what was written so far is void. */
  #merge(): boolean {
    const base = this.#base!
    const { names: baseNames, modes, starts: baseStarts } = base
    const area = this.area
    let hash = base.hash
    let next = 0 // The base label that comes next; everything before `copied` is in the area.
    let copied = 0
    const sorted = this.#order
    for (let index = 0; index < sorted.length; index++) {
      const label = sorted[index]!
      const name = this.#names[label]!
      const gap = this.#starts[label]! < 0
      const twin = sorted[index + 1]
      if (twin !== undefined && compareNames(this.#names[twin]!, name) === 0) {
        // One of the two may be a gap, which wins; else two keys have become one name.
        if (!gap && this.#starts[twin]! >= 0) return false
        sorted.splice(gap ? index + 1 : index, 1)
        this.displaced = true
        index--
        continue
      }
      let order = 1
      while (next < baseNames.length && (order = compareNames(baseNames[next]!, name)) < 0) next++
      if (next < baseNames.length && order === 0) {
        if (!gap && modes[next] === WINS) continue
        if (!gap && modes[next] === ATTRIBUTE) return false
        if (gap) this.displaced = true
        area.copy(base.bytes, baseStarts[copied]!, baseStarts[next]!)
        hash = (hash - base.hashes[next]!) | 0
        copied = ++next
      } else if (copied < next) {
        area.copy(base.bytes, baseStarts[copied]!, baseStarts[next]!)
        copied = next
      }
      if (!gap) {
        area.copy(this.#scratch.bytes, this.#starts[label]!, this.#ends[label]!)
        hash = (hash + this.#hashes[label]!) | 0
      } else if (name === METRIC_NAME) this.nameAt = area.length
      else this.extraAt = area.length
    }
    area.copy(base.bytes, baseStarts[copied]!, base.bytes.length)
    this.hash = hash
    return true
  }

  /** The slow way: joins the values of keys that sanitise alike, in the order of the keys. */
  #mergeText(own: Map<string, string>, extra: LabelName | undefined): void {
    const base = this.#base!
    for (const [key, value] of base.attributes) own.set(key, value)
    const rename = (key: string) => {
      const bytes = Buffer.from(key)
      return this.#keys.get(bytes, 0, bytes.length).text
    }
    const values = joinAttributes(own, rename)
    for (const { name, value, mode } of base.labels) {
      if (mode === WINS || (mode === EXTERNAL && !values.has(name.text))) values.set(name.text, value)
    }
    values.delete(METRIC_NAME.text)
    if (extra && values.delete(extra.text)) this.displaced = true
    const labels = [...values].map(([name, value]) => ({
      name: new LabelName(name),
      value: Buffer.from(value),
    }))
    const gaps = [METRIC_NAME, ...(extra ? [extra] : [])].map((name) => ({ name, value: undefined }))
    const sorted = [...labels, ...gaps].sort((left, right) => compareNames(left.name, right.name))
    this.area.length = 0
    this.nameAt = this.extraAt = -1
    this.hash = 0
    for (const { name, value } of sorted) {
      if (value) this.hash = (this.hash + appendLabel(this.area, name, value, 0, value.length)) | 0
      else if (name === METRIC_NAME) this.nameAt = this.area.length
      else this.extraAt = this.area.length
    }
  }
}
