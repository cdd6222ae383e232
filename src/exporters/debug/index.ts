/**
 * `debug` exporter: prints what passes, to Weir's own log or to files. Formerly `logging`.
 *
 *     exporters:
 *       debug:
 *         verbosity: detailed
 *
 * basic: one line a batch with its counts. normal: one line an item too. detailed: every field. The text is for people,
 * its form may change. It is made from OTLP/JSON as objects: the one built-in exporter that may, since what it
 * prints costs more than the objects do.
 */
import { type FileHandle, open } from 'node:fs/promises'
import type { Writable } from 'node:stream'
import { defineExporter, type Exporter, type Settings } from '../../component/define.ts'
import { RetryableError } from '../../errors.ts'
import type { Batch } from '../../otlp/batch.ts'
import { encodeJson, JsonBuffer } from '../../otlp/json-encode.ts'
import { ChunkWalker } from '../../otlp/walk.ts'
import { type Config, config, sendingOf, type Verbosity, verbosityOf } from './config.ts'
import { detailedText } from './detailed.ts'
import { normalText } from './normal.ts'

const telemetry = {}

export default defineExporter({
  type: 'debug',
  deprecatedTypes: ['logging'],
  stability: 'beta',
  summary: 'Prints telemetry to the log, to stdout or to files.',
  signals: ['traces', 'metrics', 'logs'],
  config,
  telemetry,
  sending: sendingOf,
  create: (settings) => new DebugExporter(settings),
})

/** Of the batches in one second the first `initial`, then every `thereafter`-th one. */
class Sampler {
  readonly #initial: number
  readonly #thereafter: number
  #secondEndsMs = Number.NEGATIVE_INFINITY
  #count = 0

  constructor(initial: number, thereafter: number) {
    this.#initial = initial
    this.#thereafter = thereafter
  }

  admits(nowMs: number): boolean {
    if (nowMs >= this.#secondEndsMs) {
      this.#secondEndsMs = nowMs + 1000
      this.#count = 0
    }
    this.#count++
    if (this.#count <= this.#initial) return true
    return this.#thereafter > 0 && (this.#count - this.#initial) % this.#thereafter === 0
  }
}

const walker = new ChunkWalker()

/** The message of the summary line and its fields. */
function summary(batch: Batch): { message: string; fields: Record<string, number> } {
  let resources = 0
  let metrics = 0
  for (const chunk of batch.chunks) {
    walker.reset(chunk)
    while (walker.nextResource()) {
      resources++
      if (batch.signal === 'metrics') while (walker.nextScope()) while (walker.nextItem()) metrics++
    }
  }
  switch (batch.signal) {
    case 'traces':
      return { message: 'Traces', fields: { 'resource spans': resources, spans: batch.itemCount } }
    case 'metrics':
      return {
        message: 'Metrics',
        fields: { 'resource metrics': resources, metrics, 'data points': batch.itemCount },
      }
    case 'logs':
      return { message: 'Logs', fields: { 'resource logs': resources, 'log records': batch.itemCount } }
  }
}

const json = new JsonBuffer()

function describe(batch: Batch, verbosity: Verbosity): string {
  if (verbosity === 'basic') return ''
  json.clear()
  encodeJson(batch.signal, batch.chunks, json)
  const request = JSON.parse(Buffer.from(json.view()).toString())
  return verbosity === 'normal' ? normalText(batch.signal, request) : detailedText(batch.signal, request)
}

class DebugExporter implements Exporter {
  readonly #settings: Settings<Config, typeof telemetry>
  readonly #verbosity: Verbosity
  readonly #sampler: Sampler
  #streams: Writable[] = []
  #files: FileHandle[] = []

  constructor(settings: Settings<Config, typeof telemetry>) {
    this.#settings = settings
    this.#verbosity = verbosityOf(settings.config)
    this.#sampler = new Sampler(settings.config.sampling_initial, settings.config.sampling_thereafter)
  }

  async start(): Promise<void> {
    const { config, logger } = this.#settings
    if (config.loglevel !== undefined)
      logger.warn('loglevel is deprecated: use the debug exporter with verbosity', {
        verbosity: this.#verbosity,
      })
    if (config.use_internal_logger) {
      if (config.output_paths) logger.warn('output_paths has no effect while use_internal_logger is true')
      return
    }
    for (const path of config.output_paths ?? ['stdout']) {
      if (path === 'stdout') this.#streams.push(process.stdout)
      else if (path === 'stderr') this.#streams.push(process.stderr)
      else this.#files.push(await open(path, 'a', 0o644))
    }
  }

  async consume(batch: Batch): Promise<void> {
    const { config, logger, host } = this.#settings
    if (!this.#sampler.admits(host.clock.monotonicMs())) return
    const { message, fields } = summary(batch)
    const text = describe(batch, this.#verbosity)
    if (config.use_internal_logger) {
      logger.info(message, fields)
      if (text !== '') logger.info(text)
      return
    }
    const counts = Object.entries(fields).map(([name, count]) => `"${name}": ${count}`)
    const line = `${message}\t{${counts.join(', ')}}\n`
    await this.#print(text === '' ? line : `${line}${text}\n`)
  }

  async #print(text: string): Promise<void> {
    try {
      for (const stream of this.#streams)
        await new Promise<void>((resolve, reject) =>
          stream.write(text, (error) => (error ? reject(error) : resolve())),
        )
      for (const file of this.#files) await file.appendFile(text)
    } catch (error) {
      throw new RetryableError('the output could not be written', { cause: error })
    }
  }

  async shutdown(): Promise<void> {
    this.#streams = []
    for (const file of this.#files.splice(0)) await file.close().catch(() => {})
  }
}
