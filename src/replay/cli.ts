/** The command line of `weir sampling`. What a command does is loaded when it runs. */
import { type Command, InvalidArgumentError } from 'commander'
import type { LoadedConfig } from '../config/load.ts'

export interface Sources {
  readonly config: readonly string[]
  readonly set: readonly string[]
}

interface ReplayFlags {
  readonly config?: readonly string[]
  readonly set?: readonly string[]
  readonly against?: readonly string[]
  readonly input: readonly string[]
  readonly processor?: string
  readonly json: boolean
  readonly html?: string
  readonly keptIds?: string
  readonly rateFromData: boolean
  readonly quiet: boolean
  readonly maxTraces?: number
}

const REPLAY_HELP = `
A recording is what the file exporter writes (JSON lines or proto, compressed or not; rotated files are read in order of
time), or a capture. It is taken as what comes in to the sampler.

Examples:
  $ weir sampling replay --config collector.yaml --input recorded/
  $ weir sampling replay --config new.yaml --against collector.yaml --input traces.json --html difference.html
  $ weir sampling replay --config c.yaml --set processors.tail_sampling.decision_wait=5s --against c.yaml --input t.otlp
`

/** `outer`: the sources that stand before the command. `load`: reads and checks a configuration. */
export function addSamplingCommands(
  program: Command,
  outer: (own: Partial<Sources>) => Sources,
  load: (sources: Sources) => Promise<LoadedConfig>,
): void {
  const several = (value: string, all: string[] = []) => [...all, value]
  const sampling = program.command('sampling').description('what sampling policies keep of recorded traffic')
  addCapture(sampling)
  sampling
    .command('replay')
    .description('run recorded traces through one or two tail_sampling configurations in virtual time')
    .option('-c, --config <source>', 'configuration with the sampler; several are merged', several)
    .option('-s, --set <key.key=value>', 'one value over those of --config; several times', several)
    .option('-a, --against <source>', 'another configuration to compare with; several are merged', several)
    .requiredOption('-i, --input <path...>', 'files or directories of the recording', several)
    .option('-p, --processor <id>', 'which sampler, when a configuration has several')
    .option('--json', 'print JSON instead of a table', false)
    .option('--html <file>', 'write the report as a page, too')
    .option('--kept-ids <file>', 'write the ids of the traces that --config keeps, one per line')
    .option('--rate-from-data', 'take times from the spans even where arrival times were recorded', false)
    .option('--max-traces <count>', 'traces that are known at a time (default: 2000000)', positive)
    .option('--quiet', 'show no progress', false)
    .addHelpText('after', REPLAY_HELP)
    .action(async (flags: ReplayFlags) => {
      const { config, set } = outer({ config: flags.config ?? [], set: flags.set ?? [] })
      if (config.length === 0) return void sampling.error('at least one config flag must be provided')
      const sources = [{ config, set }]
      if (flags.against !== undefined) sources.push({ config: [...flags.against], set: [] })
      const { replayCommand } = await import('./command.ts')
      const { input, ...rest } = flags
      await replayCommand({
        ...rest,
        configs: sources.map((source) => ({
          source: [...source.config, ...source.set].join(' '),
          load: () => load(source),
        })),
        inputs: input,
      })
    })
}

interface CaptureFlags {
  readonly endpoint: string
  readonly pipeline: string
  readonly duration: string
  readonly maxMb: number
  readonly out?: string
}

const CAPTURE_HELP = `
The collector needs service.admin.capture in its configuration (docs/sampling-replay.md).

Example:
  $ weir sampling capture --duration 60s --out monday.otlp
`

function addCapture(sampling: Command): void {
  sampling
    .command('capture')
    .description('have a running collector record what enters a pipeline')
    .option('-e, --endpoint <host:port>', 'its admin endpoint', 'localhost:8889')
    .option('-p, --pipeline <id>', 'whose data', 'traces')
    .option('-d, --duration <time>', 'how long', '60s')
    .option('-m, --max-mb <count>', 'how much at most', positive, 100)
    .option('-o, --out <file>', 'where to put it; else it stays in the directory of the collector')
    .addHelpText('after', CAPTURE_HELP)
    .action(async (flags: CaptureFlags) => {
      const { captureCommand } = await import('./capture-client.ts')
      await captureCommand(flags)
    })
}

function positive(value: string): number {
  const number = Number(value)
  if (!Number.isInteger(number) || number < 1)
    throw new InvalidArgumentError('expected a whole number from 1 on')
  return number
}
