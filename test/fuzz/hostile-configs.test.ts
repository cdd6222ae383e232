/**
 * Scenario: configurations made to cost memory or time, to reach a prototype, or to slip by: bombs of aliases, deep nesting, keys twice,
 * unknown keys, references that are not set; and regular expressions made to run for ever, on values of 50 KB.
 * Guarantee: `weir validate` ends with 1 and names line and column, for little CPU and memory; expressions take time in line with the
 * length of the value, and those that could not are refused where they stand.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { compileRe2 } from '../../src/config/re2.ts'
import { config as tailConfig } from '../../src/processors/tail-sampling/config.ts'
import tailSampling from '../../src/processors/tail-sampling/index.ts'
import { createProcessor } from '../support/create-test.ts'
import { request } from '../support/tail-sampling.ts'

const folder = mkdtempSync(join(tmpdir(), 'weir-hostile-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const MAIN = join(import.meta.dirname, '../../src/main.ts')
const MB = 2 ** 20
/** Nominally 150 MB and 1 s of CPU, most of which is the start of the process; a loaded machine needs more. */
const MAX_RSS_BYTES = 190 * MB // 150 with a warm compile cache; a cold one loads the type stripper.
const MAX_CPU_MS = 3000
/** Tells what the process has used, when it ends. */
const REPORT = `process.on('exit', () => {
  const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage()
  require('node:fs').writeSync(3, JSON.stringify({ maxRSS, cpuMs: (userCPUTime + systemCPUTime) / 1000 }))
})`

interface Validated {
  readonly code: number | null
  readonly output: string
  readonly rssBytes: number
  readonly cpuMs: number
}

async function validate(text: string): Promise<Validated> {
  const file = join(folder, 'hostile.yaml')
  const preload = join(folder, 'report.cjs')
  writeFileSync(file, text)
  writeFileSync(preload, REPORT)
  const child = spawn(process.execPath, ['--require', preload, MAIN, 'validate', '--config', file], {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  })
  const read: string[] = ['', '', '', '']
  for (const fd of [1, 2, 3])
    child.stdio[fd]?.on('data', (piece: Buffer) => void (read[fd] += piece.toString()))
  const code = await new Promise<number | null>((resolve) => void child.once('close', resolve))
  const used = JSON.parse(read[3] ?? '') as { maxRSS: number; cpuMs: number } // As REPORT writes it.
  const output = `${read[1]}${read[2]}`.replaceAll(file, 'F')
  return { code, output, rssBytes: used.maxRSS * 1024, cpuMs: used.cpuMs }
}

const bomb = (): string => {
  const lines = ['a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]']
  for (let level = 1; level < 12; level++)
    lines.push(`a${level}: &a${level} [${Array(9).fill(`*a${level - 1}`)}]`)
  return lines.join('\n')
}

const tail = (policy: string) => `receivers: { nop: }
exporters: { nop: }
processors:
  tail_sampling:
    policies:
      - name: p
        type: string_attribute
        string_attribute: ${policy}
service: { pipelines: { traces: { receivers: [nop], processors: [tail_sampling], exporters: [nop] } } }
`

