/**
 * `file` exporter: writes telemetry to a file, as OTLP/JSON lines or as protobuf messages with their length in front.
 *
 *     exporters:
 *       file:
 *         path: ./data/telemetry.json
 *         rotation: { max_megabytes: 10, max_backups: 3 }
 *
 * A batch is acknowledged when the operating system has its bytes. Several signals, and several exporters of one path,
 * share the file. `append: false` empties it once, when the process starts: not when a shard restarts, the
 * configuration is reloaded, or a group's file is opened again. A file with rotation is never emptied.
 */
import { promisify } from 'node:util'
import { zstdCompress } from 'node:zlib'
import { LRUCache } from 'lru-cache'
import { defineExporter, type Exporter, type Settings } from '../../component/define.ts'
import { counter } from '../../component/telemetry.ts'
import { RetryableError, ShutdownError, toError } from '../../errors.ts'
import { Batch } from '../../otlp/batch.ts'
import { encodeJson, JsonBuffer } from '../../otlp/json-encode.ts'
import { type Config, config, rotationOf } from './config.ts'
import { groupPath, groupResources } from './groups.ts'
import { type FileWriter, openWriter, releaseWriter, type WriterOptions } from './writer.ts'

const telemetry = {
  ungrouped: counter(
    'exporter_file_ungrouped',
    '{item}',
    'Items dropped because their resource has no attribute to group by.',
  ),
}

export default defineExporter({
  type: 'file',
  stability: 'beta',
  summary: 'Writes to a file, as JSON lines or protobuf, with rotation and compression.',
  signals: ['traces', 'metrics', 'logs'],
  affinity: 'process',
  config,
  telemetry,
  create: (settings) =>
    settings.config.group_by.enabled ? new GroupedFiles(settings) : new SingleFile(settings),
})

type FileSettings = Settings<Config, typeof telemetry>

/** The shard where all data of the process meets (affinity `process`). The others never open the file. */
const DATA_SHARD = 0

const compress = promisify(zstdCompress)
const json = new JsonBuffer()

/** A batch as it stands in the file. */
async function encodeMessage(settings: Config, batch: Batch): Promise<readonly Uint8Array[]> {
  const compressed = settings.compression === 'zstd'
  let content: readonly Uint8Array[] = batch.chunks
  if (settings.format === 'json') {
    json.clear()
    encodeJson(batch.signal, batch.chunks, json)
    if (!compressed) json.byte(0x0a)
    content = json.takeParts()
    if (!compressed) return content
  }
  if (compressed) content = [await compress(content.length === 1 ? content[0]! : Buffer.concat(content))]
  const length = Buffer.allocUnsafe(4)
  length.writeUInt32BE(content.reduce((sum, part) => sum + part.length, 0))
  return [length, ...content]
}

/**
 * True for the first start of this component in the life of the process. A token that is never refilled tells: rates are shared
 * by all shards and outlive them, where a budget is given back when its shard dies.
 */
function isProcessStart(settings: FileSettings): boolean {
  return settings.host.rateBudget('opened', 0, 1).tryTake(1)
}

function writerOptions(settings: FileSettings, truncate: boolean): WriterOptions {
  const { config, host, logger } = settings
  const makes = config.create_directory || config.group_by.enabled
  return {
    clock: host.clock,
    rotation: rotationOf(config),
    truncate: truncate && !config.append && !config.rotation,
    directoryMode: makes ? Number.parseInt(config.directory_permissions, 8) : undefined,
    onCleanupError: (error) => logger.warn('old backups could not be deleted', { error: error.message }),
  }
}

