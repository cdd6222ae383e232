/**
 * The shell around every exporter: sending queue, batching, retry and time limit. The service wraps each
 * exporter with it, so that an exporter writes one attempt and nothing else.
 *
 * Invariant: every item that consume() accepts is, in the end, counted once as sent or as send_failed,
 * whatever happens (time-out, refusal, shutdown). What is not accepted is counted as enqueue_failed and the
 * caller is told. With a storage (stored-queue.ts) a third end is possible: at shutdown it stays on the disk.
 *
 * Longer than other files: it is where queue, batching, retry and counting meet.
 */
import type { Component, Consumer, Exporter, QueueSettings, SendingSettings } from '../component/define.ts'
import type { Host } from '../component/host.ts'
import type { Logger } from '../component/logger.ts'
import type { Counter, Instruments } from '../component/telemetry.ts'
import { isRetryable, ShutdownError, toError, WeirError } from '../errors.ts'
import type { Batch, Signal } from '../otlp/batch.ts'
import { leavePayload } from '../otlp/unmanaged.ts'
import { dropAdvice, refusalAdvice } from './advice.ts'
import { Batcher, type Entry, finishPart, type Job } from './batcher.ts'
import { Health } from './health.ts'
import { Latch } from './latch.ts'
import { PLAIN } from './plain.ts'
import { Admission, Deque, sizeOf } from './queue.ts'
import { type Outcome, sendWithRetry } from './retry.ts'
import { StoredQueue } from './stored-queue.ts'
import type { detailedTelemetry, sendingTelemetry } from './telemetry.ts'
import { attempt } from './timeout.ts'

export interface ShellSettings {
  readonly id: string
  readonly signal: Signal
  readonly host: Host
  readonly logger: Logger
  /** Made from sendingTelemetry(signal). */
  readonly telemetry: Instruments<ReturnType<typeof sendingTelemetry>>
  /** Made from detailedTelemetry; left out below level detailed. */
  readonly detailed?: Instruments<typeof detailedTelemetry> | undefined
  /** For the jitter, 0 to 1; Math.random unless a test says otherwise. */
  readonly random?: () => number
}

/** True when consume() of the wrapped exporter resolves only after the export itself. */
export function holdsCaller(sending: SendingSettings | undefined): boolean {
  return !sending?.queue || sending.queue.waitForResult
}

export function wrapExporter(
  exporter: Exporter,
  sending: SendingSettings | undefined,
  settings: ShellSettings,
): Consumer & Component {
  return new Shell(exporter, sending ?? PLAIN, settings)
}

const MOVED: Outcome = { sentItems: 0, failedItems: 0, error: undefined } // Its heir counts it.
class Shell implements Consumer, Component {
  readonly #exporter: Exporter
  readonly #sending: SendingSettings
  readonly #settings: ShellSettings
  readonly #admission: Admission | undefined
  readonly #batcher: Batcher | undefined
  readonly #stored: StoredQueue | undefined
  readonly #ready = new Deque<Job>()
  readonly #health: Health
  readonly #maxActive: number
  readonly #inFlight
  readonly #volatile
  readonly #stopped = new Latch()
  readonly #cutOff = new Latch()
  #active = 0
  #onIdle: (() => void) | undefined
  #closing: Promise<void> | undefined
  /** What has taken the place of this exporter at a reload. */
  #heir: Consumer | undefined

  constructor(exporter: Exporter, sending: SendingSettings, settings: ShellSettings) {
    this.#exporter = exporter
    this.#sending = sending
    this.#settings = settings
    const { host, telemetry, signal } = settings
    this.#health = new Health(host)
    this.#inFlight = telemetry.inFlight.with({ data_type: signal })
    this.#volatile = telemetry.volatile.with({ otel_signal: signal })
    const queue = sending.queue
    this.#maxActive = queue ? Math.max(1, Math.ceil(queue.numConsumers / Math.max(1, host.shards))) : 0
    if (!queue) return
    this.#admission = this.#makeAdmission(queue)
    if (queue.batch) this.#batcher = new Batcher(queue.batch, host.clock, (job) => this.#enqueueJob(job))
    if (queue.storage !== undefined) this.#stored = this.#makeStored(queue, this.#admission)
  }

