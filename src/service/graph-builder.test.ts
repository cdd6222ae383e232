/** What a new graph takes over from the one before, and where the rest is drained to. */
import { expect, test } from 'vitest'
import { z } from 'zod'
import { systemClock } from '../component/clock.ts'
import {
  type Consumer,
  defineConnector,
  defineExporter,
  defineExtension,
  defineProcessor,
  defineReceiver,
  type Registry,
} from '../component/define.ts'
import { silentLogger } from '../component/logger.ts'
import { checkConfig } from '../config/check.ts'
import { Batch } from '../otlp/batch.ts'
import { createSharedMemory, SharedView } from '../workers/shared.ts'
import { changesOf, type Running } from './changes.ts'
import type { Environment } from './environment.ts'
import { buildGraph } from './graph-builder.ts'
import { ListenerPool } from './listeners.ts'
import { createMetricTable, SharedMeter } from './metrics.ts'
import { ShardExtensions } from './shard-extensions.ts'

const SIGNALS = ['traces', 'metrics', 'logs'] as const
const about = { stability: 'beta', summary: '', telemetry: {} } as const

/** Components that write down what happens to them. */
function world() {
  const happened: string[] = []
  const inputs = new Map<string, Consumer>()
  const config = z.strictObject({ v: z.number().default(0), fails: z.boolean().default(false) })
  const holder = defineProcessor({
    ...{ ...about, type: 'holder', signals: SIGNALS, capabilities: { mutatesData: false }, config },
    create({ id, config, pipeline, next }) {
      const name = `${id}@${config.v}/${pipeline}`
      const held: Batch[] = []
      happened.push(`+${name}`)
      return {
        start: async () => {
          if (config.fails) throw new Error('on purpose')
        },
        consume: async (batch) => void held.push(batch),
        async shutdown() {
          happened.push(`-${name}`)
          for (const batch of held.splice(0)) await next.consume(batch)
        },
      }
    },
  })
  const passing = defineProcessor({
    ...{ ...about, type: 'passing', signals: SIGNALS, capabilities: { mutatesData: false }, config },
    create({ id, config, host, next }) {
      const used = host.extension('helper')
      happened.push(`+${id}@${config.v}`)
      return {
        releases: next.releases === true,
        consume: async (batch) => {
          happened.push(`${id}@${config.v}${used === undefined ? '' : ` ${String(used)}`}`)
          await next.consume(batch)
        },
        shutdown: async () => void happened.push(`-${id}@${config.v}`),
      }
    },
  })
  const sink = defineExporter({
    ...{ ...about, type: 'sink', signals: SIGNALS },
    config: z.strictObject({ v: z.number().default(0), keeps: z.boolean().default(false) }),
    create({ id, config }) {
      happened.push(`+${id}@${config.v}`)
      return {
        releases: !config.keeps,
        consume: async (batch) => void happened.push(`${id}@${config.v}: ${batch.byteLength}`),
        shutdown: async () => void happened.push(`-${id}@${config.v}`),
      }
    },
  })
  const join = defineConnector({
    ...{ ...about, type: 'join', config, routes: [{ from: 'traces', to: 'traces' }] },
    create({ id, config, all }) {
      happened.push(`+${id}@${config.v}`)
      return { consume: (batch) => all.consume(batch) }
    },
  })
  const input = defineReceiver({
    ...{ ...about, type: 'input', signals: SIGNALS, config },
    create({ id, config, next }) {
      if (next.traces) inputs.set(id, next.traces)
      happened.push(`+${id}@${config.v}`)
      return { shutdown: async () => void happened.push(`-${id}@${config.v}`) }
    },
  })
  const helper = defineExtension({
    ...{ ...about, type: 'helper', runsIn: 'shard', config },
    create: ({ config }) => ({
      shutdown: async () => void happened.push(`-helper@${config.v}`),
      toString: () => `helper@${config.v}`,
    }),
  })
  const registry: Registry = {
    ...{ receivers: [input], processors: [holder, passing], exporters: [sink] },
    ...{ connectors: [join], extensions: [helper], refused: {} },
  }
  return { happened, registry, send: (bytes: number, id = 'input') => send(inputs, id, bytes) }
}

