/**
 * Requests that are answered once they lie in a log (`storage`), and stay there until every branch of the
 * pipelines is done with them.
 *
 * A request is stored, its sender answered, and then handed on like any other, with a delivery
 * (otlp/delivery.ts). When that ends well the record is released; when it ends with a retryable error the
 * record is read back and handed on again, later; for good, it is dropped and counted. What a crash left is
 * handed on as if it came in now, beside new requests.
 *
 * In memory is only what the next stage has not taken yet, up to PAYLOAD_BYTES: what comes beyond that
 * waits in the log.
 *
 * Longer than other files: it is the one place that knows what becomes of a record.
 */
import type { Consumer } from '../../component/define.ts'
import type { Host } from '../../component/host.ts'
import type { Logger } from '../../component/logger.ts'
import type { RecoveryReader } from '../../component/recovery.ts'
import type { Instruments } from '../../component/telemetry.ts'
import {
  isRetryable,
  PartialSuccess,
  RefusedError,
  RetryableError,
  ShutdownError,
  toError,
} from '../../errors.ts'
import { type Batch, SIGNALS, type Signal } from '../../otlp/batch.ts'
import { type Decisions, Delivery, type DeliveryOrigin, type Journal, NEW } from '../../otlp/delivery.ts'
import {
  CorruptRecordError,
  type DurableLog,
  isStorage,
  type StoredRecord,
  type Verdict,
} from '../../storage/log.ts'
import { workAlone } from '../../storage/suspects.ts'
import { Ages } from './ages.ts'
import type { durableTelemetry } from './durable-telemetry.ts'
import { type Held, Lane } from './lane.ts'
import { DECISIONS_NOTE, encodeNote, NotedDecisions } from './noted.ts'

/** Payload handed on and not taken yet, in all shards together. */
const PAYLOAD_BYTES = 64 * 1024 * 1024
/** Requests handed on and not taken yet, of one signal in this shard. */
const MOST_ACTIVE = 256
/** Requests read back at a time, of one signal in this shard. */
const READ_AT_A_TIME = 8
/** Requests that are not done with, in this shard; each takes some hundred bytes of memory. */
const MOST_HELD = 1_000_000
const TICK_MS = 250
/** Of what a crash left, so many that were not handed on are handed on alone: one of them may have caused it. */
const SUSPECTS = 64
/** StoredRecord.order is of about so many a second. */
const ORDER_PER_SECOND = 1_000_000
/** After so many failures in a row a request is written anew, so that the files before it can go. */
const RENEW_AFTER_FAILURES = 5

export interface DurableOptions {
  readonly id: string
  /** Id of the storage extension. */
  readonly storage: string
  readonly host: Host
  readonly logger: Logger
  readonly telemetry: Instruments<typeof durableTelemetry>
  readonly next: Readonly<Partial<Record<Signal, Consumer>>>
}

