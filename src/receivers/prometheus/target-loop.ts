/**
 * Scrapes one target at its interval: GET, parse, send. One scrape at a time; a tick that comes while one is
 * running, or is waiting for the pipeline, is left out.
 *
 * Whatever happens in a scrape ends in `up` and in the log when it changes; nothing is thrown.
 */
import type { Clock, Timer } from '../../component/clock.ts'
import type { Consumer } from '../../component/define.ts'
import type { Logger } from '../../component/logger.ts'
import { InvalidError, toError } from '../../errors.ts'
import { Batch, NO_METADATA, type RequestContext } from '../../otlp/batch.ts'
import type { ScrapeClient } from './client.ts'
import { ScrapeEncoder } from './encode.ts'
import type { ScrapeOptions } from './sample-labels.ts'
import { ScrapeState } from './scrape-state.ts'
import type { Target } from './targets.ts'

const CONTEXT: RequestContext = { metadata: NO_METADATA, transport: 'http' }

export interface LoopSettings {
  readonly client: ScrapeClient
  readonly clock: Clock
  readonly logger: Logger
  readonly next: Consumer
  readonly options: Omit<ScrapeOptions, 'labels' | 'discovered'>
  /** scrape_timeout_seconds and its like are reported, too. */
  readonly extraMetrics: boolean
  /** Above 0: when the first scrape is, instead of a time by the hash of the target. */
  readonly firstAfterMs: number
  counted(scraped: number, errored: number): void
  refused(error: Error | undefined): void
}

export class TargetLoop {
  readonly target: Target
  /** Why all scrapes fail at present (target_limit); undefined when they do not. */
  forcedError: Error | undefined
  readonly #settings: LoopSettings
  readonly #state: ScrapeState
  readonly #encoder: ScrapeEncoder
  #timer: Timer | undefined
  #running: Promise<void> | undefined
  #abort: AbortController | undefined
  #failure: string | undefined
  #rejecting = false
  #stopped = false

  constructor(target: Target, settings: LoopSettings) {
    this.target = target
    this.#settings = settings
    const { labels, discovered } = target
    this.#state = new ScrapeState({ ...settings.options, labels, discovered })
    this.#encoder = new ScrapeEncoder(this.#state)
  }

  start(): void {
    const { clock } = this.#settings
    this.#timer = clock.after(this.#firstDelayMs(), () => {
      this.#timer = clock.every(this.target.intervalMs, () => this.#tick())
      this.#tick()
    })
  }

  /** Ends the scraping; without `final` the series of the target go stale. */
  async stop(final: 'stale' | 'scrape', deadline?: AbortSignal): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    this.#timer?.cancel()
    if (final === 'stale') this.#abort?.abort(new InvalidError('the target is not scraped any more'))
    await this.#running
    if (deadline?.aborted) return
    if (final === 'scrape') await this.#scrape()
    else if (this.#state.scrape > 0) {
      this.#state.begin(this.#settings.clock.wallMs())
      await this.#send()
    }
  }

  /**
   * Scrapes of a target are at the same places of the clock after every start, those of many targets spread.
   */
  #firstDelayMs(): number {
    const { clock, firstAfterMs } = this.#settings
    if (firstAfterMs > 0) return firstAfterMs
    const { intervalMs, hash } = this.target
    const place = hash % intervalMs
    const now = clock.wallMs() % intervalMs
    return (place - now + intervalMs) % intervalMs
  }

  #tick(): void {
    if (this.#running || this.#stopped) return
    this.#running = this.#scrape().finally(() => {
      this.#running = undefined
    })
  }

  async #scrape(): Promise<void> {
    const { clock, logger } = this.#settings
    const startedMs = clock.monotonicMs()
    const state = this.#state
    let error: Error | undefined
    let bodyBytes = 0
    state.begin(clock.wallMs())
    try {
      const { body, openMetrics } = await this.#get()
      bodyBytes = body.length
      state.add(body, openMetrics)
    } catch (thrown) {
      error = toError(thrown)
      if (error.message.startsWith('body_size_limit')) bodyBytes = -1
      state.discard()
      if (this.#stopped && this.#abort?.signal.aborted) {
        state.cancel() // As if it had never begun: what was there before goes stale in stop().
        return
      }
    }
    const seconds = (clock.monotonicMs() - startedMs) / 1000
    this.#report(error === undefined, seconds, bodyBytes)
    if (error) this.#settings.counted(0, state.scraped)
    else this.#settings.counted(state.kept - state.rejected, state.rejected)
    this.#logChange(logger, error)
    await this.#send()
  }

  async #get() {
    if (this.forcedError) throw this.forcedError
    const abort = new AbortController()
    this.#abort = abort
    const { client, clock } = this.#settings
    const { url, timeoutMs } = this.target
    const timer = clock.after(timeoutMs, () =>
      abort.abort(new InvalidError(`no answer within ${timeoutMs} ms`)),
    )
    try {
      return await client.get(url, timeoutMs, abort.signal)
    } finally {
      timer.cancel()
    }
  }

  #report(healthy: boolean, seconds: number, bodyBytes: number): void {
    const state = this.#state
    state.report('up', healthy ? 1 : 0)
    state.report('scrape_duration_seconds', seconds)
    state.report('scrape_samples_scraped', state.scraped)
    state.report('scrape_samples_post_metric_relabeling', state.kept)
    state.report('scrape_series_added', state.added)
    if (!this.#settings.extraMetrics) return
    state.report('scrape_timeout_seconds', this.target.timeoutMs / 1000)
    state.report('scrape_sample_limit', state.options.limits.sampleLimit)
    state.report('scrape_body_size_bytes', bodyBytes)
  }

  /** One line when scraping begins to fail, fails for another reason, or works again. */
  #logChange(logger: Logger, error: Error | undefined): void {
    const { labels, url } = this.target
    const fields = {
      job: labels.get('job'),
      instance: labels.get('instance'),
      url: `${url.origin}${url.pathname}`,
    }
    if (error && this.#failure === undefined)
      logger.warn('scrape failed', { ...fields, error: error.message })
    else if (!error && this.#failure !== undefined) logger.info('scrape works again', fields)
    this.#failure = error?.message
    const { rejected, rejection } = this.#state
    if (rejected > 0 && !this.#rejecting)
      logger.warn('samples were rejected', { ...fields, samples: rejected, error: rejection })
    this.#rejecting = rejected > 0
  }

  /**
   * One call for the whole scrape. What the pipeline refuses is lost and counted; the next scrape brings
   * newer values.
   */
  async #send(): Promise<void> {
    const encoded = this.#encoder.encode()
    if (!encoded) return
    try {
      await this.#settings.next.consume(new Batch('metrics', [encoded.bytes], encoded.points, CONTEXT))
      this.#settings.refused(undefined)
    } catch (error) {
      this.#settings.refused(toError(error))
    }
  }
}
