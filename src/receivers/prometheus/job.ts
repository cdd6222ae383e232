/**
 * One scrape config at work: what discovery finds, made into targets, of which this shard scrapes its share.
 */

import type { Host } from '../../component/host.ts'
import type { Logger } from '../../component/logger.ts'
import { TooLargeError } from '../../errors.ts'
import { acceptHeader, ScrapeClient } from './client.ts'
import { type Config, timing } from './config.ts'
import { FileDiscovery, foundIn } from './file-discovery.ts'
import { compileRelabel } from './relabel.ts'
import { DEFAULT_PROTOCOLS, type ScrapeConfig } from './scrape-config.ts'
import { type LoopSettings, TargetLoop } from './target-loop.ts'
import { type Found, type JobSettings, makeTarget, type Target } from './targets.ts'

export interface JobContext extends Pick<LoopSettings, 'next' | 'counted' | 'refused'> {
  readonly config: Config
  readonly host: Host
  readonly logger: Logger
}

export class Job {
  readonly #context: JobContext
  readonly #job: ScrapeConfig
  readonly #client: ScrapeClient
  readonly #settings: JobSettings
  readonly #loop: LoopSettings
  readonly #files: readonly FileDiscovery[]
  readonly #loops = new Map<string, TargetLoop>()
  readonly #stopping = new Set<Promise<void>>()
  readonly #problems = new Set<string>()
  #stopped = false

  /** Reads certificates. Throws ConfigError. */
  constructor(job: ScrapeConfig, context: JobContext) {
    this.#job = job
    this.#context = context
    const { host, logger, config } = context
    const { global } = config.config
    this.#settings = { job, ...timing(job, global), relabel: compileRelabel(job.relabel_configs ?? []) }
    const protocols = job.scrape_protocols ?? global.scrape_protocols ?? DEFAULT_PROTOCOLS
    if (protocols.includes('PrometheusProto'))
      logger.warn('PrometheusProto is not spoken, the other protocols are asked for', { job: job.job_name })
    const legacy = (job.metric_name_validation_scheme || global.metric_name_validation_scheme) === 'legacy'
    const escaping =
      job.metric_name_escaping_scheme ||
      global.metric_name_escaping_scheme ||
      (legacy ? 'underscores' : 'allow-utf-8')
    this.#client = new ScrapeClient({
      job,
      accept: acceptHeader(protocols, escaping),
      bodyLimitBytes: job.body_size_limit ?? global.body_size_limit ?? 0,
    })
    this.#loop = {
      ...context,
      client: this.#client,
      clock: host.clock,
      extraMetrics:
        config.report_extra_scrape_metrics ||
        (job.extra_scrape_metrics ?? global.extra_scrape_metrics ?? false),
      firstAfterMs: config.initial_scrape_offset,
      options: {
        externalLabels: new Map(Object.entries(global.external_labels)),
        honorLabels: job.honor_labels,
        honorTimestamps: job.honor_timestamps,
        trackTimestampsStaleness: job.track_timestamps_staleness,
        trimSuffixes: config.trim_metric_suffixes,
        legacyNames: legacy,
        relabel: compileRelabel(job.metric_relabel_configs ?? []),
        limits: {
          sampleLimit: job.sample_limit ?? global.sample_limit ?? 0,
          labelLimit: job.label_limit ?? global.label_limit ?? 0,
          labelNameLengthLimit: job.label_name_length_limit ?? global.label_name_length_limit ?? 0,
          labelValueLengthLimit: job.label_value_length_limit ?? global.label_value_length_limit ?? 0,
        },
      },
    }
    this.#files = (job.file_sd_configs ?? []).map(
      (files) => new FileDiscovery(files, host.clock, logger, () => this.#sync()),
    )
  }

  async start(): Promise<void> {
    for (const files of this.#files) await files.start()
    this.#sync()
  }

  /** The targets go stale, or are scraped once more. */
  async stop(final: 'stale' | 'scrape', deadline: AbortSignal): Promise<void> {
    this.#stopped = true
    for (const files of this.#files) files.stop()
    const loops = [...this.#loops.values()]
    this.#loops.clear()
    await Promise.all([...this.#stopping, ...loops.map((loop) => loop.stop(final, deadline))])
  }

  async close(): Promise<void> {
    await this.#client.close()
  }

  /** Starts what is new and stops what is gone. A target that stays goes on undisturbed. */
  #sync(): void {
    if (this.#stopped) return
    const targets = this.#targets()
    const limit = this.#job.target_limit ?? this.#context.config.config.global.target_limit ?? 0
    const over =
      limit > 0 && targets.size > limit
        ? new TooLargeError(`target_limit exceeded (${targets.size} targets, limit ${limit})`)
        : undefined
    for (const [key, loop] of this.#loops) {
      if (targets.has(key)) continue
      this.#loops.delete(key)
      const stopping = loop.stop('stale').finally(() => this.#stopping.delete(stopping))
      this.#stopping.add(stopping)
    }
    const { shard, shards } = this.#context.host
    for (const [key, target] of targets) {
      if (target.hash % Math.max(1, shards) !== shard) continue
      let loop = this.#loops.get(key)
      if (!loop) {
        loop = new TargetLoop(target, this.#loop)
        this.#loops.set(key, loop)
        loop.start()
      }
      loop.forcedError = over
    }
  }

  #targets(): Map<string, Target> {
    const found: Found[] = (this.#job.static_configs ?? []).flatMap((group) => foundIn(group))
    for (const files of this.#files) found.push(...files.found)
    const targets = new Map<string, Target>()
    const problems = new Set<string>()
    for (const one of found) {
      const made = makeTarget(one, this.#settings)
      if (typeof made === 'object') targets.set(made.key, made)
      else if (made !== undefined) problems.add(made)
    }
    for (const error of problems)
      if (!this.#problems.has(error))
        this.#context.logger.warn('target cannot be scraped', { job: this.#job.job_name, error })
    this.#problems.clear()
    for (const error of problems) this.#problems.add(error)
    return targets
  }
}
