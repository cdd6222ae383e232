/** The program as a child process: exit codes, streams and both ways to start it. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { VERSION } from './version.ts'

const folder = mkdtempSync(join(tmpdir(), 'weir-main-'))
afterAll(() => rmSync(folder, { recursive: true }))
const config = join(folder, 'config.yaml')
writeFileSync(
  config,
  `# weir: ignore limiter-missing, can-lose-data
receivers: {otlp: {protocols: {grpc: {endpoint: "localhost:0"}}}}
exporters: {otlp_grpc: {endpoint: "x:1", headers: {authorization: hunter2}, tls: {insecure: true}}}
service:
  pipelines: {traces: {receivers: [otlp], exporters: [otlp_grpc]}}
  telemetry: {metrics: {level: none}}
  shards: 0
`,
)
const bad = join(folder, 'bad.yaml')
writeFileSync(
  bad,
  'receivers: {otlp: {protocols: {grpc: {endpont: "x:1"}}}}\nexporters: {nop: }\nservice: {}\n',
)

interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

const MAIN = join(import.meta.dirname, 'main.ts')
const WEIR = join(import.meta.dirname, 'weir.mjs')

/** Runs to its end; `until` sends SIGTERM once stderr holds that text. */
function weir(args: readonly string[], { start = [MAIN], until = '' } = {}): Promise<Ended> {
  const child = spawn(process.execPath, [...start, ...args], { env: { ...process.env, NODE_OPTIONS: '' } })
  let out = ''
  let err = ''
  let stopped = false
  child.stdout.on('data', (chunk) => {
    out += chunk
  })
  child.stderr.on('data', (chunk) => {
    err += chunk
    if (until === '' || stopped || !err.includes(until)) return
    stopped = true
    setTimeout(() => child.kill('SIGTERM'), 300) // The signals are taken in hand right after that line.
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, out, err }))
  })
}

describe('starting', () => {
  test('main.ts and weir.mjs are the same program', async () => {
    const want = { code: 0, out: `${VERSION}\n`, err: '' }
    expect(await weir(['--version'])).toEqual(want)
    expect(await weir(['--version'], { start: [WEIR] })).toEqual(want)
  })

  test('a Node that is too old is told what to do in one line', async () => {
    const old =
      'Object.defineProperty(process, "versions", { value: { ...process.versions, node: "24.11.1" } })'
    const start = ['--import', `data:text/javascript,${encodeURIComponent(old)}`, WEIR]
    const { code, out, err } = await weir(['--version'], { start })
    expect([code, out]).toEqual([1, ''])
    expect(err).toMatch(/^weir needs Node.js 24.12 or newer, and this is 24.11.1: install [^\n]*\n$/)
  })

  test('it runs, says that it is ready, and ends with 0 on SIGTERM', async () => {
    const { code, err } = await weir(['--config', config, '--feature-gates', 'no.such.gate'], {
      until: 'weir is ready',
    })
    expect(err).toContain('unknown feature gate')
    expect(code).toBe(0)
  })
})

describe('validate', () => {
  test('is silent and ends with 0 for a good configuration', async () => {
    expect(await weir(['validate', '--config', config])).toEqual({ code: 0, out: '', err: '' })
    expect(await weir(['--config', config, 'validate'])).toEqual({ code: 0, out: '', err: '' })
  })

  test('prints one problem a line and ends with 1 for a bad one; so does running it', async () => {
    const err = `${bad}:1:39: receivers.otlp.protocols.grpc.endpont: unknown key "endpont"; did you mean "endpoint"?
${bad}:3:1: service.pipelines: service must have at least one pipeline
`
    expect(await weir(['validate', '--config', bad])).toEqual({ code: 1, out: '', err })
    expect(await weir(['--config', bad])).toEqual({ code: 1, out: '', err })
  })

  test('warns about feature gates and goes on', async () => {
    const { code, err } = await weir(['validate', '--config', config, '--feature-gates=no.such.gate'])
    expect([code, err]).toEqual([
      0,
      `warning: --feature-gates: no.such.gate: unknown feature gate, ignored (known: ${GATES}`,
    ])
  })

  test('hostile text is refused before it costs anything', async () => {
    const deep = join(folder, 'deep.yaml')
    writeFileSync(deep, 'a: '.concat('['.repeat(900_000)))
    const { code, err } = await weir(['validate', '--config', deep])
    expect([code, err]).toEqual([1, `${deep}:1:223: nested deeper than 100 levels\n`])
  })
})

const GATES =
  'confmap.enableMergeAppendOption, exporter.prometheusremotewritexporter.enableSendingRW2, ' +
  'extension.healthcheck.useComponentStatus, receiverhelper.newReceiverMetrics, service.AllowNoPipelines, ' +
  'service.partialReload, service.profilesSupport) [feature-gate]\n'

describe('the command line', () => {
  test('without --config it says what is missing, with unknown words what was meant', async () => {
    const missing = await weir([])
    expect(missing.code).toBe(1)
    expect(missing.err).toMatch(/^at least one config flag must be provided\nusage: /)
    expect(await weir(['valdate'])).toEqual({
      code: 1,
      out: '',
      err: 'unknown command "valdate"; did you mean "validate"?\n',
    })
    const option = await weir(['validate', '--confg', 'x'])
    expect(option.code).toBe(1)
    expect(option.err).toContain('--config')
  })

  test('print-config hides secrets unless told otherwise', async () => {
    for (const command of ['print-config', 'print-initial-config']) {
      const { code, out } = await weir([command, '--config', config, '--format', 'json'])
      expect(code).toBe(0)
      expect(JSON.parse(out).exporters.otlp_grpc.headers).toEqual({ authorization: '[redacted]' })
    }
    const { out } = await weir(['print-config', '--config', config, '--mode=unredacted'])
    expect(out).toContain('authorization: hunter2')
    const wrong = await weir(['print-config', '--config', bad])
    expect([wrong.code, wrong.out]).toEqual([1, ''])
    const anyway = await weir(['print-config', '--config', bad, '--no-validate'])
    expect([anyway.code, anyway.out]).toEqual([0, expect.stringContaining('endpont: x:1')])
  })

  test('components, schema and featuregate print what can be read again', async () => {
    const listed = JSON.parse((await weir(['components', '--json'])).out)
    expect(listed.receivers.map((one: { name: string }) => one.name)).toContain('otlp')
    expect((await weir(['components'])).out).toContain('- name: otlp')
    const schema = JSON.parse((await weir(['schema'])).out)
    expect(Object.keys(schema.properties)).toContain('service')
    expect((await weir(['featuregate'])).out).toContain('service.profilesSupport')
    expect((await weir(['featuregate', 'nope'])).code).toBe(1)
  })
})