/** Runs a write, and reports to the service when the file begins to fail and when it works again. */
class Health {
  #failing = false
  readonly #settings: FileSettings
  constructor(settings: FileSettings) {
    this.#settings = settings
  }
  async watch(work: Promise<void>): Promise<void> {
    try {
      await work
      if (this.#failing) this.#settings.host.reportStatus('ok')
      this.#failing = false
    } catch (error) {
      if (!this.#failing && !(error instanceof ShutdownError))
        this.#settings.host.reportStatus('recoverable_error', toError(error))
      this.#failing = !(error instanceof ShutdownError)
      throw error
    }
  }
}

class SingleFile implements Exporter {
  readonly #settings: FileSettings
  readonly #health: Health
  #writer: FileWriter | undefined
  #running = false

  constructor(settings: FileSettings) {
    this.#settings = settings
    this.#health = new Health(settings)
  }

  async start(): Promise<void> {
    this.#running = true
    if (this.#settings.host.shard !== DATA_SHARD) return
    const options = writerOptions(this.#settings, isProcessStart(this.#settings))
    this.#writer = await openWriter(this.#settings.config.path, options)
  }

  async consume(batch: Batch): Promise<void> {
    const message = await encodeMessage(this.#settings.config, batch)
    const writer = this.#writer
    if (!this.#running || writer === undefined) throw new ShutdownError('the file is not open')
    await this.#health.watch(writer.write(message))
  }

  async shutdown(): Promise<void> {
    this.#running = false
    const writer = this.#writer
    this.#writer = undefined
    if (writer) await releaseWriter(writer)
  }
}

/** Files of this thread that were opened before: they are not emptied again. When full, none is emptied any more. */
const opened = new Set<string>()
const MAX_REMEMBERED = 100_000

class GroupedFiles implements Exporter {
  readonly #settings: FileSettings
  readonly #health: Health
  readonly #attribute: Uint8Array
  readonly #files: LRUCache<string, Promise<FileWriter>>
  readonly #releases = new Set<Promise<void>>()
  #truncate = false
  #running = false

  constructor(settings: FileSettings) {
    this.#settings = settings
    this.#health = new Health(settings)
    this.#attribute = Buffer.from(settings.config.group_by.resource_attribute)
    this.#files = new LRUCache({
      max: settings.config.group_by.max_open_files,
      dispose: (writer) => this.#release(writer),
    })
  }

  async start(): Promise<void> {
    this.#truncate = this.#settings.host.shard === DATA_SHARD && isProcessStart(this.#settings)
    this.#running = true
  }

  async consume(batch: Batch): Promise<void> {
    const { groups, without } = groupResources(batch, this.#attribute)
    if (without.length > 0) {
      const { itemCount } = new Batch(batch.signal, without)
      this.#settings.telemetry.ungrouped.add(itemCount)
      this.#settings.logger.warn('dropped resources without the attribute to group by', {
        attribute: this.#settings.config.group_by.resource_attribute,
        items: itemCount,
      })
    }
    const results = await Promise.allSettled(
      [...groups].map(([segment, chunks]) => this.#write(segment, batch.with(chunks))),
    )
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }

  async #write(segment: string, batch: Batch): Promise<void> {
    const message = await encodeMessage(this.#settings.config, batch)
    await this.#health.watch(this.#file(segment).then((writer) => writer.write(message)))
  }

  #file(segment: string): Promise<FileWriter> {
    if (!this.#running) return Promise.reject(new ShutdownError('the files are closed'))
    const file = groupPath(this.#settings.config.path, segment)
    const known = this.#files.get(file)
    if (known) return known
    const truncate = this.#truncate && opened.size < MAX_REMEMBERED && !opened.has(file)
    if (truncate) opened.add(file)
    const writer = openWriter(file, writerOptions(this.#settings, truncate)).catch((error) => {
      if (this.#files.peek(file) === writer) this.#files.delete(file)
      throw new RetryableError('the file could not be opened', { cause: error })
    })
    this.#files.set(file, writer)
    return writer
  }

  #release(writer: Promise<FileWriter>): void {
    const release = writer.then(releaseWriter, () => {}).finally(() => this.#releases.delete(release))
    this.#releases.add(release)
  }

  async shutdown(): Promise<void> {
    this.#running = false
    this.#files.clear()
    await Promise.all(this.#releases)
  }
}
