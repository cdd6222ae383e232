/**
 * The JSON Schema that `weir schema` prints, in the hands of a validator such as editors have. Scenario:
 * every example, the files that users come with, and files with mistakes. Guarantee: what Weir takes the
 * schema takes, and common mistakes are underlined.
 */
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import costAttribution from '../../../pipelines/plugins/cost-attribution.ts'
import redactPii from '../../../pipelines/plugins/redact-pii.ts'
import slackErrors from '../../../pipelines/plugins/slack-errors.ts'
import tenantRouting from '../../../pipelines/plugins/tenant-routing.ts'
import webhook from '../../../pipelines/plugins/webhook.ts'
import { testsSchema } from '../../../src/commands/test/json-schema.ts'
import { registry } from '../../../src/components.ts'
import { DESCRIPTIONS } from '../../../src/config/descriptions.ts'
import { configSchema } from '../../../src/config/json-schema.ts'
import { wrap } from '../../../src/plugin/wrap.ts'
import { testRegistry } from './registry.ts'

const ROOT = join(import.meta.dirname, '../../..')
const builtIn = await registry()
const all = {
  ...builtIn,
  processors: [
    ...builtIn.processors,
    ...[costAttribution, redactPii].map((one) => wrap(one, '', '') as typeof one),
  ],
  exporters: [...builtIn.exporters, slackErrors],
  connectors: [...builtIn.connectors, tenantRouting],
  receivers: [...builtIn.receivers, webhook],
}
// Formats are for people to read; editors differ in which they know.
const ajv = new Ajv2020({ allErrors: true, strict: false, validateFormats: false })
const schema = configSchema(all)
const validate = ajv.compile(schema)

function problems(text: string, check = validate): string[] {
  check(parse(text, { merge: true }))
  return (check.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`)
}

test('the schemas are valid themselves, by the book', () => {
  expect(ajv.validateSchema(schema)).toBe(true)
  expect(ajv.validateSchema(testsSchema())).toBe(true)
})

test('every example and every test file of the examples is taken', () => {
  const files = ['collector.yaml', ...globSync('pipelines/**/*.yaml', { cwd: ROOT })]
  expect(files.length).toBeGreaterThan(20)
  const validateTests = ajv.compile(testsSchema())
  for (const file of files) {
    const check = file.endsWith('.test.yaml') ? validateTests : validate
    expect(problems(readFileSync(join(ROOT, file), 'utf8'), check), file).toEqual([])
  }
})

/**
 * Mistakes that a schema of one file cannot see: what refers to what, what is there twice, what lies in
 * variables, broken YAML.
 */
const UNSEEN: readonly string[] = [
  'bad-set',
  'built-in-protocols-missing',
  'built-in-same-port',
  'built-in-storages',
  'connector-cycle',
  'connector-one-side',
  'connector-signal-pair',
  'dangling-references',
  'duplicate-after-trimming',
  'endless-expansion',
  'expansion-schemes',
  'listener-conflicts',
  'map-inside-a-string',
  'plugins',
  'schema-refinement',
  'set-wrong-value',
  'telemetry-bad-address',
  'telemetry-without-readers',
  'unsupported-signal',
  'variable-names',
]
/** A list as one word, values that expressions make maps of: better written in another way. */
const STRICTER: readonly string[] = ['good-comma-list', 'good-expansion', 'two-documents']

test('golden configurations: the good ones are taken, of the bad ones those with a mistake in themselves refused', () => {
  const folder = import.meta.dirname
  const validateTest = ajv.compile(configSchema(testRegistry))
  const unseen: string[] = []
  for (const file of globSync('*.golden', { cwd: folder }).sort()) {
    const text = readFileSync(join(folder, file), 'utf8')
    const input = text.slice(0, text.lastIndexOf('----------'))
    const name = file.replace('.golden', '')
    const check = input.includes('# built-in components') ? validate : validateTest
    const isGood = /^ok$/m.test(text.slice(text.lastIndexOf('----------')))
    let found: string[]
    try {
      found = problems(input, check)
    } catch (error) {
      found = [String(error)] // Not YAML, or too much of it.
    }
    if (isGood && !STRICTER.includes(name)) expect(found, name).toEqual([])
    if (!isGood && found.length === 0) unseen.push(name)
  }
  expect(unseen).toEqual(UNSEEN)
})

test('every field of what ships says what it is, and every line of the table is used', () => {
  const silent: string[] = []
  const shown = new Set<string>()
  const visit = (value: unknown, path: string): void => {
    if (Array.isArray(value)) for (const one of value) visit(one, path)
    if (typeof value !== 'object' || value === null) return
    for (const [key, child] of Object.entries(value)) {
      if (key === 'default' || key === 'enum') continue
      if (key === 'properties') {
        for (const [name, field] of Object.entries(child as Record<string, { description?: string }>)) {
          if (field.description === undefined) silent.push(`${path}.${name}`)
          else shown.add(field.description)
          visit(field, `${path}.${name}`)
        }
      } else visit(child, key.startsWith('^') ? `${path}.${key}` : path)
    }
  }
  visit(configSchema(builtIn), '')
  expect(silent).toEqual([])
  expect(
    Object.entries(DESCRIPTIONS)
      .filter(([, text]) => !shown.has(text))
      .map(([name]) => name),
  ).toEqual([])
})

const GOOD = `
receivers: { otlp: { protocols: { grpc: { endpoint: localhost:4317 } } } }
processors: { batch: { timeout: 1s }, tail_sampling: { decision_wait: 5s, policies: [{ name: a, type: always_sample }] } }
exporters: { otlp_grpc: { endpoint: localhost:1, compression: gzip } }
service: { pipelines: { traces: { receivers: [otlp], processors: [batch], exporters: [otlp_grpc] } } }
`

test('mistakes are underlined where they are', () => {
  expect(problems(GOOD)).toEqual([])
  const f = (from: string, to: string, path: string) => {
    expect(GOOD).toContain(from)
    const found = problems(GOOD.replace(from, to))
    expect(
      found.some((one) => one.startsWith(path)),
      `${to}: ${found.join('; ')}`,
    ).toBe(true)
  }
  f('timeout: 1s', 'timout: 1s', '/processors/batch must NOT have additional properties')
  f('timeout: 1s', 'timeout: soon', '/processors/batch/timeout must match pattern')
  f('timeout: 1s', 'send_batch_size: many', '/processors/batch/send_batch_size')
  f('batch: { timeout', 'bach: { timeout', '/processors must NOT have additional properties')
  f('compression: gzip', 'compression: zip', '/exporters/otlp_grpc/compression')
  f('service: { pipelines', 'service: { pipeline', '/service must NOT have additional properties')
  f('always_sample', 'always_simple', '/processors/tail_sampling/policies/0')
  f('exporters: [otlp_grpc]', 'exporters: otlp_grpc', '/service/pipelines/traces/exporters must be array')
  f('traces: {', 'spans: {', '/service/pipelines must NOT have additional properties')
  f('receivers: { otlp', 'recievers: { otlp', ' must NOT have additional properties')
})

test('an expression stands for any value of one piece', () => {
  const expression = '"$'.concat('{env:SIZE:-10}"')
  const text = GOOD.replace('timeout: 1s', `timeout: ${expression}, send_batch_size: ${expression}`)
  expect(problems(text.replace('compression: gzip', `compression: ${expression}`))).toEqual([])
})
