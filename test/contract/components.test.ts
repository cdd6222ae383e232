/**
 * One contract for every built-in component: it can be built, stopped without a start, started and stopped twice; it never writes to
 * what it is given; and no item vanishes: what goes in is passed on, dropped and counted, or refused.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { registry as load } from '../../src/components.ts'
import { RefusedError, WeirError } from '../../src/errors.ts'
import { Batch, type Signal } from '../../src/otlp/batch.ts'
import { createExporter, createProcessor, createReceiver } from '../support/create-test.ts'
import { logs, metrics, traces } from '../support/otlp.ts'

const registry = await load()
const folder = mkdtempSync(join(tmpdir(), 'weir-contract-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** A configuration that is enough for each type; those that are not here take `{}`. Nothing listens behind port 1. */
const CONFIGS: Readonly<Record<string, unknown>> = {
  memory_limiter: { check_interval: '1s', limit_mib: 100 },
  resource: { attributes: [{ key: 'k', value: 'v', action: 'upsert' }] },
  attributes: { actions: [{ key: 'k', value: 'v', action: 'upsert' }] },
  tail_sampling: { decision_wait: '1s', policies: [{ name: 'all', type: 'always_sample' }] },
  probabilistic_sampler: { sampling_percentage: 100 },
  otlp: { protocols: { grpc: { endpoint: 'localhost:0' }, http: { endpoint: 'localhost:0' } } },
  prometheus: {
    config: { scrape_configs: [{ job_name: 'j', static_configs: [{ targets: ['localhost:1'] }] }] },
  },
  'exporter otlp_grpc': { endpoint: 'localhost:1', tls: { insecure: true } },
  'exporter otlp_http': { endpoint: 'http://localhost:1' },
  'exporter prometheus_remote_write': { endpoint: 'http://localhost:1/api/v1/write' },
  'exporter prometheus': { endpoint: 'localhost:0' },
  'exporter jaeger': { endpoint: 'localhost:1', tls: { insecure: true } },
  'exporter loki': { endpoint: 'http://localhost:1/loki/api/v1/push' },
  'exporter file': { path: join(folder, 'out.jsonl') },
}
const configOf = (kind: string, type: string) => CONFIGS[`${kind} ${type}`] ?? CONFIGS[type] ?? {}

const SAMPLES: Readonly<Record<Signal, () => Batch>> = {
  traces: () => traces({ resource: { 'service.name': 's' }, spans: ['a', 'b'] }),
  metrics: () =>
    metrics({
      resource: { 'service.name': 's' },
      metrics: [{ name: 'g', gauge: { dataPoints: [{ asInt: 1, timeUnixNano: 1n }] } }],
    }),
  logs: () =>
    logs({
      resource: { 'service.name': 's' },
      logs: [{ body: 'line', traceId: '0123456789abcdef0123456789abcdef' }],
    }),
}
const copy = (batch: Batch) => batch.chunks.map((chunk) => Buffer.from(chunk))
const soon = () => AbortSignal.timeout(500)

