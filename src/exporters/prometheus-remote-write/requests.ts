/**
 * Cuts the series of a batch into requests of remote write 1.0: a new one begins when the next series would reach
 * `limitBytes`. A series that is larger by itself goes alone.
 */
import { WireWriter } from '../../otlp/wire.ts'
import { type SeriesTable, writeSeries } from './series.ts'

export interface WriteRequest {
  /** The encoded message, not yet compressed. It belongs to the request. */
  readonly bytes: Uint8Array
  readonly series: number
}

/** Cuts where sizes add up to the limit. `sizeOf` and `copy` speak of one series. */
export function cutRequests(table: SeriesTable, limitBytes: number): WriteRequest[] {
  return table.hasMore ? cutRebuilt(table, limitBytes) : cutPlain(table, limitBytes)
}

/** No series has more than one sample: the table's bytes are the requests. */
function cutPlain(table: SeriesTable, limitBytes: number): WriteRequest[] {
  const requests: WriteRequest[] = []
  let first = 0
  for (let index = 0; index < table.count; index++) {
    const start = table.start(first)
    if (index === first || table.end(index) - start < limitBytes) continue
    requests.push({ bytes: table.out.slice(start, table.start(index)), series: index - first })
    first = index
  }
  if (first < table.count)
    requests.push({
      bytes: table.out.slice(table.start(first), table.out.length),
      series: table.count - first,
    })
  return requests
}

function cutRebuilt(table: SeriesTable, limitBytes: number): WriteRequest[] {
  const requests: WriteRequest[] = []
  const rebuilt = table.fieldsOf()
  const writer = new WireWriter(table.out.length + 1024)
  const one = new WireWriter(1024)
  let series = 0
  const flush = () => {
    if (series > 0) requests.push({ bytes: writer.take(), series })
    series = 0
  }
  const bytes = table.out.bytes
  for (let index = 0; index < table.count; index++) {
    const fields = rebuilt.get(index)
    let source: Uint8Array = bytes
    let start = table.start(index)
    let end = table.end(index)
    if (fields) {
      one.truncate(0)
      writeSeries(one, bytes, table.labelsStart(index), table.labelsEnd(index), fields)
      source = one.view()
      start = 0
      end = source.length
    }
    if (writer.length > 0 && writer.length + end - start >= limitBytes) flush()
    writer.rawRange(source, start, end)
    series++
  }
  flush()
  return requests
}
