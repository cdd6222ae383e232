/**
 * Cuts the series of a batch into requests of remote write 1.0: a new one begins when the next series would reach
 * the limit. A series that is larger by itself goes alone. Where every series has one sample, the table has done so.
 */
import { encodeSnappyBlock } from '../../net/snappy.ts'
import { WireWriter } from '../../otlp/wire-writer.ts'
import type { SeriesTable, WriteRequest } from './series.ts'
import { writeSeries } from './series-fields.ts'

export function cutRequests(table: SeriesTable): WriteRequest[] {
  if (table.hasMore) return cutRebuilt(table)
  table.finish()
  return [...table.packed]
}

function cutRebuilt(table: SeriesTable): WriteRequest[] {
  const requests: WriteRequest[] = []
  const rebuilt = table.fieldsOf()
  const writer = new WireWriter(table.out.length + 1024)
  const one = new WireWriter(1024)
  let series = 0
  const flush = () => {
    if (series > 0) requests.push({ block: encodeSnappyBlock(writer.view()), series })
    writer.truncate(0)
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
    if (writer.length > 0 && writer.length + end - start >= table.limitBytes) flush()
    writer.rawRange(source, start, end)
    series++
  }
  flush()
  return requests
}
