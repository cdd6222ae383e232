/**
 * Scenario: configurations list plugins that are not there, do not parse, throw, exit or hang at import, export something else, ask for
 * another API, or take a name that is taken; and good ones as TypeScript, as a package in JavaScript, and far from any node_modules.
 * Guarantee: a bad plugin is a line of its own with file, line and column, and exit code 1; the good ones work like built-in ones in
 * every command, and get the running copies of weir-collector and zod.
 */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, expect, test } from 'vitest'

const folder = mkdtempSync(join(tmpdir(), 'weir-plugins-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const main = join(import.meta.dirname, '../../src/main.ts')

function write(files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
}

function weir(...arguments_: string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...arguments_], { cwd: folder, timeout: 90_000 }, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code), out, err })
    })
  })
}

const config = (plugins: readonly string[], processor: string) =>
  [
    'plugins:',
    ...plugins.map((plugin) => `  - ${plugin}`),
    'receivers: { nop: }',
    `processors: { ${processor}: }`,
    'exporters: { nop: }',
    'service: { pipelines: { traces: { receivers: [nop], processors: ["' +
      processor +
      '"], exporters: [nop] } } }',
  ].join('\n')

const processor = (type: string, more = '') =>
  `import { defineProcessor } from 'weir-collector'
   export default defineProcessor({ type: '${type}', ${more} edit: () => ({ span(span) { span.drop() } }) })`

test('every bad plugin is told with its place, all in one run', async () => {
  const bad: [string, string, RegExp][] = [
    ['missing.ts', '', /there is no such file/],
    ['syntax.ts', 'const a = ;', /syntax error: .*syntax\.ts:1/],
    ['throws.ts', 'throw new Error("at import")', /importing it throws: at import/],
    ['exits.ts', 'process.exit(0)', /importing it ends the process/],
    ['spins.ts', 'for (;;) {}', /importing it does not end within 10/],
    [
      'waits.ts',
      'await new Promise(() => setInterval(() => {}, 1000))',
      /importing it does not end within 10 s/,
    ],
    [
      'later.ts',
      'setImmediate(() => { throw new Error("soon") }); export default []',
      /importing it fails: soon/,
    ],
    ['no-default.ts', 'export const a = 1', /no default export/],
    ['function.ts', 'export default () => {}', /not what a define function returns/],
    ['imports.ts', "import './not-there.ts'", /Cannot find module/],
    ['builtin.ts', processor('batch'), /there is a built-in processor "batch" already/],
    ['twice.ts', processor('good'), /"good\.ts" has a processor "good" already/],
    ['old.ts', processor('old', "apiVersion: '^0.9',"), /for the plugin API \^0\.9, and this is 1\./],
    ['range.ts', processor('range', "apiVersion: 'soon',"), /"soon" is not a range/],
    ['name.ts', processor('1st'), /not a name for a type/],
    ['both.ts', processor('both', 'create: () => ({}),'), /either edit\(\) or create\(\)/],
    [
      'metric.ts',
      "import { counter, defineProcessor } from 'weir-collector'\nexport default defineProcessor({ type: 'm', telemetry: { a: counter('exporter_sent_spans', '1', '') }, edit: () => ({}) })",
      /has to begin with "processor_"/,
    ],
  ]
  write({ 'good.ts': processor('good') })
  for (const [name, text] of bad) if (text !== '') write({ [name]: text })
  write({ 'bad.yaml': config(['./good.ts', ...bad.slice(1).map(([name]) => `./${name}`)], 'good') })
  const { code, err } = await weir('validate', '--config', 'bad.yaml')
  expect(code).toBe(1)
  const lines = err.trim().split('\n')
  for (const [index, [name, , message]] of bad.slice(1).entries()) {
    const line = lines.find((one) => one.startsWith(`bad.yaml:${index + 3}:5: plugins[${index + 1}]: `))
    expect(line, name).toMatch(message)
  }
  expect(lines).toHaveLength(bad.length - 1)
}, 120_000)

test('what is written wrong in the list is told before anything is imported', async () => {
  write({
    'list.yaml': config(
      ['./missing.ts', 'https://example.com/a.js', 'no-such-package', '7', './list.yaml', '"a b"'],
      'x',
    ),
    'word.yaml': 'plugins: ./good.ts',
  })
  const { code, err } = await weir('validate', '--config', 'list.yaml')
  expect(code).toBe(1)
  expect(err.trim().split('\n')).toEqual([
    'list.yaml:2:5: plugins[0]: "./missing.ts": there is no such file',
    'list.yaml:3:5: plugins[1]: "https://example.com/a.js": plugins are paths or packages, not URLs',
    expect.stringMatching(/^list\.yaml:4:5: plugins\[2\]: there is no package "no-such-package"/),
    'list.yaml:5:5: plugins[3]: expected a path such as ./redact.ts, or the name of a package',
    'list.yaml:6:5: plugins[4]: "./list.yaml": a plugin is a .ts, .js or .mjs file',
    'list.yaml:7:5: plugins[5]: "a b" is neither a path nor the name of a package',
  ])
  expect((await weir('validate', '--config', 'word.yaml')).err).toContain(
    'expected a list of paths and packages',
  )
})

