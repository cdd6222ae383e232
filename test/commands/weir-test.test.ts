/**
 * `weir test` as its users run it. Scenario: the tests beside the examples, a policy that is changed,
 * mistakes in test files. Guarantee: they pass, fail with what was expected and what came, or say where the
 * mistake is; the exit code tells which.
 */
import { execFile, spawn } from 'node:child_process'
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'weir-tests-'))
afterAll(() => rmSync(folder, { recursive: true }))

function weir(args: readonly string[], cwd = folder, env: Record<string, string> = {}) {
  const options = { cwd, env: { ...process.env, ...env } }
  return new Promise<{ code: number; out: string; err: string }>((resolve) => {
    execFile(process.execPath, [join(ROOT, 'src/main.ts'), ...args], options, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code), out, err })
    })
  })
}

function write(name: string, text: string): string {
  writeFileSync(join(folder, name), text)
  return name
}

const CONFIG = `
receivers: { otlp: { protocols: { http: { endpoint: localhost:0 } } }, nop: }
processors:
  memory_limiter: { check_interval: 1s, limit_mib: 100 }
  resource: { attributes: [{ key: env, value: prod, action: upsert }] }
  batch: { timeout: 5s }
exporters: { debug: , otlp_http: { endpoint: http://localhost:1, sending_queue: { enabled: false } } }
connectors: { forward: }
service:
  pipelines:
    traces: { receivers: [otlp], processors: [memory_limiter, resource, batch], exporters: [debug] }
    traces/held: { receivers: [nop], processors: [batch], exporters: [otlp_http] }
    logs/in: { receivers: [otlp], exporters: [forward] }
    logs: { receivers: [forward], processors: [resource], exporters: [debug] }
`
write('collector.yaml', CONFIG)

test('every example has tests beside it, and they pass', async () => {
  const examples = globSync('pipelines/**/*.yaml', { cwd: ROOT }).filter(
    (name) => !name.endsWith('.test.yaml'),
  )
  expect(examples.length).toBeGreaterThan(10)
  for (const name of examples) {
    expect(existsSync(join(ROOT, name.replace('.yaml', '.test.yaml'))), name).toBe(true)
  }
  const { code, out, err } = await weir(['test', 'pipelines'], ROOT)
  expect([code, err], out).toEqual([0, ''])
  expect(out).toMatch(/^\d+ passed$/m)
})

test('the tests that the README and the documentation show pass', async () => {
  for (const [index, name] of ['README.md', 'docs/testing.md'].entries()) {
    const blocks = readFileSync(join(ROOT, name), 'utf8').split('```')
    const shown = blocks.find((text) => text.startsWith('yaml\n') && /^tests:$/m.test(text))
    const text = `config: shown.yaml\n${shown?.slice('yaml\n'.length)}`
    write(`shown-${index}.test.yaml`, text)
  }
  cpSync(join(ROOT, 'pipelines/tail-sampling.yaml'), join(folder, 'shown.yaml'))
  const { code, out } = await weir(['test', 'shown-*.test.yaml'])
  expect(code, out).toBe(0)
  expect(out).toContain('2 passed')
})

test('a policy that is changed fails with what was expected and what came, by name', async () => {
  const copy = join(folder, 'changed')
  cpSync(join(ROOT, 'pipelines'), copy, { recursive: true })
  const config = join(copy, 'tail-sampling.yaml')
  const text = readFileSync(config, 'utf8')
  expect(text).toContain('status_codes: [ERROR]')
  writeFileSync(config, text.replace('status_codes: [ERROR]', 'status_codes: [OK]'))
  const { code, out } = await weir(['test', 'changed/tail-sampling.test.yaml', '--only', 'kept whole'])
  expect(code).toBe(1)
  expect(out).toContain(`changed/tail-sampling.test.yaml
  FAILED traces with an error are kept whole (changed/tail-sampling.test.yaml:3)
    otlp_grpc: spans are not as expected (0 of 2 are, 0 came)
      - {service: shop, name: POST /pay, trace: bad}
      - {service: bank, name: charge, trace: bad, status: error}
    dropped items: expected 0, got 2
`)
  expect(out).toContain('0 passed, 1 failed')
})

