/**
 * Cuts the series of a batch into requests of remote write 1.0: a new one begins when the next series would reach
 * the limit. A series that is larger by itself goes alone. Where every series has one sample, the table has done so.
 */
import { encodeSnappyBlock } from '../../net/snappy.ts'
import { RW1_TIME_SERIES } from '../../net/wire-fields.ts'
import { readVarint } from '../../otlp/wire.ts'
import { WireWriter } from '../../otlp/wire-writer.ts'
import type { SeriesTable, WriteRequest } from './series.ts'
import { writeSeries } from './series-fields.ts'

export function cutRequests(table: SeriesTable): WriteRequest[] {
  if (table.hasMore) return cutRebuilt(table)
  table.finish()
  return [...table.packed]
}

/** What is compressed is not kept, so it is put together in buffers for all; a large one is given back. */
const KEEP_BYTES = 16 * 1024 * 1024
let writer = new WireWriter(64 * 1024)
const one = new WireWriter(1024)

function cutRebuilt(table: SeriesTable): WriteRequest[] {
  const requests: WriteRequest[] = []
  let series = 0
  const flush = () => {
    if (series > 0) requests.push({ block: encodeSnappyBlock(writer.view()), series })
    writer.truncate(0)
    series = 0
  }
  writer.truncate(0)
  for (let index = 0; index < table.count; index++) {
    const before = writer.length
    writeAny(writer, table, index)
    if (before > 0 && writer.length >= table.limitBytes) {
      // It was one too many: it begins the next request.
      writer.truncate(before)
      flush()
      writeAny(writer, table, index)
    }
    series++
  }
  flush()
  if (writer.capacity > KEEP_BYTES) writer = new WireWriter(64 * 1024)
  return requests
}

function writeAny(writer: WireWriter, table: SeriesTable, index: number): void {
  const bytes = table.out.bytes
  if (table.firstMore(index) < 0) writer.rawRange(bytes, table.start(index), table.end(index))
  else if (!writeOrdered(writer, table, index)) {
    one.truncate(0)
    const fields = table.fieldsOf(index)
    if (fields) writeSeries(one, bytes, table.labelsStart(index), table.labelsEnd(index), fields)
    writer.raw(one.view())
  }
}

/**
 * Writes a series whose samples came in the order of time, as they nearly always do. Of several of one time only the last
 * is written: it takes the place of the one before. False, and nothing written, when it is not that simple.
 */
function writeOrdered(writer: WireWriter, table: SeriesTable, index: number): boolean {
  const mark = writer.length
  const bytes = table.out.bytes
  const labelsEnd = table.labelsEnd(index)
  const end = table.end(index)
  let timeMs = sampleTime(bytes, labelsEnd, end)
  if (timeMs < 0) return false
  writer.begin(1, 2 * (end - table.labelsStart(index)))
  writer.rawRange(bytes, table.labelsStart(index), labelsEnd)
  let last = writer.length
  writer.rawRange(bytes, labelsEnd, end)
  const more = table.more.bytes
  for (let entry = table.firstMore(index); entry >= 0; entry = table.nextMore(entry)) {
    const start = table.moreStart(entry)
    const nextMs = sampleTime(more, start, table.moreEnd(entry))
    if (nextMs < timeMs) {
      writer.end().truncate(mark)
      return false
    }
    if (nextMs === timeMs) writer.truncate(last)
    last = writer.length
    writer.rawRange(more, start, table.moreEnd(entry))
    timeMs = nextMs
  }
  writer.end()
  return true
}

const SAMPLE_TAG = RW1_TIME_SERIES.samples * 8 + 2
/** Where the time of a sample begins: tag and length, tag and 8 bytes of the value, tag of the time. */
const TIME_AT = 12

/** The time of the sample that alone fills this range, as payload.ts writes it; -1 when it holds anything else. */
function sampleTime(bytes: Uint8Array, start: number, end: number): number {
  if (bytes[start] !== SAMPLE_TAG || start + 2 + bytes[start + 1]! !== end) return -1
  if (bytes[start + 2] !== 0x09 || bytes[start + TIME_AT - 1] !== 0x10 || start + TIME_AT >= end) return -1
  return readVarint(bytes, start + TIME_AT)
}