  #makeStored(queue: QueueSettings, admission: Admission): StoredQueue {
    const { host, logger, telemetry, id, signal } = this.#settings
    return new StoredQueue({
      host,
      logger,
      queue,
      name: `exporter_${id}_${signal}`,
      consumers: this.#maxActive,
      admission,
      free: () => this.#maxActive - this.#active - this.#ready.length,
      send: (batch, done, attempted) =>
        this.#begin(batch, 0, (entry) => done(this.#staysStored(entry.error)), attempted),
      onLost: (items) => telemetry.sendFailed.add(items),
    })
  }

  /**
   * What could not be sent because the process stops is sent by the next one, when it is on the disk here
   * or in a log.
   */
  #staysStored(error: Error | undefined): boolean {
    return this.#stored !== undefined && this.#stays(error)
  }

  #stays(error: Error | undefined): boolean {
    return error !== undefined && this.#stopped.reason !== undefined && isRetryable(error)
  }

  #makeAdmission(queue: QueueSettings): Admission {
    const { host, telemetry, signal } = this.#settings
    const size = telemetry.queueSize.with({ data_type: signal })
    const capacity = telemetry.queueCapacity.with({ data_type: signal })
    const budget = host.budget(`queue/${signal}`, queue.queueSize)
    size.set(0)
    capacity.set(queue.queueSize)
    return new Admission(queue, budget, host.clock, (held) => size.set(held))
  }

  async start(): Promise<void> {
    await this.#exporter.start?.()
    await this.#stored?.start()
  }

  drain(): void {
    this.#exporter.drain?.()
  }

  /** A queue keeps what it took; without one the exporter answers for itself. */
  get releases(): boolean {
    return this.#admission === undefined && this.#exporter.releases === true
  }

  /** A queue in memory holds the lease of what it keeps. */
  get leases(): boolean {
    return this.#stored === undefined && this.#exporter.releases === true
  }

  /** From shutdown() on, what waits here goes over there. A queue in a storage is inherited through its files. */
  handOver(heir: Consumer): void {
    if (this.#stored === undefined) this.#heir = heir
  }

  async consume(batch: Batch): Promise<void> {
    const queue = this.#sending.queue
    if (batch.itemCount === 0) return
    if (!queue || !this.#admission) return await this.#sendNow(batch)
    const size = sizeOf(batch, queue.sizer)
    const { detailed } = this.#settings
    try {
      const space = this.#admission.enter(size, batch.context.deadlineMs)
      if (space) await space
    } catch (error) {
      this.#refuse(batch, toError(error))
      throw error
    }
    detailed?.enqueueSize.record(batch.itemCount)
    detailed?.enqueueBytes.record(batch.byteLength)
    if (this.#stored) return await this.#store(this.#stored, batch, size)
    if (!queue.waitForResult) return this.#accept(batch, size, this.#held(batch))
    return await new Promise<void>((resolve, reject) => {
      this.#accept(batch, size, (error) => (error ? reject(error) : resolve()))
    })
  }

  async #store(stored: StoredQueue, batch: Batch, size: number): Promise<void> {
    try {
      await stored.append(batch, size)
    } catch (error) {
      this.#refuse(batch, toError(error), 'see what the storage says')
      throw error
    }
  }

  #refuse(batch: Batch, error: Error, known?: string): void {
    this.#settings.telemetry.enqueueFailed.add(batch.itemCount)
    const advice = known ?? refusalAdvice(error)
    const fields = { error: error.message, refused_items: batch.itemCount, advice }
    this.#settings.logger.warn('sending queue refused data', fields)
  }

  /** Told when it is sent, or dropped and counted; of what lies in a log also when the process stops. */
  #held({ itemCount, context: { delivery, lease } }: Batch): (error: Error | undefined) => void {
    lease?.hold()
    if (delivery === undefined) {
      this.#volatile.add(itemCount)
      return () => {
        lease?.release()
        this.#volatile.add(-itemCount)
      }
    }
    delivery.hold()
    return (error) => {
      lease?.release()
      delivery.settle(this.#stays(error) ? error : undefined)
    }
  }

  #accept(batch: Batch, size: number, settle: (error: Error | undefined) => void): void {
    this.#begin(batch, size, (entry) => {
      this.#admission?.leave(entry.size)
      if (entry.batch.context.lease === undefined) leavePayload(entry.batch.byteLength)
      settle(entry.error)
    })
  }

  #begin(batch: Batch, size: number, done: (entry: Entry) => void, attempted?: () => void): void {
    const entry: Entry = { batch, size, parts: 0, error: undefined, attempted, done }
    if (this.#batcher && !this.#stopped.reason) {
      this.#batcher.add(entry)
      return
    }
    entry.parts = 1
    this.#enqueueJob({ batch, entries: [entry] })
  }

  #enqueueJob(job: Job): void {
    this.#ready.push(job)
    if (this.#cutOff.reason) this.#dropQueued()
    else this.#pump()
  }

  /** Keeps num_consumers requests going. A request that waits for its retry occupies its consumer. */
  #pump(): void {
    const most = this.#heir !== undefined && this.#stopped.reason ? Number.POSITIVE_INFINITY : this.#maxActive
    while (this.#active < most && !this.#cutOff.reason) {
      const job = this.#ready.shift()
      if (!job) return
      void this.#run(job)
    }
  }

  async #run(job: Job): Promise<void> {
    const error = await this.#send(job.batch, this.#deadline(job), job.entries)
    for (const entry of job.entries) finishPart(entry, error)
    this.#pump()
    this.#stored?.feed()
    if (this.#active === 0) this.#onIdle?.()
  }

  /** Callers that wait for the result limit the retries; callers that were answered long ago do not. */
  #deadline(job: Job): number | undefined {
    if (!this.#sending.queue?.waitForResult) return undefined
    let earliest: number | undefined
    for (const { batch } of job.entries) {
      const deadlineMs = batch.context.deadlineMs
      if (deadlineMs !== undefined && (earliest === undefined || deadlineMs < earliest)) earliest = deadlineMs
    }
    return earliest
  }

  async #sendNow(batch: Batch): Promise<void> {
    if (this.#stopped.reason) {
      this.#settings.telemetry.sendFailed.add(batch.itemCount)
      throw this.#stopped.reason
    }
    const error = await this.#send(batch, batch.context.deadlineMs)
    if (this.#active === 0) this.#onIdle?.()
    if (error) throw error
  }

  /** Sends, counts, logs. Never rejects: the error comes back. */
  async #send(
    batch: Batch,
    deadlineMs: number | undefined,
    entries: readonly Entry[] = [],
  ): Promise<Error | undefined> {
    const { detailed } = this.#settings
    this.#inFlight.set(++this.#active)
    detailed?.sendSize.record(batch.itemCount)
    detailed?.sendBytes.record(batch.byteLength)
    const moved = this.#stopped.reason !== undefined && (await this.#leave(batch, entries))
    let outcome = moved ? MOVED : await this.#attempts(batch, deadlineMs, entries)
    const stays = outcome.sentItems === 0 && this.#stays(outcome.error)
    if (stays && (await this.#leave(batch, entries))) outcome = MOVED
    this.#inFlight.set(--this.#active)
    this.#settle(outcome, areInLog(entries))
    return outcome.error
  }

  #attempts(batch: Batch, deadlineMs: number | undefined, entries: readonly Entry[]): Promise<Outcome> {
    const { host, random = Math.random } = this.#settings
    return sendWithRetry(batch, deadlineMs, {
      retry: this.#sending.retry,
      clock: host.clock,
      stopped: this.#stopped,
      random,
      attempt: (part) => attempt(this.#exporter, part, this.#sending.timeoutMs, host.clock, this.#cutOff),
      onAttempt: (error) => {
        for (const entry of entries) entry.attempted?.()
        this.#health.note(error)
      },
      onWait: (error, waitMs, part) => this.#logWait(error, waitMs, part),
    }).catch((error): Outcome => ({ sentItems: 0, failedItems: batch.itemCount, error: toError(error) }))
  }

  /** Leaves a queued request to the heir; false when there is none or it does not take it. */
  async #leave(batch: Batch, entries: readonly Entry[]): Promise<boolean> {
    const [heir, admission, { queue }] = [this.#heir, this.#admission, this.#sending]
    if (!heir || !admission || !queue || entries.length === 0) return false
    const isLent = entries.some((entry) => entry.batch.context.lease !== undefined)
    const own = isLent ? batch.copy() : batch // The leases end with the entries.
    const moved = admission.moving(sizeOf(batch, queue.sizer), () => heir.consume(own))
    return await moved.then(() => true).catch(() => false)
  }

  #settle({ sentItems, failedItems, error }: Outcome, inLog: boolean): void {
    const { telemetry, logger } = this.#settings
    if (sentItems > 0) telemetry.sent.add(sentItems)
    if (failedItems === 0 || !error) return
    if (this.#staysStored(error) || (inLog && this.#stays(error))) {
      logger.info('not sent before the end; it stays in the storage', {
        error: error.message,
        items: failedItems,
      })
      return
    }
    this.#failureCounter(error).add(failedItems)
    if (holdsCaller(this.#sending)) {
      // The caller still has the data and decides; whoever drops it logs the loss.
      logger.warn('sending failed; the caller was told', { error: error.message, failed_items: failedItems })
      return
    }
    const advice = dropAdvice(error, this.#sending.retry.enabled, this.#stopped.reason !== undefined)
    logger.error('data dropped by exporter', { error: error.message, dropped_items: failedItems, advice })
  }

  #failureCounter(error: Error): Counter {
    const { telemetry, detailed } = this.#settings
    if (!detailed) return telemetry.sendFailed
    const type = error instanceof WeirError ? error.code : 'UNKNOWN'
    return telemetry.sendFailed.with({ error_type: type, error_permanent: String(!isRetryable(error)) })
  }

  #logWait(error: Error, waitMs: number, part: Batch): void {
    const fields = { error: error.message, items: part.itemCount, wait_ms: Math.round(waitMs) }
    this.#settings.logger.warn('sending failed; will be retried', fields)
  }

  shutdown(deadline: AbortSignal): Promise<void> {
    this.#closing ??= this.#close(deadline)
    return this.#closing
  }

  /** Stops retries, drains with one attempt each, cuts off what is left at the deadline, and counts it. */
  async #close(deadline: AbortSignal): Promise<void> {
    this.#admission?.close()
    this.#stored?.stop()
    this.#stopped.trip(new ShutdownError('exporter is shutting down'))
    this.#batcher?.flush()
    this.#pump()
    await this.#idleOr(deadline)
    this.#cutOff.trip(new ShutdownError('shutdown took too long'))
    if (this.#active > 0) await new Promise<void>((resolve) => setImmediate(resolve))
    this.#dropQueued()
    await this.#stored?.close()
    await this.#exporter.shutdown?.(deadline)
  }

  #idleOr(deadline: AbortSignal): Promise<void> {
    if (this.#active === 0 || deadline.aborted) return Promise.resolve()
    return new Promise<void>((resolve) => {
      const finish = () => {
        this.#onIdle = undefined
        deadline.removeEventListener('abort', finish)
        resolve()
      }
      this.#onIdle = finish
      deadline.addEventListener('abort', finish)
    })
  }

  #dropQueued(): void {
    const error = new ShutdownError('shut down before it could be sent')
    let items = 0
    let itemsInLog = 0
    for (let job = this.#ready.shift(); job; job = this.#ready.shift()) {
      if (areInLog(job.entries)) itemsInLog += job.batch.itemCount
      else items += job.batch.itemCount
      for (const entry of job.entries) finishPart(entry, error)
    }
    if (items > 0) this.#settle({ sentItems: 0, failedItems: items, error }, false)
    if (itemsInLog > 0) this.#settle({ sentItems: 0, failedItems: itemsInLog, error }, true)
  }
}

/** All requests of a job lie in logs of receivers. */
function areInLog(entries: readonly Entry[]): boolean {
  return entries.length > 0 && entries.every(({ batch }) => batch.context.delivery !== undefined)
}