describe.each(registry.processors.map((definition) => [definition.type, definition] as const))(
  'processor %s',
  (type, definition) => {
    const config = configOf('processor', type)
    for (const signal of definition.signals) {
      test(`${signal}: life cycle, untouched input, no item vanishes`, async () => {
        const unstarted = createProcessor(definition, config, { signal })
        await unstarted.processor.shutdown?.(soon())

        const made = createProcessor(definition, config, { signal })
        await made.start()
        const batch = SAMPLES[signal]()
        const before = copy(batch)
        await made.consume(batch)
        for (let second = 0; second < 5; second++) await made.clock.advance(1000)
        await made.processor.shutdown?.(soon())
        await made.processor.shutdown?.(soon())
        expect(made.sink.itemCount).toBe(batch.itemCount)
        if (!definition.capabilities.mutatesData) expect(copy(batch)).toEqual(before)
      })

      test(`${signal}: a refusal downstream is told, counted or held, never silent`, async () => {
        const made = createProcessor(definition, config, { signal, holdsCaller: true })
        await made.start()
        made.sink.fail = () => new RefusedError('full')
        const told = made.consume(SAMPLES[signal]()).then(
          () => false,
          (error: unknown) => error instanceof WeirError && error.retryable,
        )
        for (let second = 0; second < 5; second++) await made.clock.advance(1000)
        await made.processor.shutdown?.(soon())
        const counted = [...made.meter.values].some(
          ([name, value]) => /drop|fail|lost/.test(name) && value > 0,
        )
        expect((await told) || counted).toBe(true)
      })
    }
    for (const signal of definition.signals) {
      test(`${signal}: where it says that it releases the bytes, it does`, async () => {
        const run = async (scribble: boolean) => {
          const seen: string[] = []
          const next = {
            releases: true,
            consume: async (batch: Batch) => void seen.push(Buffer.from(batch.bytes()).toString('hex')),
          }
          const made = createProcessor(definition, config, { signal, next })
          await made.start()
          const chunks = copy(SAMPLES[signal]())
          await made.consume(new Batch(signal, chunks))
          const released = made.processor.releases === true
          if (scribble && released) for (const chunk of chunks) chunk.fill(0xff)
          for (let second = 0; second < 5; second++) await made.clock.advance(1000)
          await made.processor.shutdown?.(soon())
          return seen
        }
        const untouched = await run(false)
        expect(untouched.length).toBeGreaterThan(0)
        expect(await run(true)).toEqual(untouched)
      })
    }
    test('a key that does not exist is refused', () => {
      expect(definition.config.safeParse({ ...(config as object), no_such_key: 1 }).success).toBe(false)
    })
  },
)

describe.each(registry.exporters.map((definition) => [definition.type, definition] as const))(
  'exporter %s',
  (type, definition) => {
    const config = configOf('exporter', type)
    for (const signal of definition.signals) {
      test(`${signal}: life cycle, untouched input`, async () => {
        const unstarted = createExporter(definition, config, { signal })
        await unstarted.exporter.shutdown?.(soon())

        const made = createExporter(definition, config, { signal })
        await made.start()
        const batch = SAMPLES[signal]()
        const before = copy(batch)
        const outcome = await made.consume(batch, soon()).then(
          () => undefined,
          (error: unknown) => error,
        )
        // A backend that is not there may work later.
        if (outcome !== undefined) expect(outcome).toMatchObject({ retryable: true })
        expect(copy(batch)).toEqual(before)
        await made.exporter.shutdown?.(soon())
        await made.exporter.shutdown?.(soon())
      })
    }
    test('a key that does not exist is refused', () => {
      expect(definition.config.safeParse({ ...(config as object), no_such_key: 1 }).success).toBe(false)
    })
  },
)

describe.each(registry.receivers.map((definition) => [definition.type, definition] as const))(
  'receiver %s',
  (type, definition) => {
    const config = configOf('receiver', type)
    test('life cycle', async () => {
      const unstarted = createReceiver(definition, config)
      await unstarted.receiver.shutdown?.(soon())
      const made = createReceiver(definition, config)
      await made.start()
      await made.receiver.shutdown?.(soon())
      await made.receiver.shutdown?.(soon())
    })
  },
)

test('types are unique within a kind, deprecated names included', () => {
  for (const definitions of [
    registry.receivers,
    registry.processors,
    registry.exporters,
    registry.connectors,
  ]) {
    const names = definitions.flatMap(({ type, deprecatedTypes }) => [type, ...(deprecatedTypes ?? [])])
    expect(new Set(names).size).toBe(names.length)
  }
})

test('names of own metrics are lower snake case and belong to their component', () => {
  const wrong: string[] = []
  const kinds = { receiver: registry.receivers, processor: registry.processors, exporter: registry.exporters }
  for (const [kind, definitions] of Object.entries(kinds)) {
    for (const definition of definitions) {
      for (const { name } of Object.values(definition.telemetry) as { name: string }[]) {
        // What is held in memory is one metric over all kinds of components.
        const known = name.startsWith(`${kind}_`) || name.startsWith('scraper_') || name === 'volatile_items'
        if (!/^[a-z][a-z0-9_]*$/.test(name) || !known) wrong.push(`${kind} ${definition.type}: ${name}`)
      }
    }
  }
  expect(wrong).toEqual([])
})
