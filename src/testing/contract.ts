/**
 * What every component has to keep, as test cases for any runner:
 *
 *     import test from 'node:test'
 *     for (const { name, run } of contract(definition, { config: { keys: ['email'] } })) test(name, run)
 */
import assert from 'node:assert/strict'
import type { AnyDefinition, Component, Consumer } from '../component/define.ts'
import { isRetryable, RefusedError } from '../errors.ts'
import { type Batch, SIGNALS, type Signal } from '../otlp/batch.ts'
import { buildLogs, buildMetrics, buildTraces } from '../plugin/build.ts'
import { harness } from './harness.ts'

export interface ContractOptions {
  /** One that is enough for the component. */
  readonly config?: unknown
  /** What it is fed; default: a small batch of each signal. */
  readonly samples?: Partial<Readonly<Record<Signal, () => Batch>>>
  /** It drops items by design: how many arrive is not looked at. */
  readonly dropsItems?: boolean
}

export interface ContractCase {
  readonly name: string
  run(): Promise<void>
}

const SAMPLES: Readonly<Record<Signal, () => Batch>> = {
  traces: () => buildTraces({ resource: { 'service.name': 's' }, spans: ['a', 'b'] }),
  metrics: () =>
    buildMetrics({
      resource: { 'service.name': 's' },
      metrics: [{ name: 'g', type: 'gauge', points: [{ value: 1 }] }],
    }),
  logs: () => buildLogs({ resource: { 'service.name': 's' }, logs: ['line'] }),
}

export function contract(definition: AnyDefinition, options: ContractOptions = {}): ContractCase[] {
  const what = `${definition.kind} ${definition.type}`
  const cases: ContractCase[] = [
    {
      name: `${what}: can be stopped unstarted, started once and stopped twice`,
      run: () => lifeCycle(definition, options),
    },
    {
      name: `${what}: a key that does not exist is refused`,
      async run() {
        const config = { ...(options.config as object | undefined), no_such_key: 1 }
        assert.equal(definition.config.safeParse(config).success, false, 'use z.strictObject for the config')
      },
    },
    {
      name: `${what}: own metrics are in lower snake case and begin with ${definition.kind}_`,
      async run() {
        for (const { name } of Object.values(definition.telemetry) as { name: string }[]) {
          assert.match(name, new RegExp(`^${definition.kind}_[a-z0-9_]+$`))
        }
      },
    },
  ]
  for (const signal of signalsOf(definition)) {
    cases.push({
      name: `${what}, ${signal}: leaves its input as it was`,
      run: () => input(definition, signal, options),
    })
    if (definition.kind === 'processor') {
      cases.push({
        name: `${what}, ${signal}: a refusal behind it is told, counted or held`,
        run: () => refusal(definition, signal, options),
      })
    }
  }
  return cases
}

function signalsOf(definition: AnyDefinition): readonly Signal[] {
  if (definition.kind === 'processor' || definition.kind === 'exporter') return definition.signals
  if (definition.kind === 'connector') {
    return SIGNALS.filter((signal) => definition.routes.some(({ from }) => from === signal))
  }
  return []
}

function sample(signal: Signal, { samples }: ContractOptions): Batch {
  return (samples?.[signal] ?? SAMPLES[signal])()
}

const soon = () => AbortSignal.timeout(1000)

async function lifeCycle(definition: AnyDefinition, { config }: ContractOptions): Promise<void> {
  const unstarted: Component = harness(definition, config).component
  await unstarted.shutdown?.(soon())
  const { component }: { component: Component } = harness(definition, config)
  await component.start?.()
  await component.shutdown?.(soon())
  await component.shutdown?.(soon())
}

async function input(definition: AnyDefinition, signal: Signal, options: ContractOptions): Promise<void> {
  const made = harness(definition, options.config, { signal })
  await made.start()
  const batch = sample(signal, options)
  const before = batch.chunks.map((chunk) => Buffer.from(chunk).toString('hex'))
  const outcome = await made.consume(batch).then(
    () => undefined,
    (error: unknown) => error,
  )
  for (let second = 0; second < 5; second++) await made.clock.advance(1000)
  await made.shutdown()
  // A backend that is not there may work later; everything else takes the sample.
  if (outcome !== undefined)
    assert.ok(definition.kind === 'exporter' && isRetryable(outcome), String(outcome))
  const mutates = definition.kind === 'processor' && definition.capabilities.mutatesData
  if (!mutates)
    assert.deepEqual(
      batch.chunks.map((chunk) => Buffer.from(chunk).toString('hex')),
      before,
    )
  if (definition.kind === 'processor' && options.dropsItems !== true) {
    assert.equal(made.sink.itemCount, batch.itemCount, 'items vanished; say dropsItems if that is its work')
  }
}

async function refusal(definition: AnyDefinition, signal: Signal, options: ContractOptions): Promise<void> {
  const next: Consumer = {
    consume: async () => {
      throw new RefusedError('full')
    },
  }
  const made = harness(definition, options.config, { signal, next, holdsCaller: true })
  await made.start()
  const told = made.consume(sample(signal, options)).then(
    () => false,
    (error: unknown) => isRetryable(error),
  )
  for (let second = 0; second < 5; second++) await made.clock.advance(1000)
  await made.shutdown()
  const counted = [...made.meter.values].some(([name, value]) => /drop|fail|lost/.test(name) && value > 0)
  const dropped = options.dropsItems === true
  assert.ok((await told) || counted || dropped, 'the refusal behind it was swallowed')
}
