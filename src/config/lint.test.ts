import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { registry } from '../components.ts'
import { LINT_RULES, lint, unsilenced, withRule } from './lint.ts'
import { loadConfig } from './load.ts'
import { readPlaces } from './places.ts'

const folder = mkdtempSync(join(tmpdir(), 'weir-lint-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** `line: rule` of every warning. */
async function warnings(text: string): Promise<string[]> {
  const file = join(folder, 'config.yaml')
  writeFileSync(file, text)
  const { config, warnings: told } = await loadConfig({ sources: [file], sets: [], env: {}, registry })
  const places = await readPlaces([file], [], {})
  const all = [...told.map(withRule), ...lint(config, places)]
  return unsilenced(all, () => text)
    .sort((a, b) => a.line - b.line)
    .map(({ line, rule }) => `${line}: ${rule}`)
}

const config = (processors: string, more = '') => `receivers: { otlp: { protocols: { http: } } }
processors:
  memory_limiter: { check_interval: 1s, limit_mib: 100 }
  batch:
  resource: { attributes: [{ key: a, value: b, action: upsert }] }
  tail_sampling: { policies: [{ name: a, type: always_sample }] }
  probabilistic_sampler: { sampling_percentage: 10 }
  # weir: ignore unused
  attributes: { actions: [{ key: a, value: b, action: upsert }] }
exporters:
  debug:
  nop:
service:
  pipelines:
    traces:
      receivers: [otlp]
      processors: [${processors}]
      exporters: [nop, debug]
    traces/all:
      receivers: [otlp]
      processors: [memory_limiter, resource, tail_sampling, probabilistic_sampler, batch]
      exporters: [nop]
${more}`

test('the order of processors', async () => {
  const f = async (processors: string, want: string[]) =>
    expect(await warnings(config(processors))).toEqual(want)
  await f('memory_limiter, resource, batch', [])
  await f('memory_limiter, resource, tail_sampling, batch', [])
  await f('batch', ['15: limiter-missing'])
  await f('resource, memory_limiter, batch', ['17: limiter-first'])
  await f('memory_limiter, batch, resource', ['17: batch-last'])
  await f('memory_limiter, batch, tail_sampling', ['17: batch-before-sampling'])
  await f('memory_limiter, batch, resource, probabilistic_sampler', ['17: batch-before-sampling'])
  await f('batch, memory_limiter', ['17: limiter-first', '17: batch-last'])
})

test('a pipeline that only a connector feeds needs no limiter', async () => {
  const text = config('memory_limiter').replace('exporters: [nop, debug]', 'exporters: [forward, debug]')
  const more =
    '    traces/behind: { receivers: [forward], processors: [resource], exporters: [nop] }\nconnectors: { forward: }\n'
  expect(await warnings(text + more)).toEqual([])
})

test('what is configured and not used', async () => {
  const more = 'extensions: { health_check: { endpoint: localhost:0 } }\nconnectors: { forward: }\n'
  expect(await warnings(config('memory_limiter', more))).toEqual(['23: unused', '24: unused'])
  const text = config('memory_limiter, resource').replace('resource, tail_sampling, ', '')
  expect(await warnings(text)).toEqual(['6: unused'])
})

test('debug that prints every item, also in its former spelling', async () => {
  const f = async (debug: string, want: string[]) =>
    expect(await warnings(config('memory_limiter').replace('  debug:\n', `  debug: ${debug}\n`))).toEqual(
      want,
    )
  await f('{ verbosity: detailed }', ['11: debug-detailed'])
  await f('{ verbosity: normal }', [])
  await f('{ loglevel: debug }', ['11: debug-detailed'])
  await f('{ loglevel: debug, verbosity: basic }', [])
})

test('what the check of a configuration tells has rules, too', async () => {
  const text = config('memory_limiter')
    .replace('http: }', 'http: { endpoint: 0.0.0.0:4318 } }')
    .replace('policies:', 'expected_new_traces_per_sec: 10, policies:')
    .replace('value: b', `value: "x${'$'}{env:NOT_SET_HERE}"`)
    .replace('exporters:\n  debug:', 'exporters:\n  logging:')
    .replace('nop, debug', 'nop, logging')
  expect(await warnings(text)).toEqual(['1: exposed', '5: unset-variable', '6: ignored', '11: deprecated'])
})

test('no warning is without a rule', async () => {
  const text = config('memory_limiter').replace('exporters: [nop, debug]', 'exporters: [nop, debug, nop]')
  const env = { WITH_DOLLARS: 'a$$b' }
  const file = join(folder, 'all.yaml')
  writeFileSync(file, `${text.replace('value: b', `value: "x${'$'}{env:WITH_DOLLARS}"`)}---\nsecond: 1\n`)
  const { warnings: told } = await loadConfig({ sources: [file], sets: [], env, registry })
  const rules = told.map((one) => withRule(one).rule)
  expect(rules.toSorted()).toEqual(['dollar-signs', 'listed-twice', 'second-document'])
  const gate = { file: '--feature-gates', line: 0, column: 0, path: 'x', message: 'unknown' }
  expect(withRule(gate).rule).toBe('feature-gate')
})

test('comments silence a rule in their line, the line below or the whole file', async () => {
  const bad = config('batch, memory_limiter')
  const f = async (from: string, to: string, want: string[]) => {
    expect(bad).toContain(from)
    expect(await warnings(bad.replace(from, to))).toEqual(want)
  }
  const line = '      processors: [batch, memory_limiter]'
  await f(line, `${line} # weir: ignore limiter-first`, ['17: batch-last'])
  await f(line, `${line} # weir: ignore limiter-first, batch-last`, [])
  await f(line, `      # weir: ignore batch-last\n${line}`, ['18: limiter-first'])
  await f(line, `${line} # weir: ignore unused`, ['17: limiter-first', '17: batch-last'])
  await f('    traces:\n', '    traces: # weir: ignore limiter-first\n', [
    '17: limiter-first',
    '17: batch-last',
  ])
  await f('receivers: {', '# Ours.\n# weir: ignore limiter-first,batch-last\nreceivers: {', [])
})

test('every rule has words', () => {
  for (const [rule, words] of Object.entries(LINT_RULES)) {
    expect(rule).toMatch(/^[a-z]+(-[a-z]+)*$/)
    expect(words.length).toBeGreaterThan(10)
  }
})
