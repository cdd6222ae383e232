/**
 * Commands for those who write configurations and components; what they do is loaded when one of them runs.
 */
import type { Command } from 'commander'

export const VALIDATE_HELP = `
Warnings do not change the exit code (but see --strict), notes never do. Each ends with its rule, and a comment
"# weir: ignore RULE" in its line or the one above silences it (before the first key: in the whole file).

Example:
  $ weir validate --config collector.yaml`
export const COMPONENTS_HELP = `
Examples:
  $ weir components --json
  $ weir components --config collector.yaml    # with the components of its plugins`
export const SCHEMA_HELP = `
With the YAML language server, this line at the top of a file turns completion and checks on:
  # yaml-language-server: $schema=weir.schema.json

Examples:
  $ weir schema > weir.schema.json
  $ weir schema --config collector.yaml > weir.schema.json    # with the components of its plugins
  $ weir schema --tests > weir-tests.schema.json              # of NAME.test.yaml`
const TEST_HELP = `
A test file NAME.test.yaml lies beside the configuration NAME.yaml, and says what goes in and what is to come out:

  tests:
    - name: errors are kept
      pipeline: traces
      input:
        spans: [{ service: shop, name: POST /pay, status: error, duration: 120ms }]
      expect:
        output: { spans: [POST /pay] }

Waits pass at once. docs/testing.md has everything that can be written.
Exit codes: 0 all passed, 1 some failed, 2 something cannot be run.

Examples:
  $ weir test
  $ weir test pipelines/ more/gateway.test.yaml 'teams/*/*.test.yaml'
  $ weir test --only "errors are kept" --junit report.xml`
const NEW_HELP = `
Writes NAME.ts, its unit test NAME.test.ts (for node --test), the configuration NAME.yaml
that uses it, and NAME.test.yaml (for weir test). Nothing is overwritten.

Example:
  $ weir new processor mask-cards && node --test && weir test && weir --config mask-cards.yaml`

export function addAuthoringCommands(program: Command): void {
  program
    .command('test [files...]')
    .description('run unit tests of pipelines: files, folders, globs; without any, those below this folder')
    .option('--junit <file>', 'write the results as JUnit XML, too')
    .option('--only <text>', 'only tests whose name contains this')
    .option('--watch', 'run them again when a file beside them changes', false)
    .option('--no-color', 'plain text, as when the output is no terminal')
    .addHelpText('after', TEST_HELP)
    .action(test)
  program
    .command('new <kind> <name>')
    .description('write a component of your own: processor, exporter, receiver, connector or extension')
    .option('--dir <folder>', 'where to', '.')
    .addHelpText('after', NEW_HELP)
    .action(newComponent)
}

async function test(
  files: readonly string[],
  options: { junit?: string; only?: string; watch: boolean; color: boolean },
): Promise<void> {
  if (options.watch) {
    const { watchTests } = await import('./test/watch.ts')
    await watchTests(process.argv.slice(2), files, (text) => void process.stdout.write(text))
    return
  }
  const { testPipelines } = await import('./test/index.ts')
  const { FORCE_COLOR, NO_COLOR } = process.env
  const wanted = FORCE_COLOR ? FORCE_COLOR !== '0' : process.stdout.isTTY === true && !NO_COLOR
  process.exitCode = await testPipelines({
    files,
    junit: options.junit,
    only: options.only,
    colour: options.color && wanted,
    write: (text) => void process.stdout.write(text),
    complain: (text) => void process.stderr.write(text),
  })
}

async function newComponent(kind: string, name: string, { dir }: { dir: string }): Promise<void> {
  const { scaffold } = await import('./new/index.ts')
  const written = scaffold(kind, name, dir)
  if (typeof written === 'string') {
    process.stderr.write(`${written}\n`)
    process.exitCode = 1
  } else {
    process.stdout.write(`${written.files.map((file) => `wrote ${file}`).join('\n')}\n`)
  }
}