function send(inputs: ReadonlyMap<string, Consumer>, id: string, bytes: number): Promise<void> | undefined {
  return inputs.get(id)?.consume(new Batch('traces', [new Uint8Array(bytes)], 1))
}

type Pipelines = Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>

function tree(components: object, pipelines: Pipelines, extensions: readonly string[] = []) {
  const telemetry = { metrics: { level: 'none' } }
  return {
    ...{ receivers: { input: {} }, exporters: { sink: {} }, ...components },
    service: { pipelines, extensions, telemetry },
  }
}

/** One shard in this thread, as shard-service.ts drives it. */
function shard(registry: Registry) {
  const nothing = () => {}
  const meter = new SharedMeter(createMetricTable(), [], nothing, nothing)
  let current: Running | undefined
  const prepare = async (plain: unknown): Promise<Running> => {
    const environment: Environment = {
      ...{ shard: 0, shards: 1, clock: systemClock, meter, logger: silentLogger, links: [undefined] },
      shared: new SharedView(createSharedMemory(1), 0),
      listeners: new ListenerPool(() => Promise.reject(new Error('nobody listens')), false),
      ...{ answers: new Map(), gather: async () => [], report: nothing },
    }
    const extensions = new ShardExtensions(environment)
    const config = checkConfig(plain, registry)
    await extensions.start(config, plain, current?.extensions)
    const previous = current?.graph
    const graph = buildGraph({ config, tree: plain, environment, extensions, previous })
    return { graph, extensions }
  }
  const stop = async ({ graph, extensions }: Running) => {
    for (let level = 0; level < graph.levelCount; level++) {
      await graph.shutdownLevel(level, AbortSignal.timeout(1000))
    }
    await extensions.stop()
  }
  return {
    async load(plain: unknown) {
      const next = await prepare(plain)
      try {
        await next.graph.startDownstream()
        await next.graph.startReceivers()
      } catch (error) {
        await stop(next)
        throw error
      }
      const changes = changesOf(current, next)
      next.extensions.commit()
      next.graph.commit()
      const old = current
      current = next
      if (old !== undefined) await stop(old)
      return changes
    },
  }
}

const way = (...processors: readonly string[]) => ({
  traces: { receivers: ['input'], processors, exporters: ['sink'] },
})

test('what did not change is kept with what it holds; what did is drained into what stands behind it now', async () => {
  const { happened, registry, send } = world()
  const { load } = shard(registry)
  const of = (first: object, second: object) =>
    tree({ processors: { 'holder/a': first, 'passing/b': second } }, way('holder/a', 'passing/b'))
  await load(of({}, {}))
  await send(10)
  happened.length = 0
  // Behind what holds: it is told where to go from now on.
  expect(await load(of({}, { v: 1 }))).toEqual({
    kept: ['receivers/input', 'exporters/sink/traces', 'processors/holder/a/traces'],
    restarted: ['processors/passing/b/traces'],
    added: [],
    removed: [],
  })
  expect(happened.splice(0)).toEqual(['+passing/b@1', '-passing/b@0'])
  // What holds: it is drained into the one behind it, which is kept.
  await load(of({ v: 1 }, { v: 1 }))
  expect(happened.splice(0)).toEqual([
    '+holder/a@1/traces',
    '-holder/a@0/traces',
    'passing/b@1',
    'sink@0: 10',
  ])
  // Both: the old one is drained into the new graph, and not into the old one behind it.
  await send(11)
  await load(of({ v: 2 }, { v: 2 }))
  expect(happened.filter((line) => !line.startsWith('+'))).toEqual([
    '-holder/a@1/traces',
    'passing/b@2',
    'sink@0: 11',
    '-passing/b@1',
  ])
})

