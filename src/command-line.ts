/**
 * The program: arguments, output and exit code. 0 is clean, 1 a bad configuration or command line, 2 a
 * crash.
 *
 * Importing this file runs it (main.ts does). What a command does not need is not loaded: components only where a
 * configuration names them or all are listed, the service only to run.
 */
import { Command, Option } from 'commander'
import { addAuthoringCommands, COMPONENTS_HELP, SCHEMA_HELP, VALIDATE_HELP } from './commands/cli.ts'
import { hint } from './config/nearest.ts'
import { ConfigError, formatProblem } from './errors.ts'
import { addSamplingCommands } from './replay/cli.ts'
import { VERSION } from './version.ts'

interface SourceOptions {
  readonly config: readonly string[]
  readonly set: readonly string[]
  readonly featureGates: readonly string[]
}

interface PrintOptions extends SourceOptions {
  readonly mode: 'redacted' | 'unredacted'
  readonly format: 'yaml' | 'json'
  readonly validate: boolean
}

const EXAMPLES = `
Examples:
  $ weir --config collector.yaml
  $ weir --config base.yaml --config team.yaml --set processors.batch.timeout=5s
  $ weir --config env:COLLECTOR_CONFIG
  $ weir --config base.yaml --config 'yaml:exporters::debug::verbosity: detailed'
  $ weir validate --config collector.yaml
  $ weir print-config --config collector.yaml --format json
  $ weir schema > weir.schema.json
  $ weir new processor mask-cards
  $ weir test pipelines/

Sources of --config are a path, file:PATH, env:NAME or yaml:TEXT; later ones are merged over earlier ones.
In values, \${env:NAME}, \${env:NAME:-default}, \${file:PATH} and \${yaml:TEXT} are replaced; $$ is a plain $.

Signals: SIGTERM and SIGINT drain and end the process, SIGHUP reads the configuration again.
--watch does so when a file changes; docs/reload.md says what restarts.
Exit codes: 0 clean, 1 bad configuration or command line, 2 crash (of weir test: 1 failures, 2 something cannot be run).
`

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0) // The reader has seen enough: weir components | head.
})
process.on('uncaughtException', (error) => {
  process.stderr.write(`weir crashed: ${error.stack ?? error.message}\n`)
  process.exit(2)
})

try {
  await commandLine().parseAsync(process.argv)
} catch (error) {
  fail(error)
}

/** Ends with 1 and the problems one per line, or with 2 for anything that is not the user's doing. */
function fail(error: unknown): void {
  if (error instanceof ConfigError) {
    process.stderr.write(`${error.problems.map(formatProblem).join('\n')}\n`)
    process.exitCode = 1
  } else {
    process.stderr.write(`weir crashed: ${error instanceof Error ? error.stack : error}\n`)
    process.exitCode = 2
  }
}