test('packages: JavaScript works, with zod and weir-collector of the running copy; TypeScript is refused', async () => {
  const js = `import { defineProcessor, Batch } from 'weir-collector'
    import { z } from 'zod'
    import { inner } from 'inner'
    export default defineProcessor({ type: 'packed', config: z.strictObject({ keep: z.number().default(inner) }), edit: () => ({}) })`
  write({
    'node_modules/weir-plugin-js/package.json':
      '{"name":"weir-plugin-js","version":"1.0.0","type":"module","exports":{"import":"./index.js"}}',
    'node_modules/weir-plugin-js/index.js': js,
    // A dependency of the plugin keeps the zod that is installed for it.
    'node_modules/inner/package.json':
      '{"name":"inner","version":"1.0.0","type":"module","exports":"./index.js"}',
    'node_modules/inner/index.js': "import { z } from 'zod'\nexport const inner = z.mark",
    'node_modules/zod/package.json':
      '{"name":"zod","version":"0.0.1","type":"module","exports":"./index.js"}',
    'node_modules/zod/index.js': 'export const z = { mark: 41 }',
    'node_modules/weir-plugin-ts/package.json':
      '{"name":"weir-plugin-ts","version":"1.0.0","type":"module","exports":"./index.ts"}',
    'node_modules/weir-plugin-ts/index.ts': processor('typed'),
    'package.yaml': config(['weir-plugin-js'], 'packed'),
    'typed.yaml': config(['weir-plugin-ts'], 'typed'),
  })
  const taken = await weir('validate', '--config', 'package.yaml')
  expect([taken.code, taken.out]).toEqual([0, ''])
  expect(taken.err.replaceAll(/^(warning|note): .*\n/gm, '')).toBe('')
  const { code, err } = await weir('validate', '--config', 'typed.yaml')
  expect(code).toBe(1)
  expect(err).toMatch(/^typed\.yaml:2:5: plugins\[0\]: a package has to ship JavaScript/)
})

test('plugins appear in components, schema, fields and print-config; their configs are checked', async () => {
  write({
    'shown.ts': `import { defineProcessor, defineExporter, duration, opaque, size, z } from 'weir-collector'
      const shown = defineProcessor({
        type: 'shown', summary: 'It is shown.', signals: ['logs', 'traces'],
        config: z.strictObject({ wait: duration().prefault('5s'), most: size().prefault('1MiB'), token: opaque().optional() }),
        edit: () => ({}),
      })
      export default [shown, defineExporter({ type: 'sent', create: () => ({ consume: async () => {} }) })]`,
    'shown.yaml': config(['./shown.ts'], 'shown'),
    'mistaken.yaml': config(['./shown.ts'], 'shown').replace(
      '{ shown: }',
      '{ shown: { wait: long, isolat: true, token: t } }',
    ),
    'secret.yaml': config(['./shown.ts'], 'shown').replace(
      '{ shown: }',
      '{ shown: { token: hush, isolate: { timeout: 2s } } }',
    ),
  })
  const components = JSON.parse((await weir('components', '--json', '--config', 'shown.yaml')).out)
  expect(components.processors).toContainEqual({
    name: 'shown',
    kind: 'processor',
    signals: ['logs', 'traces'],
    stability: 'development',
    summary: 'It is shown.',
  })
  expect(components.exporters.map(({ name }: { name: string }) => name)).toContain('sent')
  expect((await weir('components', '--json')).out).not.toContain('shown')
  const schema = JSON.parse((await weir('schema', '--config', 'shown.yaml')).out)
  const fields = schema.properties.processors.patternProperties['^\\s*shown\\s*(/.+)?$'].properties
  expect(fields.wait.default).toBe('5s')
  const limits = fields.isolate.anyOf.find((one: { properties?: object }) => one.properties !== undefined)
  expect(limits.properties).toMatchObject({
    timeout: { default: '5s' },
    max_heap: { default: '128MiB' },
    pool: { default: 2 },
  })
  expect(schema.properties.plugins.type).toEqual(['array', 'null'])
  const document = (await weir('fields', '--config', 'shown.yaml')).out
  expect(document).toContain('## processor `shown`')
  expect(document).toContain('| `isolate.max_heap` |')
  const mistaken = await weir('validate', '--config', 'mistaken.yaml')
  expect(mistaken.code).toBe(1)
  expect(mistaken.err).toMatch(/processors\.shown\.wait: "long" is not a duration/)
  expect(mistaken.err).toMatch(/isolat.*did you mean "isolate"/)
  const printed = (await weir('print-config', '--config', 'secret.yaml')).out
  expect(printed).not.toContain('hush')
  expect(printed).toContain('timeout: 2s')
  expect(printed).toContain(join(folder, 'shown.ts'))
})