export class DurableIntake implements Journal {
  readonly name: string
  readonly #options: DurableOptions
  readonly #payloadLimit: number
  readonly #lanes: Readonly<Record<Signal, Lane>> = {
    traces: new Lane(),
    metrics: new Lane(),
    logs: new Lane(),
  }
  /** What an earlier run left: of which signal it is, is known when it is read. */
  readonly #recovered = new Lane()
  #reader: RecoveryReader | undefined
  #recoveredLeft = 0
  #log: DurableLog | undefined
  #noted: NotedDecisions | undefined
  #timer: { cancel(): void } | undefined
  #stopped = false
  /** Handed on and not taken yet. */
  #activeBytes = 0
  /** Handed on and not done with. */
  #open = 0
  #onIdle: (() => void) | undefined
  #count = 0
  #bytes = 0
  readonly #ages = new Ages()

  constructor(options: DurableOptions) {
    this.#options = options
    this.name = `receiver_${options.id}`
    this.#payloadLimit = PAYLOAD_BYTES / Math.max(1, options.host.shards)
  }

  /** Finds what the last run left, and begins to hand it on. */
  async start(): Promise<void> {
    const { host, storage, logger, telemetry } = this.#options
    const extension = host.extension(storage)
    if (!isStorage(extension)) throw new Error(`storage: extension "${storage}" is no storage`)
    this.#reader = host.recovery.reader()
    this.#log = await extension.openLog({
      name: this.name,
      inFlight: SUSPECTS,
      notes: true,
      onInherit: (records) => this.#recover(records),
    })
    this.#noted = new NotedDecisions(this.#log.takeNotes())
    const records = this.#log.takeRecovered()
    for (const { items } of records) telemetry.recovered.add(items)
    if (records.length > 0)
      logger.info('requests found in the log are handed on again', {
        requests: records.length,
        decisions: this.#noted.count,
      })
    this.#recover(records)
    this.#timer = host.clock.every(TICK_MS, () => this.#tick())
  }

  #recover(records: readonly StoredRecord[]): void {
    this.#reader?.found(records.length)
    const newest = records.at(-1)?.order ?? 0
    for (const record of records) {
      const held = this.#hold(record)
      held.recoveredAge = Math.max(0, (newest - record.order) / ORDER_PER_SECOND)
      this.#recovered.push(held)
    }
    this.#recoveredLeft += records.length
    setImmediate(() => this.#pump(this.#recovered))
  }

  /**
   * What the servers hand requests to: it takes them when they are stored. Their bytes are needed for
   * longer.
   */
  consumers(): Readonly<Partial<Record<Signal, Consumer>>> {
    const consumers: Partial<Record<Signal, Consumer>> = {}
    for (const signal of SIGNALS) {
      const next = this.#options.next[signal]
      if (next === undefined) continue
      consumers[signal] = {
        consume: (batch) => this.#receive(signal, next, batch),
        refusal: () => this.#refusal(next),
      }
    }
    return consumers
  }

  #refusal(next: Consumer): RefusedError | undefined {
    if (this.#count >= MOST_HELD) return new RefusedError('too many requests are not done with')
    return next.refusal?.()
  }

  async #receive(signal: Signal, next: Consumer, batch: Batch): Promise<void> {
    let record: StoredRecord
    try {
      const refusal = this.#refusal(next)
      if (refusal) throw refusal
      if (this.#log === undefined || this.#stopped) throw new ShutdownError('the receiver is stopping')
      record = await this.#log.append(batch)
    } catch (error) {
      next.answered?.(batch, false)
      throw error
    }
    next.answered?.(batch, true)
    const held = this.#hold(record)
    const lane = this.#lanes[signal]
    const full = this.#activeBytes + batch.byteLength > this.#payloadLimit || lane.active >= MOST_ACTIVE
    if (!full && !this.#stopped && !lane.busy(this.#nowMs())) void this.#handOn(held, batch, NEW)
    else {
      lane.push(held)
      this.#pump(lane)
    }
  }

  #nowMs(): number {
    return this.#options.host.clock.monotonicMs()
  }

  async #handOn(held: Held, batch: Batch, origin: DeliveryOrigin): Promise<void> {
    const { signal, byteLength, itemCount, context } = batch
    const lane = this.#lanes[signal]
    // It lives until the request is done with, and must not keep the payload.
    const delivery = new Delivery(this, origin, (error) => {
      this.#ended(held, signal, itemCount, error)
      if (--this.#open === 0) this.#onIdle?.()
    })
    this.#open++
    let failure: unknown
    lane.active++
    this.#activeBytes += byteLength
    try {
      const { next } = this.#options
      await next[signal]?.consume(batch.withContext({ ...context, deadlineMs: undefined, delivery }))
      lane.taken()
    } catch (error) {
      failure = error ?? new Error('the next stage failed without an error')
      if (isRetryable(error)) lane.refused(this.#nowMs(), askedMs(error))
    }
    lane.active--
    this.#activeBytes -= byteLength
    this.#log?.clear(held.record)
    delivery.settle(failure)
    this.#pump(lane)
  }

  #ended(held: Held, signal: Signal, items: number, error: unknown): void {
    if (error === undefined || error instanceof PartialSuccess) {
      this.#release(held)
      return
    }
    const { telemetry, logger } = this.#options
    if (isRetryable(error)) {
      if (this.#stopped) return // It is for the next run.
      telemetry.retried.add(1)
      this.#lanes[signal].retry(held, this.#nowMs(), askedMs(error))
      return
    }
    telemetry.droppedItems.with({ signal, reason: 'refused' }).add(items)
    logger.error('a stored request was refused for good; it is dropped', {
      items,
      error: toError(error).message,
    })
    this.#release(held)
  }

  /** Reads back what can be handed on now. */
  #pump(lane: Lane): void {
    while (!this.#stopped && lane.reading < READ_AT_A_TIME && this.#activeBytes < this.#payloadLimit) {
      const held = lane.peek(this.#nowMs())
      if (held === undefined) return
      const { suspect } = held.record
      if (lane.alone || (suspect && lane.reading > 0)) return
      lane.shift()
      const verdict = suspect ? this.#log?.judge(held.record) : 'try'
      if (verdict === 'later') {
        lane.postpone(held, this.#nowMs())
        this.#seen(held)
        continue
      }
      lane.alone = suspect
      lane.reading++
      const before = lane.turn
      const { promise, resolve } = Promise.withResolvers<void>()
      lane.turn = promise
      void this.#readBack(held, verdict, before, resolve).finally(() => {
        resolve()
        this.#seen(held)
        lane.reading--
        lane.alone = false
        this.#pump(lane)
      })
    }
  }

  /**
   * Several are read at a time; they are handed on in order: after `before`, which `handed` is for the
   * next.
   */
  async #readBack(
    held: Held,
    verdict: Verdict | undefined,
    before: Promise<void>,
    handed: () => void,
  ): Promise<void> {
    const { logger, telemetry } = this.#options
    const { record } = held
    try {
      if (verdict === 'park') return await this.#park(held)
      const batch = await this.#log?.read(record)
      if (batch === undefined || this.#stopped) return
      telemetry.replayed.add(batch.itemCount)
      if (held.failures >= RENEW_AFTER_FAILURES) await this.#renew(held, batch)
      await before
      const work = () => {
        const taken = this.#replay(held, batch)
        handed()
        return taken
      }
      if (record.suspect && this.#log) await workAlone(this.#log, record, work)
      else await work()
    } catch (error) {
      // The log has told what happened to it, and let go of it.
      if (error instanceof CorruptRecordError) this.#forget(held)
      if (error instanceof CorruptRecordError || this.#stopped) return
      logger.error('a stored request cannot be read back now', { error: toError(error).message })
      this.#recovered.retry(held, this.#nowMs(), 0)
    }
  }

  async #replay(held: Held, batch: Batch): Promise<void> {
    if (this.#stopped) return
    const { signal, itemCount: items } = batch
    const { next, logger } = this.#options
    if (next[signal] !== undefined) return await this.#handOn(held, batch, this.#origin(held, batch))
    logger.warn('a stored request waits: no pipeline takes its signal from this receiver', { signal, items })
  }

  #origin(held: Held, batch: Batch): DeliveryOrigin {
    if (held.recoveredAge === undefined) return NEW
    const age = held.recoveredAge + this.#nowMs() / 1000 - held.second
    return { decided: this.#noted?.of(batch) ?? NEW.decided, recoveredAge: Math.floor(age) }
  }

  /** Of what a crash left, this has been handed on once, or has to wait longer than others should for it. */
  #seen(held: Held): void {
    if (held.seen || held.recoveredAge === undefined) return
    held.seen = true
    this.#reader?.handedOn()
  }

  /** Moves the record to the end of the log. */
  async #renew(held: Held, batch: Batch): Promise<void> {
    const copy = await this.#log?.append(batch).catch(() => undefined)
    if (copy === undefined) return // There is no room for a copy now.
    this.#log?.release(held.record)
    held.record = copy
    held.failures = 1
  }

  async #park(held: Held): Promise<void> {
    const { telemetry } = this.#options
    const { items } = held.record
    await this.#log?.park(held.record)
    telemetry.parked.add(items)
    this.#forget(held)
  }

  async note(decisions: Decisions): Promise<void> {
    try {
      await this.#log?.note(DECISIONS_NOTE, encodeNote(decisions))
    } catch (error) {
      const fields = { stage: decisions.stage, error: toError(error).message }
      this.#options.logger.warn('decisions could not be noted in the log', fields)
    }
  }

  #hold(record: StoredRecord): Held {
    const second = Math.floor(this.#nowMs() / 1000)
    this.#ages.add(second)
    this.#count++
    this.#bytes += record.byteLength
    return { record, failures: 0, dueMs: 0, second, recoveredAge: undefined, seen: false }
  }

  #release(held: Held): void {
    this.#log?.release(held.record)
    this.#forget(held)
  }

  #forget({ record, second, recoveredAge }: Held): void {
    if (recoveredAge !== undefined && --this.#recoveredLeft === 0) this.#noted = undefined // Nobody asks for it any more.
    this.#count--
    this.#bytes -= record.byteLength
    this.#ages.remove(second)
  }

  #tick(): void {
    this.#pump(this.#recovered)
    for (const signal of SIGNALS) this.#pump(this.#lanes[signal])
    const { telemetry } = this.#options
    telemetry.records.set(this.#count)
    telemetry.bytes.set(this.#bytes)
    telemetry.waitingBytes.set(this.#activeBytes)
    telemetry.oldestAge.set(this.#ages.oldest(this.#nowMs()))
  }

  /** Nothing more is handed on. What is under way may still end, and is released then. */
  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
  }

  /** What is not done with stays for the next run. */
  async close(): Promise<void> {
    const { logger, telemetry } = this.#options
    this.stop()
    this.#reader?.close()
    if (this.#count > 0)
      logger.info('requests that are not done with stay in the log', { requests: this.#count })
    for (const gauge of [telemetry.records, telemetry.bytes, telemetry.waitingBytes, telemetry.oldestAge])
      gauge.set(0)
    if (this.#open === 0) return await this.#log?.close()
    // A reload that keeps the pipelines: they still hold requests. Its successor gets what is left when they are done.
    this.#onIdle = () => void this.#log?.close().catch(() => {})
    await this.#log?.flush().catch(() => {})
  }
}

function askedMs(error: unknown): number {
  return error instanceof RetryableError ? (error.retryAfterMs ?? 0) : 0
}
