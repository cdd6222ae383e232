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
      ['otlp', stage({})],
    ]),
    service: {
      pipelines: pipelines.map((pipeline, index) => ({ id: `p${index}`, receivers: [], ...pipeline })),
    },
  } as unknown as ServiceConfig // The function reads nothing else.
}

function meet(...pipelines: readonly Partial<PipelineConfig>[]): number {
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