test('a processor that comes or goes leaves its neighbours alone; changed places restart them all', async () => {
  const { happened, registry, send } = world()
  const { load } = shard(registry)
  const processors = { 'holder/a': {}, 'passing/b': {}, 'passing/c': {} }
  const of = (...names: string[]) => tree({ processors }, way(...names))
  await load(of('holder/a', 'passing/b'))
  await send(5)
  happened.length = 0
  expect(await load(of('holder/a', 'passing/c', 'passing/b'))).toMatchObject({
    restarted: [],
    added: ['processors/passing/c/traces'],
  })
  expect(await load(of('holder/a', 'passing/c'))).toMatchObject({
    restarted: [],
    removed: ['processors/passing/b/traces'],
  })
  happened.length = 0
  const { restarted } = await load(of('passing/c', 'holder/a'))
  expect(restarted).toEqual(['processors/holder/a/traces', 'processors/passing/c/traces'])
  // What was held has not passed c yet, and goes the old way.
  expect(happened.filter((line) => !line.startsWith('+'))).toEqual([
    '-holder/a@0/traces',
    'passing/c@0',
    'sink@0: 5',
    '-passing/c@0',
  ])
})

test('a component lives as long as the extensions that it uses', async () => {
  const { happened, registry, send } = world()
  const { load } = shard(registry)
  const of = (v: number, extensions: readonly string[] = ['helper']) =>
    tree({ processors: { passing: {} }, extensions: { helper: { v } } }, way('passing'), extensions)
  await load(of(0))
  expect(await load(of(0))).toMatchObject({ restarted: [], added: [], removed: [] })
  expect(await load(of(1))).toMatchObject({ restarted: ['extensions/helper', 'processors/passing/traces'] })
  await send(1)
  expect(happened).toContain('passing@0 helper@1')
  expect(happened.at(-3)).toBe('-helper@0')
  expect(await load(of(1, []))).toMatchObject({
    restarted: ['processors/passing/traces'],
    removed: ['extensions/helper'],
  })
})

test('who may use memory again is not put in front of what keeps it', async () => {
  const { registry } = world()
  const { load } = shard(registry)
  const of = (keeps: boolean) =>
    tree({ processors: { passing: {} }, exporters: { sink: { keeps } } }, way('passing'))
  await load(of(false))
  const keeping = await load(of(true))
  expect(keeping.restarted).toEqual(['exporters/sink/traces', 'processors/passing/traces'])
  expect((await load(of(false))).restarted).toEqual(['exporters/sink/traces'])
})

test('connectors are kept with their pipelines, and lead to what is new behind them', async () => {
  const { happened, registry, send } = world()
  const { load } = shard(registry)
  const of = (v: number, more: Pipelines = {}) =>
    tree(
      { processors: { passing: { v } }, connectors: { join: {} } },
      {
        'traces/in': { receivers: ['input'], exporters: ['join'] },
        'traces/out': { receivers: ['join'], processors: ['passing'], exporters: ['sink'] },
        ...more,
      },
    )
  await load(of(0))
  expect(await load(of(1))).toMatchObject({ restarted: ['processors/passing/traces/out'] })
  happened.length = 0
  await send(3)
  expect(happened).toEqual(['passing@1', 'sink@0: 3'])
  const more = { 'traces/more': { receivers: ['join'], exporters: ['sink'] } }
  expect(await load(of(1, more))).toMatchObject({ restarted: ['connectors/join/traces/traces'] })
  happened.length = 0
  await send(4)
  expect(happened.sort()).toEqual(['passing@1', 'sink@0: 4', 'sink@0: 4'])
})

test('a graph that does not start leaves the one that runs as it was', async () => {
  const { happened, registry, send } = world()
  const { load } = shard(registry)
  const of = (a: object, b: object) =>
    tree({ processors: { 'passing/a': a, 'holder/b': b } }, way('passing/a', 'holder/b'))
  await load(of({}, {}))
  await expect(load(of({ v: 1 }, { v: 1, fails: true }))).rejects.toThrow(
    'processors/holder/b/traces: on purpose',
  )
  happened.length = 0
  await send(7)
  await load(of({}, { v: 2 }))
  expect(happened.filter((line) => !line.startsWith('+'))).toEqual([
    'passing/a@0',
    '-holder/b@0/traces',
    'sink@0: 7',
  ])
})