test('differences are shown field by field, with colours where they are wanted', async () => {
  write(
    'diff.test.yaml',
    `
config: collector.yaml
tests:
  - name: fields
    pipeline: traces
    input: { spans: [{ service: shop, name: GET /, trace: a, duration: 20ms, attributes: { x: 1 } }, other] }
    expect:
      exact: true
      output:
        spans: [{ name: GET /, duration: 30ms, status: error, resource: { env: dev }, attributes: { y: 2 } }]
`,
  )
  const { code, out } = await weir(['test', 'diff.test.yaml'])
  expect(code).toBe(1)
  expect(out).toContain(`    debug: spans are not as expected (0 of 1 are, 2 came)
        {service: shop, name: GET /, trace: a, duration: 20ms, attributes: {x: 1}, resource: {env: prod}}
      -   resource.env: dev
      +   resource.env: prod
      -   status: error
      +   status: unset
      -   duration: 30ms
      +   duration: 20ms
      -   attributes.y: 2
      +   attributes.y: nothing
      -   attributes.x: nothing
      +   attributes.x: 1
      + {name: other, trace: trace-2, resource: {env: prod}}
      (- expected, + came)
`)
  const coloured = await weir(['test', 'diff.test.yaml'], folder, { FORCE_COLOR: '1' })
  expect(coloured.out).toContain('\u001b[31m      + ')
  expect((await weir(['test', 'diff.test.yaml', '--no-color'], folder, { FORCE_COLOR: '1' })).out).toBe(out)
})

test('time, answers of exporters, connectors, metrics and memory are as in a running collector', async () => {
  write(
    'whole.test.yaml',
    `
config: collector.yaml
tests:
  - name: time passes at once
    pipeline: traces
    input: [{ spans: [a] }, { at: 4s, spans: [b] }]
    expect:
      - { at: 4.9s, output: { count: 0 } }
      - { at: 5s, output: { spans: [a, b], batches: 1 } }
  - name: a caller that is held hears of the refusal
    pipeline: traces/held
    answers: { otlp_http: retryable }
    input: { spans: [a], refused: { retryable: true, message: fail } }
    expect: { output: { count: 0 }, dropped: 0 }
  - name: a caller that is not held does not, and the loss is counted
    pipeline: traces
    answers: { debug: permanent }
    input: { spans: [a, b] }
    expect: { dropped: 2, metrics: { 'processor_batch_dropped_items{signal="traces"}': 2 } }
  - name: connectors lead on
    receiver: otlp
    input: { logs: [a line, { body: { k: [1, x] }, severity: 10, trace: t }] }
    expect:
      output:
        logs: [{ body: a line, severity: info, resource: { env: prod } }, { body: { k: [1, x] }, severity: 10, trace: t }]
  - name: memory
    pipeline: traces
    input: [{ memory: 99MiB }, { at: 2s, spans: [a], refused: retryable }]
    expect: { output: { count: 0 }, dropped: 0, metrics: { otelcol_receiver_refused_spans: 1 } }
  - name: requests in the form of OTLP
    processors: [resource]
    input:
      otlp: { resourceMetrics: [{ scopeMetrics: [{ metrics: [{ name: m, gauge: { dataPoints: [{ asInt: '7' }] } }] }] }] }
    expect: { output: { metrics: [{ name: m, type: gauge, value: 7, resource: { env: prod } }] } }
  - name: a wrong setting is refused
    set: [processors.batch.timout=1s]
    config_error: did you mean "timeout"
`,
  )
  const { code, out } = await weir(['test', 'whole.test.yaml'])
  expect(code, out).toBe(0)
  expect(out).toContain('7 passed')
})

