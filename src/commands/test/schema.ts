/**
 * The form of test files for pipelines (docs/testing.md): what goes in, how long time passes, what is to
 * come out. Read with places by file.ts, printed for editors by `weir schema --tests`.
 */
import { z } from 'zod'
import { duration } from '../../config/fields.ts'
import { size } from '../../plugin/fields.ts'

const MOST_COPIES = 100_000

const values = (description: string) => z.record(z.string(), z.unknown()).optional().meta({ description })
const text = (description: string) => z.string().optional().meta({ description })
const time = (description: string) => duration().optional().meta({ description })

const around = {
  service: text('Short for the resource attribute service.name.'),
  resource: values('Attributes of the resource.'),
  scope: text('Name of the scope.'),
}
const attributes = values(
  'Attributes of the item. In an expectation, null says that a key must not be there.',
)
const copies = z
  .int()
  .min(1)
  .max(MOST_COPIES)
  .optional()
  .meta({ description: 'As many items like this one. A trace named t becomes t-1, t-2 and so on.' })

const status = z
  .union([
    z.enum(['unset', 'ok', 'error']),
    z.strictObject({ code: z.enum(['unset', 'ok', 'error']), message: z.string() }),
  ])
  .optional()
  .meta({ description: 'The word, or {code, message}.' })

