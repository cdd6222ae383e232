import { expect, test } from 'vitest'
import type { PipelineConfig, ServiceConfig } from '../config/types.ts'
import { whereSeriesMeet } from './series-order.ts'

/** Only what is asked for here. */
function configOf(pipelines: readonly Partial<PipelineConfig>[]): ServiceConfig {
  const stage = (definition: object) => ({ definition })
  return {
    processors: new Map([
      ['batch', stage({ takesIntoMemory: 'unless_held' })],
      ['resource', stage({})],
    ]),
    exporters: new Map([
      ['prometheusremotewrite', stage({ affinity: 'series' })],
      [
        'stored',
        stage({ affinity: 'series', sending: () => ({ queue: { storage: 'file_storage', inOrder: true } }) }),
      ],
      ['file', stage({ affinity: 'process' })],
      ['otlp', stage({})],
    ]),
    service: {
      pipelines: pipelines.map((pipeline, index) => ({ id: `p${index}`, receivers: [], ...pipeline })),
    },
  } as unknown as ServiceConfig // The function reads nothing else.
}

function meet(...pipelines: readonly Partial<PipelineConfig>[]): number {
  return meeting(...pipelines).index
}

function meeting(...pipelines: readonly Partial<PipelineConfig>[]) {
  const config = configOf(pipelines)
  return whereSeriesMeet(config, config.service.pipelines[0] as PipelineConfig)
}

test('series meet in front of the first processor that holds items, when an exporter behind needs their order', () => {
  const metrics = { signal: 'metrics', processors: ['resource', 'batch'] } as const
  expect(meet({ ...metrics, exporters: ['otlp', 'prometheusremotewrite'] })).toBe(1)
  expect(meet({ ...metrics, exporters: ['otlp'] })).toBe(-1)
  expect(meet({ ...metrics, processors: ['resource'], exporters: ['prometheusremotewrite'] })).toBe(-1)
  expect(meet({ ...metrics, signal: 'traces', exporters: ['prometheusremotewrite'] })).toBe(-1)
})

test('also behind connectors, and in a circle of them', () => {
  const first = { signal: 'metrics', processors: ['batch'], exporters: ['forward'] } as const
  const second = {
    signal: 'metrics',
    receivers: ['forward'],
    processors: [],
    exporters: ['prometheusremotewrite'],
  } as const
  expect(meet(first, second)).toBe(0)
  expect(meet(first, { ...second, exporters: ['forward'] })).toBe(-1)
})

test('all of the process meet on one shard when the queue is on the disk', () => {
  const metrics = { signal: 'metrics', processors: ['resource', 'batch'] } as const
  const both = { ...metrics, exporters: ['prometheusremotewrite', 'stored'] }
  expect(meeting(both)).toEqual({ index: 1, affinity: 'process' })
  const second = { ...metrics, receivers: ['forward'], exporters: ['stored'] }
  expect(meeting({ ...metrics, exporters: ['forward'] }, second)).toEqual({ index: 1, affinity: 'process' })
  const file = { ...metrics, exporters: ['prometheusremotewrite', 'file'] }
  expect(meeting(file)).toEqual({ index: 1, affinity: 'series' })
  expect(meet({ ...metrics, exporters: ['file'] })).toBe(-1)
})
