/**
 * Builds chunks out of items of other chunks: what splitting, dropping and rewriting have in common.
 *
 * Items are added in the order in which an ItemWalker shows them. The messages around an item are opened when
 * its first item comes, with all their fields but the items (resource, scope, schema URLs, name, unit,
 * unknown fields), so those that stay without an item do not appear. Items that lie side by side are copied
 * in one piece.
 */
import type { ItemWalker } from './item-walker.ts'
import { FieldCursor, lenFieldLength, WireWriter } from './wire.ts'

/** Field 1 of a request and of a metric's data, 2 of Resource* and Scope*: where the next level is. */
const RESOURCES = 1
const INNER = 2
const POINTS = 1

/** Room for the lengths of the messages that are open, beyond what is guessed when they are opened. */
const SLACK = 32

const fields = new FieldCursor()

export class Assembler {
  readonly #writer: WireWriter
  #openResource = 0
  #openScope = 0
  #openMetric = 0
  /** Items not copied yet: a run of fields that lie side by side. */
  #bytes: Uint8Array = new Uint8Array(0)
  #runStart = 0
  #runEnd = 0

  constructor(sizeBytes: number) {
    this.#writer = new WireWriter(sizeBytes)
  }

  get isEmpty(): boolean {
    return this.#openResource === 0
  }

  /** Adds the item on which the walker stands as it is. */
  add(items: ItemWalker): void {
    if (this.#isOpen(items) && this.#bytes === items.bytes && this.#runEnd === items.fieldStart) {
      this.#runEnd = items.end
      return
    }
    this.#open(items)
    this.#bytes = items.bytes
    this.#runStart = items.fieldStart
    this.#runEnd = items.end
  }

  /** Adds an item with other content, at the place of the one on which the walker stands. */
  addContent(items: ItemWalker, content: Uint8Array): void {
    this.#open(items)
    this.#writer.len(items.signal === 'metrics' && !items.opaque ? POINTS : INNER, content)
  }

  /** An upper bound of the length of the chunk with this item added. */
  lengthWith(items: ItemWalker): number {
    const { around, bytes } = items
    let length = this.#writer.length + this.#runEnd - this.#runStart + items.end - items.fieldStart + SLACK
    const newResource = items.resourceNumber !== this.#openResource
    const newScope = newResource || items.scopeNumber !== this.#openScope
    if (newResource) length += lengthExcept(bytes, around.resourcesStart, around.resourcesEnd, INNER)
    if (newScope) length += lengthExcept(bytes, around.scopesStart, around.scopesEnd, INNER)
    if (
      items.signal === 'metrics' &&
      !items.opaque &&
      (newScope || items.metricNumber !== this.#openMetric)
    ) {
      length += lengthExcept(bytes, items.metricStart, items.metricEnd, items.dataField)
      length += lengthExcept(bytes, items.dataStart, items.dataEnd, POINTS)
    }
    return length
  }

  /** Closes all messages and gives the chunk away. */
  finish(): Uint8Array {
    this.#closeResource()
    return this.#writer.take()
  }

  #isOpen(items: ItemWalker): boolean {
    if (items.scopeNumber !== this.#openScope || items.resourceNumber !== this.#openResource) return false
    const metric = items.signal === 'metrics' && !items.opaque ? items.metricNumber : 0
    return metric === this.#openMetric
  }

  #open(items: ItemWalker): void {
    const { around, bytes } = items
    this.#flush()
    if (items.resourceNumber !== this.#openResource) {
      this.#closeResource()
      this.#begin(RESOURCES, bytes, around.resourcesStart, around.resourcesEnd, INNER)
      this.#openResource = items.resourceNumber
    }
    if (items.scopeNumber !== this.#openScope) {
      this.#closeScope()
      this.#begin(INNER, bytes, around.scopesStart, around.scopesEnd, INNER)
      this.#openScope = items.scopeNumber
    }
    if (items.signal !== 'metrics') return
    if (items.opaque) this.#closeMetric()
    else if (items.metricNumber !== this.#openMetric) {
      this.#closeMetric()
      this.#begin(INNER, bytes, items.metricStart, items.metricEnd, items.dataField)
      this.#begin(items.dataField, bytes, items.dataStart, items.dataEnd, POINTS)
      this.#openMetric = items.metricNumber
    }
  }

  /** Opens a message with all fields of another but one. */
  #begin(number: number, bytes: Uint8Array, start: number, end: number, except: number): void {
    const writer = this.#writer.begin(number, end - start)
    let copied = start
    fields.reset(bytes, start, end)
    while (fields.next()) {
      if (fields.number !== except) continue
      writer.rawRange(bytes, copied, fields.fieldStart)
      copied = fields.end
    }
    writer.rawRange(bytes, copied, end)
  }

  #flush(): void {
    if (this.#runEnd > this.#runStart) this.#writer.rawRange(this.#bytes, this.#runStart, this.#runEnd)
    this.#runStart = this.#runEnd = 0
  }

  #closeMetric(): void {
    this.#flush()
    if (this.#openMetric !== 0) this.#writer.end().end()
    this.#openMetric = 0
  }

  #closeScope(): void {
    this.#closeMetric()
    if (this.#openScope !== 0) this.#writer.end()
    this.#openScope = 0
  }

  #closeResource(): void {
    this.#closeScope()
    if (this.#openResource !== 0) this.#writer.end()
    this.#openResource = 0
  }
}

/** Bytes of a message without the fields of one number, tag and length of the message included. */
function lengthExcept(bytes: Uint8Array, start: number, end: number, except: number): number {
  let length = end - start
  fields.reset(bytes, start, end)
  while (fields.next()) if (fields.number === except) length -= fields.end - fields.fieldStart
  return lenFieldLength(2047, length)
}
