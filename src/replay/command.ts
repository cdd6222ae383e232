/**
 * `weir sampling replay`: what one or two configurations of `tail_sampling` would have kept of recorded
 * traffic.
 */
import { createWriteStream } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { finished } from 'node:stream/promises'
import type { LoadedConfig } from '../config/load.ts'
import { ConfigError, InvalidError } from '../errors.ts'
import type { Config } from '../processors/tail-sampling/config.ts'
import { Progress } from './progress.ts'
import { findRecordings } from './recording.ts'
import { type ReplayConfig, replay } from './replay.ts'
import { reportOf } from './report.ts'
import { tableOf } from './table.ts'

export interface ReplayCommand {
  /** One or two configurations; `source` is what the user called it. */
  readonly configs: readonly { readonly source: string; load(): Promise<LoadedConfig> }[]
  readonly inputs: readonly string[]
  /** Needed when a configuration has several. */
  readonly processor?: string | undefined
  readonly json: boolean
  /** Files to write: the page, and the ids of the traces that the first configuration keeps. */
  readonly html?: string | undefined
  readonly keptIds?: string | undefined
  readonly rateFromData: boolean
  readonly quiet: boolean
  readonly maxTraces?: number | undefined
}

export async function replayCommand(options: ReplayCommand): Promise<void> {
  const configs: ReplayConfig[] = []
  for (const { source, load } of options.configs)
    configs.push(samplerOf(await load(), source, options.processor))
  const { recordings, bytes } = await findRecordings(options.inputs)
  const progress = new Progress(process.stderr, bytes)
  const ids = options.keptIds === undefined ? undefined : createWriteStream(options.keptIds)
  const result = await replay({
    recordings,
    configs,
    rateFromData: options.rateFromData,
    ...(options.maxTraces !== undefined && { limitTraces: options.maxTraces }),
    ...(ids && { onKept: (id: string) => void ids.write(`${id}\n`) }),
    ...(!options.quiet && { onProgress: (read: number, spans: number) => progress.update(read, spans) }),
  }).catch((error: unknown) => {
    if (error instanceof InvalidError) throw problem('', error.message)
    throw error
  })
  ids?.end()
  if (ids !== undefined) await finished(ids)
  const report = reportOf(result)
  if (!options.quiet) progress.finish(result.counts.bytes, report.input.spans)
  if (report.input.spans === 0) throw problem(options.inputs.join(', '), 'there are no spans in it')
  if (options.html !== undefined) {
    const { pageOf } = await import('./page.ts')
    await writeFile(options.html, pageOf(report))
  }
  process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : tableOf(report))
}

function problem(file: string, message: string): ConfigError {
  return new ConfigError([{ file: file === '' ? 'recording' : file, line: 0, column: 0, path: '', message }])
}

/** The sampler that the user named, or the only one. */
function samplerOf({ config }: LoadedConfig, source: string, wanted: string | undefined): ReplayConfig {
  const samplers = [...config.processors.values()].filter(
    ({ definition }) => definition.type === 'tail_sampling',
  )
  const ids = samplers.map(({ id }) => id)
  const found = wanted === undefined ? samplers[0] : samplers.find(({ id }) => id === wanted)
  if (found === undefined) {
    const what =
      wanted === undefined ? 'there is no tail_sampling processor' : `there is no processor "${wanted}"`
    throw problem(source, ids.length === 0 ? what : `${what}; there are: ${ids.join(', ')}`)
  }
  if (wanted === undefined && samplers.length > 1)
    throw problem(source, `there are several samplers, name one with --processor: ${ids.join(', ')}`)
  return { id: found.id, source, config: found.config as Config } // Parsed by the schema of tail_sampling.
}