const spanFields = {
  ...around,
  trace: text('A name of your own, which stands for an id, or 32 hex digits.'),
  span: text('A name of your own, which stands for an id, or 16 hex digits.'),
  parent: text('As span: the parent of this one.'),
  kind: z.enum(['unspecified', 'internal', 'server', 'client', 'producer', 'consumer']).optional(),
  status,
  start: time('From the start of the test. Left out: so that the span ends when it is sent.'),
  duration: time('How long it took.'),
  trace_state: text('The W3C trace state.'),
  attributes,
  events: z
    .array(z.strictObject({ name: z.string(), at: time('From the start of the span.'), attributes }))
    .optional(),
}
const metricFields = {
  ...around,
  type: z.enum(['gauge', 'sum', 'histogram', 'exponentialHistogram', 'summary']).optional(),
  unit: text('Its unit.'),
  description: text('Its description.'),
  temporality: z.enum(['delta', 'cumulative']).optional(),
  monotonic: z.boolean().optional(),
  value: z.number().optional().meta({ description: 'Of a gauge or a sum.' }),
  count: z.int().optional().meta({ description: 'Of a histogram.' }),
  sum: z.number().optional().meta({ description: 'Of a histogram.' }),
  buckets: z.array(z.int()).optional().meta({ description: 'Of a histogram: counts, one more than bounds.' }),
  bounds: z.array(z.number()).optional().meta({ description: 'Of a histogram: upper bounds.' }),
  attributes,
}
const severity = z
  .union([z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']), z.int().min(0).max(24)])
  .optional()
  .meta({ description: 'A word or a severity number.' })
const logFields = {
  ...around,
  body: z.unknown().optional().meta({ description: 'A text, or any value.' }),
  severity,
  severity_text: text('As the source wrote it.'),
  event: text('Name of the event.'),
  trace: spanFields.trace,
  span: spanFields.span,
  attributes,
}

const name = z.string().meta({ description: 'Name of the span or metric.' })
/** Written as one word: a span's name, a line of a log. */
const items = <T extends z.ZodType>(item: T) => z.array(z.union([z.string(), item])).optional()

const spansIn = items(z.strictObject({ name, ...spanFields, copies }))
const metricsIn = z.array(z.strictObject({ name, ...metricFields, copies })).optional()
const logsIn = items(z.strictObject({ ...logFields, copies }))

const step = z.strictObject({
  at: time('When it is sent, from the start of the test. Default: with the one before, the first at 0s.'),
  spans: spansIn,
  metrics: metricsIn,
  logs: logsIn,
  otlp: z
    .union([z.record(z.string(), z.unknown()), z.array(z.record(z.string(), z.unknown()))])
    .optional()
    .meta({ description: 'Requests in the JSON form of OTLP: {resourceSpans: [...]}.' }),
  file: text('A file of such requests, one or one per line, relative to this file.'),
  metadata: z
    .record(z.string(), z.union([z.string(), z.array(z.string())]))
    .optional()
    .meta({ description: 'Headers of the request, as include_metadata of a receiver keeps them.' }),
  memory: size().optional().meta({ description: 'From now on the collector uses so much memory.' }),
  refused: z
    .union([
      z.enum(['retryable', 'permanent']),
      z.strictObject({ retryable: z.boolean().optional(), message: z.string().optional() }),
    ])
    .optional()
    .meta({ description: 'The sender is to be refused. Otherwise a refusal fails the test.' }),
})

const range = z.strictObject({ at_least: z.number().optional(), at_most: z.number().optional() })
const amount = (description: string) => z.union([z.number(), range]).optional().meta({ description })

const wanted = {
  spans: items(z.strictObject({ name: name.optional(), ...spanFields })),
  metrics: z.array(z.strictObject({ name: name.optional(), ...metricFields })).optional(),
  logs: items(z.strictObject(logFields)),
}
const output = z.strictObject({
  ...wanted,
  contains: z.strictObject(wanted).optional().meta({ description: 'These, and perhaps others.' }),
  lacks: z.strictObject(wanted).optional().meta({ description: 'Nothing that looks like one of these.' }),
  count: amount('Spans, data points or log records.'),
  batches: amount('Requests that the exporter gets.'),
})

const expectation = z.strictObject({
  at: time('What has come by then. Left out: in the end, when the pipeline has handed on all it held.'),
  output: output
    .optional()
    .meta({ description: 'What each exporter gets. Items in any order; only what is written is compared.' }),
  exporters: z
    .record(z.string(), output)
    .optional()
    .meta({ description: 'What single exporters get, by id.' }),
  exact: z
    .boolean()
    .optional()
    .meta({ description: 'Attributes and resources have no other keys than those written.' }),
  dropped: amount(
    'Items that processors took and did not pass on: sampled out, filtered, lost. In the end only.',
  ),
  metrics: z
    .record(z.string(), z.union([z.number(), range]))
    .optional()
    .meta({
      description: 'Own metrics: otelcol_name or otelcol_name{label="value"}; series that match are added.',
    }),
})

const testCase = z.strictObject({
  name: z.string().min(1).meta({ description: 'What is tested, in words.' }),
  pipeline: text('Data goes in at the head of this pipeline.'),
  receiver: text('Data goes in where this receiver hands on. Default: the one receiver that there is.'),
  processor: text('Only this processor.'),
  processors: z
    .array(z.string())
    .min(1)
    .optional()
    .meta({ description: 'Only these processors, in this order.' }),
  set: z.array(z.string()).optional().meta({ description: 'key.key=value, over the configuration.' }),
  answers: z
    .record(z.string(), z.enum(['ok', 'retryable', 'permanent']))
    .optional()
    .meta({ description: 'How exporters answer, by id. Default: ok.' }),
  input: z.union([step, z.array(step)]).optional(),
  advance: duration()
    .prefault('1m')
    .meta({ description: 'Time that passes after the last input, before what is still held is handed on.' }),
  expect: z.union([expectation, z.array(expectation)]).optional(),
  config_error: text('The configuration is to be refused with a message that contains this.'),
})

export const testFileSchema = z.strictObject({
  config: text(
    'The configuration, relative to this file. Default: NAME.yaml beside NAME.test.yaml, or collector.yaml.',
  ),
  env: z
    .record(z.string(), z.union([z.string(), z.number(), z.boolean()]))
    .optional()
    .meta({ description: 'Environment variables for expressions of the configuration.' }),
  set: z
    .array(z.string())
    .optional()
    .meta({ description: 'key.key=value, over the configuration, for all tests.' }),
  tests: z.array(testCase).min(1),
})

export type TestFile = z.infer<typeof testFileSchema>
export type TestCase = z.infer<typeof testCase>
export type Step = z.infer<typeof step>
export type Expectation = z.infer<typeof expectation>
export type OutputExpectation = z.infer<typeof output>
export type WantedItems = z.infer<z.ZodObject<typeof wanted>>
export type Amount = number | z.infer<typeof range>