function commandLine(): Command {
  const program = withSources(new Command('weir'))
    .description('OpenTelemetry collector for Node.js. Without a command it runs until SIGTERM or SIGINT.')
    .version(VERSION, '-v, --version', 'print the version')
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .showHelpAfterError('(weir --help shows what there is)')
    .addHelpText('after', EXAMPLES)
    .allowExcessArguments()
    .option('-w, --watch', 'reload when a file of the configuration or of a plugin changes', false)
    .action((options: { watch: boolean }) =>
      program.args.length > 0 ? unknownCommand(program) : run(sourcesOf(program, {}), options.watch),
    )
  withSources(program.command('validate'))
    .description('check a configuration; every problem is printed as FILE:LINE:COLUMN: PATH: MESSAGE')
    .option('--strict', 'end with 1 when there are warnings', false)
    .addHelpText('after', VALIDATE_HELP)
    .action((options: SourceOptions & { strict: boolean }) =>
      validate(sourcesOf(program, options), options.strict),
    )
  withSources(program.command('components'))
    .description(
      'list every component: kind, type, signals, stability; with --config also those of its plugins',
    )
    .option('--json', 'print JSON instead of YAML', false)
    .addHelpText('after', COMPONENTS_HELP)
    .action((options: SourceOptions & { json: boolean }) =>
      components(sourcesOf(program, options), options.json),
    )
  withSources(program.command('schema'))
    .description('print the JSON Schema of a configuration, for editors; with --config also for its plugins')
    .option('--tests', 'of files for weir test instead', false)
    .addHelpText('after', SCHEMA_HELP)
    .action((options: SourceOptions & { tests: boolean }) =>
      schema(sourcesOf(program, options), options.tests),
    )
  withSources(program.command('print-config'))
    .alias('print-initial-config')
    .description('print the merged and expanded configuration')
    .addOption(
      new Option('--mode <mode>', 'hide secrets or not')
        .choices(['redacted', 'unredacted'])
        .default('redacted'),
    )
    .addOption(
      new Option('--format <format>', 'form of the output').choices(['yaml', 'json']).default('yaml'),
    )
    .option('--no-validate', 'print it even when it is wrong')
    .addHelpText('after', '\nExample:\n  $ weir print-config --config collector.yaml --format json')
    .action((options: PrintOptions) => printConfig({ ...options, ...sourcesOf(program, options) }))
  addSamplingCommands(
    program,
    (own) => sourcesOf(program, own),
    async (sources) => (await loader({ ...sources, featureGates: [] }))(),
  )
  program
    .command('featuregate [id]')
    .description('list the feature gates that are known, and what each of them is here')
    .addHelpText('after', '\nExample:\n  $ weir featuregate service.profilesSupport')
    .action(featureGate)
  addAuthoringCommands(program)
  withSources(program.command('fields', { hidden: true }))
    .description('print docs/fields.md')
    .action((options: SourceOptions) => fields(sourcesOf(program, options)))
  return program
}

function withSources(command: Command): Command {
  const collect = (value: string, all: string[] = []) => [...all, value]
  return command
    .option('-c, --config <source>', 'where the configuration is; may be given several times', collect)
    .option('-s, --set <key.key=value>', 'one value over those of the sources; several times', collect)
    .option(
      '--feature-gates <gates>',
      'a,+b,-c: taken for compatibility; unknown gates are warned about',
      collect,
      [],
    )
}

/** What stands before a command belongs to the program, what stands behind it to the command: both count. */
function sourcesOf(program: Command, own: Partial<SourceOptions>): SourceOptions {
  const outer = program.opts<Partial<SourceOptions>>()
  return {
    config: [...(outer.config ?? []), ...(own.config ?? [])],
    set: [...(outer.set ?? []), ...(own.set ?? [])],
    featureGates: [...(outer.featureGates ?? []), ...(own.featureGates ?? [])],
  }
}

function unknownCommand(program: Command): void {
  const [word = ''] = program.args
  const names = program.commands.map((command) => command.name()).filter((name) => name !== 'fields')
  process.stderr.write(`unknown command "${word}"${hint(word, names, 'commands')}\n`)
  process.exitCode = 1
}

/** False, with a word to the user, when there is no --config. */
function hasSource({ config }: SourceOptions): boolean {
  if (config.length > 0) return true
  process.stderr.write(
    'at least one config flag must be provided\nusage: weir --config FILE (weir --help shows more)\n',
  )
  process.exitCode = 1
  return false
}

/** The built-in components that a tree names, or all of them; and the plugins that it lists. */
async function knownComponents(tree?: unknown) {
  const { provenComponentsOf } = await import('./registry.ts')
  return provenComponentsOf(tree)
}

/** Every built-in component, and the plugins of a configuration when there is one. */
async function allComponents(options: SourceOptions) {
  const { allComponentsOf } = await import('./registry.ts')
  if (options.config.length === 0) return allComponentsOf(undefined)
  const { loadTree } = await import('./config/load.ts')
  const raw = { sources: options.config, sets: options.set, env: process.env }
  return allComponentsOf(await loadTree(raw, resolvePackage))
}

async function resolvePackage(name: string, from: string): Promise<string> {
  const { resolveFrom } = await import('./plugin/resolve.ts')
  return resolveFrom(name, from)
}

