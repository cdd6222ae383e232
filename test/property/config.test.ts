// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration's expressions.
/**
 * The loader against random text: it loads or throws a ConfigError with a place, and nothing else ever comes
 * out.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { loadConfig } from '../../src/config/load.ts'
import { redactTree } from '../../src/config/print.ts'
import { ConfigError } from '../../src/errors.ts'
import { testRegistry } from '../conformance/config/registry.ts'
import { YAML_PIECES } from './yaml-pieces.ts'

const folder = mkdtempSync(join(tmpdir(), 'weir-random-'))
afterAll(() => rmSync(folder, { recursive: true }))
const file = join(folder, 'random.yaml')

async function loads(text: string | Uint8Array, sets: string[] = []): Promise<boolean> {
  writeFileSync(file, text)
  try {
    await loadConfig({
      sources: [file],
      sets,
      env: { A: '${B}', B: '[1, x]', C: '$$' },
      registry: testRegistry,
    })
    return true
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    expect(error.problems.length).toBeGreaterThan(0)
    expect(error.message.split('\n')).toHaveLength(error.problems.length)
    return false
  }
}

const settings = { numRuns: 500, verbose: true }

test('random bytes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), async (bytes) => void (await loads(bytes))),
    settings,
  )
})

const yamlPiece = fc.constantFrom(...YAML_PIECES)

test('random YAML syntax', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(yamlPiece, { maxLength: 60 }),
      async (pieces) => void (await loads(pieces.join(''))),
    ),
    settings,
  )
})

const word = fc.constantFrom(
  ...[
    'otlp',
    'otlp/a',
    'batch',
    'tail_sampling',
    'nop',
    'forward',
    'count',
    'health_check',
    'traces',
    'metrics/b',
  ],
  ...[
    'protocols',
    'grpc',
    'endpoint',
    'timeout',
    'policies',
    'type',
    'latency',
    'headers',
    'token',
    'constructor',
  ],
  ...[
    'receivers',
    'processors',
    'exporters',
    'connectors',
    'extensions',
    'service',
    'pipelines',
    'telemetry',
  ],
  ...[
    'metrics',
    'readers',
    'pull',
    'address',
    'shards',
    'localhost:1',
    '${A}',
    '5s',
    '',
    'toString',
    '{a: 1}',
  ],
)
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'medium', withCrossShrink: true },
    word,
    fc.constantFrom(null, true, 0, -1, 1.5, 1e300),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(word, tie('value'), { maxKeys: 5 }),
  ),
}))
const section = fc.dictionary(word, value, { maxKeys: 4 })
const config = fc.record({
  receivers: section,
  processors: section,
  exporters: section,
  connectors: section,
  extensions: section,
  service: fc.record({ pipelines: fc.dictionary(word, value), telemetry: value, extensions: value }),
})

test('random trees of known words, as a file and through --set', async () => {
  await fc.assert(
    fc.asyncProperty(config, word, value, async (tree, key, extra) => {
      await loads(stringify(tree), [`${key}=${JSON.stringify(extra)}`])
      redactTree(tree, testRegistry)
    }),
    settings,
  )
})
