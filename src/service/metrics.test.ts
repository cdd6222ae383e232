import { AggregatorRegistry } from 'prom-client'
import { expect, test } from 'vitest'
import { counter, gauge, histogram } from '../component/telemetry.ts'
import {
  createMetricTable,
  readMetrics,
  type SeriesRecord,
  SharedMeter,
  SLOTS_PER_THREAD,
} from './metrics.ts'

const table = {
  items: counter('items', '{item}', 'Items.', ['kind']),
  limit: gauge('limit', '1', 'A limit.', [], 'max'),
  held: gauge('held', '1', 'Held.'),
  size: histogram('size', 'By', 'Sizes.', [10, 100]),
}

function thread(memory = createMetricTable(), known: SeriesRecord[] = []) {
  const series: SeriesRecord[] = [...known]
  const meter = new SharedMeter(
    memory,
    known,
    (record) => void series.push(record),
    () => {},
  )
  return { memory, series, instruments: meter.instruments(table, { processor: 'p' }) }
}
const read = async (...threads: ReturnType<typeof thread>[]) => {
  const sources = threads.map(({ memory, series }) => readMetrics({ table: memory, series }, (d) => d.name))
  return AggregatorRegistry.aggregate(sources).metrics()
}

test('shards are joined: counters and gauges add up, limits take the largest, histograms by bucket', async () => {
  const one = thread()
  const two = thread()
  one.instruments.items.with({ kind: 'a' }).add(2)
  two.instruments.items.with({ kind: 'a' }).add(3)
  two.instruments.items.with({ kind: 'b' }).add(1)
  one.instruments.limit.set(5)
  two.instruments.limit.set(5)
  one.instruments.held.set(4)
  two.instruments.held.add(2)
  one.instruments.size.record(10)
  two.instruments.size.record(11)
  two.instruments.size.record(1000)
  const text = await read(one, two)
  expect(text).toContain('items{processor="p",kind="a"} 5')
  expect(text).toContain('items{processor="p",kind="b"} 1')
  expect(text).toContain('limit{processor="p"} 5')
  expect(text).toContain('held{processor="p"} 6')
  expect(text).toContain('size_bucket{processor="p",le="10"} 1')
  expect(text).toContain('size_bucket{processor="p",le="100"} 2')
  expect(text).toContain('size_bucket{processor="p",le="+Inf"} 3')
  expect(text).toContain('size_sum{processor="p"} 1021')
  expect(text).toContain('size_count{processor="p"} 3')
})

test('a successor goes on counting where a dead thread stopped', async () => {
  const dead = thread()
  dead.instruments.items.with({ kind: 'a' }).add(40)
  const next = thread(dead.memory, dead.series)
  next.instruments.held.set(1)
  next.instruments.items.with({ kind: 'a' }).add(2)
  expect(await read(next)).toContain('items{processor="p",kind="a"} 42')
})

test('a series nobody wrote to is not shown', async () => {
  expect(await read(thread())).not.toContain('items')
})

test('too many series overflow once into slots that nobody reads', async () => {
  const memory = createMetricTable()
  let overflows = 0
  const meter = new SharedMeter(
    memory,
    [],
    () => {},
    () => void overflows++,
  )
  const many = meter.instruments(table, {})
  for (let index = 0; index < SLOTS_PER_THREAD + 10; index++) many.items.with({ kind: String(index) }).add(1)
  expect(overflows).toBeGreaterThan(0)
})