async function loader(options: SourceOptions) {
  const { loadConfig } = await import('./config/load.ts')
  const { gateWarnings } = await import('./config/feature-gates.ts')
  const gates = gateWarnings(options.featureGates)
  const sources = {
    ...{ sources: options.config, sets: options.set, env: process.env },
    ...{ registry: knownComponents, resolvePackage, versionOf },
  }
  return async () => {
    const loaded = await loadConfig(sources)
    const files = [...loaded.files, ...(await pluginFiles(loaded.tree))]
    return { ...loaded, files, warnings: [...gates, ...loaded.warnings] }
  }
}

async function versionOf(path: string): Promise<string> {
  return (await import('./plugin/versions.ts')).versionOf(path)
}

/** The files of the plugins that were imported for a configuration. */
async function pluginFiles(tree: unknown): Promise<string[]> {
  const { pluginsOf } = await import('./config/plugins.ts')
  const plugins = pluginsOf(tree)
  if (plugins.length === 0) return []
  const { filesOf, settleVersion } = await import('./plugin/versions.ts')
  for (const plugin of plugins) await settleVersion(plugin)
  return plugins.flatMap(filesOf)
}

async function run(options: SourceOptions, watch: boolean): Promise<void> {
  if (!hasSource(options)) return
  const { holdOptimizing } = await import('./workers/tiering.ts')
  holdOptimizing() // runService allows it again, once it is ready.
  const load = await loader(options)
  const loaded = await load()
  const { gateIds } = await import('./config/feature-gates.ts')
  const { runService } = await import('./service/run.ts')
  const featureGates = gateIds(options.featureGates)
  const reload = async () => {
    const again = await load()
    const { lintWarnings } = await import('./commands/validate.ts') // Not at the start, which it would make longer.
    return { ...again, warnings: await lintWarnings(again.config, again.warnings, options) }
  }
  const code = await runService({ loaded, reload, watch, registry: knownComponents, featureGates })
  process.exit(code)
}

async function validate(options: SourceOptions, strict: boolean): Promise<void> {
  if (!hasSource(options)) return
  const load = await loader(options)
  const { config, tree, warnings } = await load()
  const { dryRun } = await import('./service/dry-run.ts')
  dryRun(config, tree, options.config.at(-1) ?? '')
  const { allWarnings, formatWarning, NOTE } = await import('./commands/validate.ts')
  const shown = await allWarnings(config, warnings, options)
  for (const warning of shown) process.stderr.write(`${formatWarning(warning)}\n`)
  if (strict && shown.some(({ rule }) => rule !== NOTE)) process.exitCode = 1
}

async function printConfig(options: PrintOptions): Promise<void> {
  if (!hasSource(options)) return
  const load = await loader(options)
  const { loadTree } = await import('./config/load.ts')
  const { format, redactTree } = await import('./config/print.ts')
  const raw = { sources: options.config, sets: options.set, env: process.env }
  const tree = options.validate ? (await load()).tree : await loadTree(raw)
  const known = () => allComponents({ ...options, config: options.validate ? options.config : [] })
  const shown = options.mode === 'redacted' ? redactTree(tree, await known()) : tree
  process.stdout.write(format(shown, options.format))
}

async function components(options: SourceOptions, json: boolean): Promise<void> {
  const registry = await allComponents(options)
  const { format, listComponents } = await import('./config/print.ts')
  process.stdout.write(format(listComponents(registry, VERSION), json ? 'json' : 'yaml'))
}

async function schema(options: SourceOptions, tests: boolean): Promise<void> {
  if (tests) {
    const { testsSchema } = await import('./commands/test/json-schema.ts')
    process.stdout.write(`${JSON.stringify(testsSchema(), null, 2)}\n`)
    return
  }
  const registry = await allComponents(options)
  const { configSchema } = await import('./config/json-schema.ts')
  process.stdout.write(`${JSON.stringify(configSchema(registry), null, 2)}\n`)
}

async function featureGate(id: string | undefined): Promise<void> {
  const { featureGateTable } = await import('./config/print.ts')
  const table = featureGateTable(id)
  if (table === undefined) {
    process.stderr.write(`feature gate "${id}" is not known\n`)
    process.exitCode = 1
  } else process.stdout.write(table)
}

async function fields(options: SourceOptions): Promise<void> {
  const registry = await allComponents(options)
  const { fieldsDocument } = await import('./config/fields-table.ts')
  process.stdout.write(fieldsDocument(registry))
}
