import { expect, test } from 'vitest'
import { registry } from '../components.ts'
import { checkConfig } from './check.ts'
import { durabilityNotes } from './durability.ts'

const otlp = { protocols: { grpc: null } }
const storage = { file_storage: null }
const base = {
  receivers: { otlp, 'otlp/stored': { protocols: { http: null }, storage: 'file_storage' } },
  extensions: storage,
  processors: {
    batch: null,
    tail_sampling: { policies: [{ name: 'all', type: 'always_sample' }] },
    memory_limiter: { check_interval: '1s', limit_mib: 100 },
  },
  exporters: {
    otlp_grpc: { endpoint: 'localhost:1' },
    'otlp_grpc/stored': { endpoint: 'localhost:1', sending_queue: { storage: 'file_storage' } },
    'otlp_grpc/plain': { endpoint: 'localhost:1', sending_queue: { enabled: false } },
    prometheus_remote_write: { sending_queue: { storage: 'file_storage' } },
    'prometheus_remote_write/memory': null,
  },
  connectors: { forward: null },
}

async function notes(pipelines: Record<string, object>): Promise<string[]> {
  const tree = { ...base, service: { extensions: ['file_storage'], pipelines } }
  return durabilityNotes(checkConfig(tree, await registry(tree)))
}

test('names each pipeline that can lose what was acknowledged, and why', async () => {
  const f = async (receivers: string[], processors: string[], exporters: string[], want: string[]) =>
    expect(await notes({ traces: { receivers, processors, exporters } })).toEqual(want)
  const start = 'service.pipelines.traces: a crash can lose acknowledged data: otlp answers before'
  const end = 'receivers.otlp.storage would keep it'
  const queue = 'otlp_grpc has sent it, whose queue has no storage'
  await f(['otlp'], ['memory_limiter'], ['otlp_grpc'], [`${start} ${queue}; ${end}`])
  const held = 'tail_sampling lets go of it, batch lets go of it'
  await f(['otlp'], ['tail_sampling', 'batch'], ['otlp_grpc'], [`${start} ${held}, ${queue}; ${end}`])
  await f(['otlp'], ['batch'], ['otlp_grpc/stored'], [`${start} batch lets go of it; ${end}`])
  await f(['otlp/stored'], ['tail_sampling', 'batch'], ['otlp_grpc'], [])
  await f(['otlp'], ['memory_limiter'], ['otlp_grpc/stored'], [])
  await f(['otlp'], ['batch'], ['otlp_grpc/plain'], []) // The sender waits for the result.
})

test('remote write with its queue in a storage loses nothing either', async () => {
  const f = async (exporter: string) =>
    await notes({ metrics: { receivers: ['otlp'], exporters: [exporter] } })
  expect(await f('prometheus_remote_write')).toEqual([])
  expect(await f('prometheus_remote_write/memory')).toHaveLength(1)
})

test('a pipeline behind a connector loses what the receivers in front of it have answered', async () => {
  const found = await notes({
    traces: { receivers: ['otlp', 'otlp/stored'], exporters: ['forward'] },
    'traces/behind': { receivers: ['forward'], processors: ['batch'], exporters: ['otlp_grpc/stored'] },
  })
  expect(found.map((note) => note.slice(0, 68))).toEqual([
    'service.pipelines.traces/behind: a crash can lose acknowledged data:',
  ])
})