test('every short form comes out as it went in', async () => {
  const trace = '0'.repeat(31).concat('1')
  const requests = [
    { resourceSpans: [{ scopeSpans: [{ spans: [{ name: 'filed', traceId: trace }] }] }] },
    { resourceLogs: [{ scopeLogs: [{ logRecords: [{ body: { stringValue: 'line' } }] }] }] },
  ]
  write('requests.jsonl', requests.map((one) => `${JSON.stringify(one)}\n`).join(''))
  const around = { service: 's', scope: 'lib', resource: { a: [1, 'two'] } }
  const span = {
    ...{ ...around, name: 'n', trace: 't', span: 'x', parent: 'p', kind: 'client', trace_state: 'k=v' },
    ...{ status: { code: 'error', message: 'no' }, start: '1s', duration: '1.5s' },
    attributes: { i: 7, d: 1.5, b: true, l: ['a', 1], m: { k: 'v' } },
    events: [{ name: 'e', at: '250ms', attributes: { q: 1 } }],
  }
  const histogram = {
    ...{ ...around, name: 'h', type: 'histogram', unit: 'ms', description: 'd', temporality: 'delta' },
    ...{ count: 3, sum: 7.5, buckets: [1, 2], bounds: [5], attributes: { x: 'y' } },
  }
  const sum = {
    name: 'c',
    type: 'sum',
    value: 1.25,
    temporality: 'cumulative',
    monotonic: false,
    attributes: {},
  }
  const log = {
    ...{ ...around, body: { k: [1, null] }, severity: 'error', severity_text: 'ERR', event: 'e' },
    ...{ trace: 't', span: 'x', attributes: { a: 'b' } },
  }
  const copies = ['u-1', 'u-2', 'u-3'].map((name) => ({ name: 'other', trace: name }))
  const input = [
    { spans: [span, { name: 'other', trace: 'u', copies: 3 }], metrics: [histogram, sum], logs: [log] },
    { file: 'requests.jsonl' },
  ]
  const output = {
    spans: [{ name: 'filed', trace }, ...copies, span],
    metrics: [sum, histogram],
    logs: ['line', log],
  }
  const forms = { name: 'forms', processor: 'batch', input, expect: { exact: true, output } }
  write('forms.test.yaml', JSON.stringify({ config: 'collector.yaml', tests: [forms] }))
  const { code, out } = await weir(['test', 'forms.test.yaml'])
  expect(code, out).toBe(0)
})

test('what is not as expected fails: refusals, counts, metrics, exporters', async () => {
  write(
    'wrong.test.yaml',
    `
config: collector.yaml
tests:
  - { name: taken, pipeline: traces, input: { spans: [a], refused: permanent }, expect: { output: { count: 1 } } }
  - { name: refused, pipeline: traces/held, answers: { otlp_http: permanent }, input: { spans: [a] }, expect: { dropped: 0 } }
  - { name: count, pipeline: traces, input: { spans: [a] }, expect: { output: { count: { at_least: 2 } } } }
  - { name: metric, pipeline: traces, input: { spans: [a] }, expect: { metrics: { otelcol_receiver_acepted_spans: 1 } } }
  - { name: exporter, pipeline: traces, input: { spans: [a] }, expect: { exporters: { debg: { count: 1 } } } }
  - { name: lacks, pipeline: traces, input: { spans: [a] }, expect: { output: { lacks: { spans: [{ name: a }] } } } }
  - { name: contains, pipeline: traces, input: { spans: [a] }, expect: { output: { contains: { spans: [b] } } } }
  - { name: error, config_error: nothing of the kind }
`,
  )
  const { code, out } = await weir(['test', 'wrong.test.yaml', '--junit', 'report.xml'])
  expect(code).toBe(1)
  for (const line of [
    'input 1: expected to be refused, and was taken',
    'input 1: refused: the test lets this exporter fail for good',
    'debug: items: expected at least 2, got 1',
    'did you mean "otelcol_receiver_accepted_spans"?',
    'no exporter "debg" is behind this input; did you mean "debug"?',
    'debug: 1 spans like {name: a} should not be there',
    'debug: spans that should be there are not (0 of 1 are, 1 came)',
    'the configuration should be refused, and is taken',
  ])
    expect(out).toContain(line)
  expect(out).toContain('0 passed, 8 failed')
  const report = readFileSync(join(folder, 'report.xml'), 'utf8')
  expect(report).toContain('<testsuite name="wrong.test.yaml" tests="8" failures="8" errors="0"')
  expect(report).toMatch(
    /<testcase classname="wrong.test.yaml" name="taken" file="wrong.test.yaml" line="4" time="\d+\.\d{3}">/,
  )
  expect(report).toContain('did you mean &quot;debug&quot;?')
  expect(report).toContain('- {name: b}')
})