const HOSTILE: readonly (readonly [title: string, make: () => string, problem: RegExp])[] = [
  ['a bomb of aliases', bomb, /^F:\d+:\d+: .*more than 50000 values, aliases counted/m],
  ['lists 500,000 deep', () => '['.repeat(500_000), /^F:1:\d+: nested deeper than 100 levels/m],
  ['maps 200,000 deep', () => '{a: '.repeat(200_000), /^F:1:\d+: nested deeper/m],
  ['an alias of itself', () => 'a: &a { b: *a }', /^F:1:\d+: /m],
  ['__proto__', () => 'receivers: { __proto__: { polluted: 1 } }', /^F:1:14: .*"__proto__" is not allowed/m],
  [
    'a key twice',
    () => 'receivers: { nop: }\nexporters: { nop: }\nreceivers: { nop: }',
    /^F:3:1: .*there twice/m,
  ],
  ['an unknown key', () => 'receivres: { nop: }', /^F:1:1: receivres: unknown key "receivres".*receivers/m],
  ['more tokens than are read', () => 'a: 1\n'.repeat(200_000), /^F:\d+:\d+: .*more than 150000 tokens/m],
  ['a file of 2 MB', () => '# '.repeat(2 ** 20), /^F: .*is larger than 1048576 bytes/m],
  ['a reference without end', () => `receivers: { nop: \${env:${'x'.repeat(50_000)} }`, /^F:1:\d+: /m],
  [
    'lookbehind in a policy',
    () => tail('{ key: k, values: ["(?<=a)b"], enabled_regex_matching: true }'),
    /^F:8:46: .*values\[0\].*bad regular expression/m,
  ],
  [
    'a back reference in a policy',
    () => tail(String.raw`{ key: k, values: ['(a)\1'], enabled_regex_matching: true }`),
    /^F:8:46: .*bad regular expression/m,
  ],
]

describe('validate ends with 1 and a place:', () => {
  test.each(HOSTILE)('%s', async (_, make, problem) => {
    const { code, output, rssBytes, cpuMs } = await validate(make())
    expect(output).toMatch(problem)
    expect(code).toBe(1)
    expect(rssBytes).toBeLessThan(MAX_RSS_BYTES)
    expect(cpuMs).toBeLessThan(MAX_CPU_MS)
  })

  test('a dollar in a secret is told where it stands, and the secret is not', async () => {
    const secret = 'hunter2'
    const config = `receivers: { nop: }
exporters:
  otlp_http: { endpoint: 'http://localhost:1', headers: { authorization: '${secret}\${env:NOT_SET_HERE}' } }
service: { pipelines: { traces: { receivers: [nop], exporters: [otlp_http] } } }
`
    const { output } = await validate(config)
    expect(output).toMatch(/F:3:74: .*NOT_SET_HERE/)
    expect(output).not.toContain(secret)
  })
})

describe('expressions that run for ever elsewhere', () => {
  const EVIL = [
    '^(a+)+$',
    '^(a|aa)+$',
    '^(a|a?)+$',
    '(.*a){12}$',
    '^([a-z]+)*!$',
    '(x+x+)+y',
    'a*a*a*a*a*a*b',
  ]
  const LENGTH = 50_000

  test.each(EVIL)(
    '%s takes twice the time for twice the length',
    (pattern) => {
      const expression = compileRe2(pattern)
      const cpuMs = (length: number) => {
        const value = `${'a'.repeat(length)}${'x'.repeat(length)}`
        expression.matcher(value).find()
        const before = process.cpuUsage()
        for (let round = 0; round < 3; round++) expression.matcher(value).find()
        const { user, system } = process.cpuUsage(before)
        return (user + system) / 1000
      }
      // Of squares it would be 16 times, of powers it would never end. A floor, since small times are noise.
      expect(cpuMs(LENGTH) / Math.max(cpuMs(LENGTH / 4), 20)).toBeLessThan(12)
    },
    120_000,
  )

  test('in a policy, against a value of 50 KB', async () => {
    const string_attribute = { key: 'k', values: EVIL, enabled_regex_matching: true, cache_max_size: 10 }
    const policies = [{ name: 'p', type: 'string_attribute', string_attribute }]
    await using made = createProcessor(tailSampling, { decision_wait: '1s', policies })
    await made.start()
    const value = (end: string) => ({ k: `${'a'.repeat(LENGTH)}${end}` })
    await made.consume(
      request({ trace: '1', attributes: { k: '-'.repeat(LENGTH) } }, { trace: '2', attributes: value('') }),
    )
    await made.clock.advance(3000)
    expect(made.sink.itemCount).toBe(1) // The other one matches none of them.
    expect(tailConfig.safeParse({ policies }).success).toBe(true)
  }, 120_000)
})
