import { expect, test } from 'vitest'
import { counter, gauge, volatileItems } from '../component/telemetry.ts'
import { TestMeter } from '../testing/meter.ts'
import { Casualties } from './casualties.ts'
import { createMetricTable, type SeriesRecord, SharedMeter } from './metrics.ts'

test('what a dead shard held is counted as lost, its gauges are set to 0, its counters stay', () => {
  const main = new TestMeter()
  const casualties = new Casualties(main)
  const table = createMetricTable()
  const series: SeriesRecord[] = []
  const meter = new SharedMeter(
    table,
    [],
    (record) => series.push(record),
    () => {},
  )
  const tables = { volatile: volatileItems, sent: counter('sent', '', ''), size: gauge('size', '', '') }
  const batch = meter.instruments(tables, { processor: 'batch' })
  const queue = meter.instruments(tables, { exporter: 'otlp' })
  batch.volatile.with({ otel_signal: 'traces' }).add(30)
  batch.volatile.with({ otel_signal: 'traces' }).add(-10)
  batch.sent.add(7)
  batch.size.set(3)
  queue.volatile.with({ otel_signal: 'traces' }).add(5)
  queue.volatile.with({ otel_signal: 'logs' }).add(2)

  expect(casualties.died('heap', { table, series })).toEqual({ traces: 25, logs: 2 })
  expect(main.read('lost_items', { processor: 'batch', otel_signal: 'traces' })).toBe(20)
  expect(main.read('lost_items', { exporter: 'otlp', otel_signal: 'logs' })).toBe(2)
  expect(main.read('shard_deaths', { cause: 'heap' })).toBe(1)
  expect(main.read('shards_down')).toBe(1)
  const values = new Float64Array(table)
  expect(series.map(({ slot, description }) => [description.name, values[slot]])).toEqual([
    ['volatile_items', 0],
    ['sent', 7],
    ['size', 0],
    ['volatile_items', 0],
    ['volatile_items', 0],
  ])

  casualties.restarting()
  casualties.isBack()
  expect(main.read('shard_restarts')).toBe(1)
  expect(main.read('shards_down')).toBe(0)
  expect(casualties.died('exit', { table, series })).toEqual({})
})
