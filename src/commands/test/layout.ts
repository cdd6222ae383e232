/**
 * Where the input of a test goes in: a receiver, a pipeline, or single processors with a recorder behind
 * them.
 */
import { defineExporter } from '../../component/define.ts'
import { hint } from '../../config/nearest.ts'
import type { PipelineConfig, ServiceConfig } from '../../config/types.ts'
import { SIGNALS, type Signal } from '../../otlp/batch.ts'
import type { BenchLayout } from './bench.ts'
import type { TestCase } from './schema.ts'

/** Something in the test file cannot be run: the message is for its author. `path` is below the case. */
export class CannotRun extends Error {
  readonly path: readonly (string | number)[]
  constructor(message: string, path: readonly (string | number)[] = []) {
    super(message)
    this.path = path
  }
}

const OUTPUT = 'output'

export function layoutOf(
  testCase: TestCase,
  config: ServiceConfig,
  signals: ReadonlySet<Signal>,
): BenchLayout {
  const { pipeline, receiver, processor, processors } = testCase
  const given = Object.entries({ pipeline, receiver, processor, processors }).filter(
    ([, value]) => value !== undefined,
  )
  const [first, second] = given.map(([key]) => key)
  if (second !== undefined) throw new CannotRun(`either ${first} or ${second}, not both`, [second])
  const answers = testCase.answers ?? {}
  const only = processors ?? (processor === undefined ? undefined : [processor])
  if (only !== undefined) return processorLayout(only, config, signals, answers, first ?? '')
  const { pipelines } = config.service
  checkAnswers(answers, config)
  if (pipeline !== undefined) {
    const head = pipelines.find(({ id }) => id === pipeline)
    if (head === undefined)
      throw unknown(
        'pipeline',
        pipeline,
        pipelines.map(({ id }) => id),
      )
    const from = head.receivers.find((id) => config.receivers.has(id)) ?? 'test'
    return { config, heads: [head], receiver: from, answers }
  }
  const id = receiver ?? onlyReceiver(config, signals)
  const heads = pipelines.filter(({ receivers }) => receivers.includes(id))
  if (heads.length === 0) throw unknown('receiver', id, config.receivers.keys())
  return { config, heads, receiver: id, answers }
}

function unknown(key: string, word: string, known: Iterable<string>): CannotRun {
  const names = key === 'pipeline' ? 'pipelines' : key === 'receiver' ? 'receivers' : 'configured'
  return new CannotRun(
    `there is no ${key === 'processors' ? 'processor' : key} "${word}"${hint(word, known, names)}`,
    [key],
  )
}

function checkAnswers(answers: Readonly<Record<string, unknown>>, config: ServiceConfig): void {
  for (const id of Object.keys(answers)) {
    if (config.exporters.has(id)) continue
    const near = hint(id, config.exporters.keys(), 'exporters')
    throw new CannotRun(`there is no exporter "${id}"${near}`, ['answers', id])
  }
}

function onlyReceiver(config: ServiceConfig, signals: ReadonlySet<Signal>): string {
  const { pipelines } = config.service
  const fitting = [...config.receivers.keys()].filter((id) =>
    [...signals].every((signal) =>
      pipelines.some((one) => one.signal === signal && one.receivers.includes(id)),
    ),
  )
  const [id] = fitting
  if (id !== undefined && fitting.length === 1) return id
  const many = fitting.length > 1
  const why = many ? `${fitting.join(' and ')} could take it` : 'no receiver takes all of these signals'
  throw new CannotRun(`say which pipeline or receiver the input goes to: ${why}`)
}

const recorded = defineExporter({
  type: 'output',
  stability: 'stable',
  summary: 'What comes out of the processors of a test.',
  signals: SIGNALS,
  config: undefined as never, // Never parsed.
  telemetry: {},
  create: () => ({ consume: async () => {} }),
})

function processorLayout(
  ids: readonly string[],
  config: ServiceConfig,
  signals: ReadonlySet<Signal>,
  answers: BenchLayout['answers'],
  key: string,
): BenchLayout {
  for (const id of ids) {
    const found = config.processors.get(id)
    if (found === undefined) throw unknown(key, id, config.processors.keys())
    const other = [...signals].find((signal) => !found.definition.signals.includes(signal))
    if (other !== undefined) throw new CannotRun(`processor "${id}" takes no ${other}`, [key])
  }
  for (const id of Object.keys(answers)) {
    if (id !== OUTPUT)
      throw new CannotRun(`the exporter behind single processors is "${OUTPUT}"`, ['answers', id])
  }
  const heads: PipelineConfig[] = [...signals].map((signal) => ({
    ...{ id: signal, signal, receivers: [], processors: ids, exporters: [OUTPUT] },
  }))
  const exporters = new Map([[OUTPUT, { id: OUTPUT, definition: recorded, config: {} }]])
  return { config: { ...config, exporters }, heads, receiver: 'test', answers }
}