test('mistakes in test files are told with their place, and end with 2', async () => {
  mkdirSync(join(folder, 'mistakes'))
  write('mistakes/collector.yaml', CONFIG)
  write('mistakes/broken.yaml', CONFIG.replace('timeout: 5s', 'timout: 5s'))
  const wanted: string[] = []
  const f = (name: string, text: string, want: string) => {
    write(`mistakes/${name}.test.yaml`, text)
    wanted.push(want)
  }
  const one = (...lines: string[]) =>
    ['tests:', '  - name: a', ...lines, '    expect: { dropped: 0 }', ''].join('\n')
  const input = '    input: { spans: [a] }'
  f(
    'key',
    one('    pipelin: traces'),
    'key.test.yaml:3:5: tests[0].pipelin: unknown key "pipelin"; did you mean "pipeline"?',
  )
  const pipeline =
    'pipeline.test.yaml:3:15: tests[0].pipeline: there is no pipeline "trace"; did you mean "traces"?'
  f('pipeline', one('    pipeline: trace', input), pipeline)
  const processor =
    'processor.test.yaml:3:16: tests[0].processor: there is no processor "batsh"; did you mean "batch"?'
  f('processor', one('    processor: batsh', input), processor)
  f(
    'receiver',
    one(input),
    'receiver.test.yaml:2:5: tests[0]: say which pipeline or receiver the input goes to',
  )
  f(
    'both',
    one('    pipeline: traces', '    processor: batch', input),
    'either pipeline or processor, not both',
  )
  const late = [
    '    pipeline: traces',
    '    input:',
    '      - { at: 2s, spans: [a] }',
    '      - { at: 1s, spans: [a] }',
  ]
  f(
    'time',
    one(...late),
    'time.test.yaml:6:9: tests[0].input[1]: at 1s is before the input that stands before it',
  )
  f(
    'none',
    'config: none.yaml\ntests: [{ name: a, expect: {} }]\n',
    'none.test.yaml:1:9: config: there is no file "none.yaml"',
  )
  f('nothing', 'tests: [{ name: a }]\n', 'the test "a" expects nothing')
  f('twice', 'tests: [{ name: a, expect: {} }, { name: a, expect: {} }]\n', 'there is another test "a"')
  f('text', 'tests: [', 'text.test.yaml:1:9: not valid YAML')
  f('broken', one(input), 'mistakes/broken.yaml:6:12: processors.batch.timout: unknown key "timout"')
  const { code, out } = await weir(['test', 'mistakes', '--junit', 'mistakes.xml'])
  expect(code).toBe(2)
  for (const want of wanted) expect(out).toContain(want)
  expect(out).toContain(`0 passed, ${wanted.length} could not run`)
  expect(readFileSync(join(folder, 'mistakes.xml'), 'utf8').match(/<error /g)).toHaveLength(wanted.length)
  const none = await weir(['test', 'nowhere'])
  expect([none.code, none.err]).toEqual([2, 'no test files in "nowhere": expected NAME.test.yaml\n'])
})

test('--watch runs them again when the configuration changes', async () => {
  const place = join(folder, 'watched')
  mkdirSync(place)
  const config = join(place, 'collector.yaml')
  writeFileSync(config, CONFIG)
  const one = { name: 'prod', processor: 'resource', input: { spans: ['a'] } }
  const expected = { output: { spans: [{ name: 'a', resource: { env: 'prod' } }] } }
  writeFileSync(join(place, 'a.test.yaml'), JSON.stringify({ tests: [{ ...one, expect: expected }] }))
  const child = spawn(process.execPath, [join(ROOT, 'src/main.ts'), 'test', '--watch'], { cwd: place })
  let out = ''
  const seen = (text: string) =>
    new Promise<void>((resolve, reject) => {
      child.once('exit', () => reject(new Error(`it ended: ${out}`)))
      const look = () => out.includes(text) && resolve()
      child.stdout.on('data', look)
      look()
    })
  child.stdout.on('data', (data) => {
    out += String(data)
  })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  try {
    await seen('1 passed\nwaiting for a change')
    writeFileSync(config, CONFIG.replace('value: prod', 'value: dev'))
    await seen('0 passed, 1 failed\nwaiting for a change')
    expect(out).toContain('+   resource.env: dev')
  } finally {
    child.kill('SIGINT')
  }
  await ended
})
