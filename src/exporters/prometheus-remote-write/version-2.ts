/**
 * Remote write 2.0: the series of the table once more, with every string in one table of symbols per request.
 *
 * Samples and native histograms are encoded alike in both versions (2.0 adds fields), so they are copied.
 */

import { encodeSnappyBlock } from '../../net/snappy.ts'
import {
  RW1_TIME_SERIES,
  RW2_EXEMPLAR,
  RW2_METADATA,
  RW2_REQUEST,
  RW2_TIME_SERIES,
} from '../../net/wire-fields.ts'
import { FieldCursor } from '../../otlp/wire.ts'
import { WireWriter } from '../../otlp/wire-writer.ts'
import { ByteMap } from '../../prometheus/byte-map.ts'
import type { Family } from './families.ts'
import type { SeriesTable, WriteRequest } from './series.ts'

const NO_LIMIT = 2 ** 31

/** Strings of one request by their bytes. Number 0 is the empty string. */
class Symbols {
  readonly writer = new WireWriter(16 * 1024)
  #numbers = new ByteMap<number>(NO_LIMIT, NO_LIMIT)
  #count = 0

  constructor() {
    this.clear()
  }

  clear(): void {
    this.writer.truncate(0)
    this.#numbers = new ByteMap<number>(NO_LIMIT, NO_LIMIT)
    this.#count = 0
    this.range(new Uint8Array(0), 0, 0)
  }

  range(bytes: Uint8Array, start: number, end: number): number {
    const known = this.#numbers.get(bytes, start, end)
    if (known !== undefined) return known
    const number = this.#count++
    this.#numbers.set(bytes, start, end, number)
    this.writer
      .tag(RW2_REQUEST.symbols, 2)
      .varint(end - start)
      .rawRange(bytes, start, end)
    return number
  }

  text(text: string): number {
    const bytes = Buffer.from(text)
    return this.range(bytes, 0, bytes.length)
  }
}

export function cutRequests2(table: SeriesTable, families: readonly Family[]): WriteRequest[] {
  return new Cutter(table, families).run()
}

class Cutter {
  readonly #table: SeriesTable
  readonly #families: readonly Family[]
  readonly #symbols = new Symbols()
  readonly #series = new WireWriter(64 * 1024)
  readonly #requests: WriteRequest[] = []
  readonly #label = new FieldCursor()
  readonly #pair = new FieldCursor()
  readonly #fields = new FieldCursor()
  #count = 0

  constructor(table: SeriesTable, families: readonly Family[]) {
    this.#table = table
    this.#families = families
  }

  run(): WriteRequest[] {
    const table = this.#table
    for (let index = 0; index < table.count; index++) {
      const fields = table.fieldsOf(index)
      // What the series takes in the first version is at least what it takes here.
      const bytes = this.#series.length + this.#symbols.writer.length + table.end(index) - table.start(index)
      if (this.#count > 0 && bytes >= this.#table.limitBytes) this.#flush()
      if (!fields) this.#one(index, table.labelsEnd(index), table.end(index))
      else {
        const ranges = [fields.samples, fields.histograms].filter((list) => list.length > 0)
        ranges.forEach((list, part) => {
          const exemplars = part === 0 ? fields.exemplars : []
          this.#fromFields(
            index,
            Buffer.concat([...list, ...exemplars].map(({ bytes, start, end }) => bytes.subarray(start, end))),
          )
        })
      }
      this.#count++
    }
    this.#flush()
    return this.#requests
  }

  #flush(): void {
    if (this.#count === 0) return
    const bytes = Buffer.concat([this.#symbols.writer.view(), this.#series.view()])
    this.#requests.push({ block: encodeSnappyBlock(bytes), series: this.#count })
    this.#symbols.clear()
    this.#series.truncate(0)
    this.#count = 0
  }

  #one(index: number, start: number, end: number): void {
    this.#write(index, this.#table.out.bytes, start, end)
  }

  #fromFields(index: number, fields: Uint8Array): void {
    this.#write(index, fields, 0, fields.length)
  }

  /** One TimeSeries: labels of the series, then the fields of the first version in this range. */
  #write(index: number, bytes: Uint8Array, start: number, end: number): void {
    const table = this.#table
    const writer = this.#series
    writer.begin(RW2_REQUEST.timeseries, 200)
    const labels = table.out.bytes
    writer.begin(RW2_TIME_SERIES.labelsRefs, 100)
    this.#references(writer, labels, table.labelsStart(index), table.labelsEnd(index))
    writer.end()
    const field = this.#fields.reset(bytes, start, end)
    while (field.next()) {
      if (field.number === RW1_TIME_SERIES.samples) writer.tag(RW2_TIME_SERIES.samples, 2)
      else if (field.number === RW1_TIME_SERIES.histograms) writer.tag(RW2_TIME_SERIES.histograms, 2)
      else {
        this.#exemplar(writer, field.value())
        continue
      }
      writer.varint(field.end - field.start).rawRange(bytes, field.start, field.end)
    }
    const family = this.#families[table.metadataOf(index)]
    if (family) {
      writer.begin(RW2_TIME_SERIES.metadata, 10).uintField(RW2_METADATA.type, family.type)
      writer.uintField(RW2_METADATA.helpRef, this.#symbols.text(family.help))
      writer.uintField(RW2_METADATA.unitRef, this.#symbols.text(family.unit)).end()
    }
    writer.end()
  }

  /** Name and value of each Label field in the range. */
  #references(writer: WireWriter, bytes: Uint8Array, start: number, end: number): void {
    const label = this.#label.reset(bytes, start, end)
    const pair = this.#pair
    while (label.next()) {
      let name = 0
      let value = 0
      pair.enter(label)
      while (pair.next()) {
        const symbol = this.#symbols.range(bytes, pair.start, pair.end)
        if (pair.number === 1) name = symbol
        else value = symbol
      }
      writer.varint(name).varint(value)
    }
  }

  #exemplar(writer: WireWriter, exemplar: Uint8Array): void {
    writer.begin(RW2_TIME_SERIES.exemplars, 40)
    const field = new FieldCursor(exemplar)
    const references = new WireWriter(32)
    const rest = new WireWriter(32)
    while (field.next()) {
      if (field.number !== 1) rest.raw(field.raw())
      else this.#references(references, exemplar, field.fieldStart, field.end)
    }
    if (references.length > 0) writer.len(RW2_EXEMPLAR.labelsRefs, references.view())
    writer.raw(rest.view()).end()
  }
}
