/**
 * The logs that are open in this thread, by folder. Each user has a client; a reload opens the log of the new configuration while the
 * old one is still at work, so clients share the files, and the last one inherits what the others leave.
 */
import type { Batch } from '../otlp/batch.ts'
import type { DurableLog, LogOptions, Note, Recovered, StoredRecord, Verdict } from './log.ts'
import { CorruptRecordError } from './log.ts'
import type { LogFiles } from './log-files.ts'
import { Place } from './segment.ts'

interface Opened {
  readonly log: LogFiles
  readonly recovered: Place[]
}

interface Shared {
  readonly opening: Promise<Opened>
  readonly clients: LogClient[]
}

const open = new Map<string, Shared>()
const closing = new Map<string, Promise<void>>()

export async function openSharedLog(
  folder: string,
  options: LogOptions,
  make: () => Promise<Opened>,
): Promise<DurableLog> {
  await closing.get(folder)
  const known = open.get(folder)
  const shared = known ?? { opening: make(), clients: [] }
  if (!known) {
    open.set(folder, shared)
    shared.opening.catch(() => open.delete(folder))
  }
  const { log, recovered } = await shared.opening
  const client = new LogClient(log, options, shared.clients, (leaving) => leave(folder, shared, log, leaving))
  shared.clients.push(client)
  client.take(recovered.splice(0), log.notes.splice(0))
  return client
}

async function leave(folder: string, shared: Shared, log: LogFiles, client: LogClient): Promise<void> {
  await log.flush().catch(() => {})
  const index = shared.clients.indexOf(client)
  if (index < 0) return
  shared.clients.splice(index, 1)
  const heir = shared.clients.at(-1)
  if (heir) {
    heir.inherit(log.heldBy(client))
    if (index === 0) shared.clients[0]?.first()
    return
  }
  open.delete(folder)
  const closed = log.close().finally(() => closing.delete(folder))
  closing.set(folder, closed)
  await closed
}

class LogClient implements DurableLog {
  readonly #log: LogFiles
  readonly #options: LogOptions
  /** All that have the log open, in the order in which they opened it. */
  readonly #clients: readonly LogClient[]
  readonly #leave: (client: LogClient) => Promise<void>
  #recovered: Place[] = []
  #notes: Note[] = []

  constructor(
    log: LogFiles,
    options: LogOptions,
    clients: readonly LogClient[],
    leave: (client: LogClient) => Promise<void>,
  ) {
    this.#log = log
    this.#options = options
    this.#clients = clients
    this.#leave = leave
  }

  take(recovered: Place[], notes: Note[]): void {
    for (const place of recovered) place.holder = this
    this.#recovered = recovered
    this.#notes = notes
  }

  inherit(places: Place[]): void {
    for (const place of places) place.holder = this
    if (places.length > 0) this.#options.onInherit?.(places)
  }

  first(): void {
    this.#options.onFirst?.()
  }

  get isFirst(): boolean {
    return this.#clients[0] === this
  }

  get diskBytes(): number {
    return this.#log.diskBytes
  }

  append(batch: Batch): Promise<StoredRecord> {
    return this.#log.append(batch, this)
  }

  release(record: StoredRecord): void {
    this.#log.release(placeOf(record))
  }

  read(record: StoredRecord): Promise<Batch> {
    return this.#log.read(placeOf(record))
  }

  judge(record: StoredRecord): Verdict {
    return this.#log.judge(placeOf(record))
  }

  begin(record: StoredRecord): Promise<void> {
    return this.#log.begin(placeOf(record))
  }

  clear(record: StoredRecord): void {
    this.#log.clear(placeOf(record))
  }

  takeRecovered(): StoredRecord[] {
    const recovered = this.#recovered
    this.#recovered = []
    return recovered
  }

  async *recover(): AsyncGenerator<Recovered, void, void> {
    const records = this.takeRecovered()
    const read = (record: StoredRecord) =>
      this.read(record).catch((error: unknown) => {
        if (error instanceof CorruptRecordError) return undefined
        throw error
      })
    let ahead: Promise<Batch | undefined> | undefined
    for (const [index, record] of records.entries()) {
      const batch = await (ahead ?? read(record))
      const next = records[index + 1]
      ahead = next && read(next)
      ahead?.catch(() => {}) // Seen at the next turn.
      if (batch) yield { record, batch }
    }
  }

  note(kind: number, payload: Uint8Array): Promise<void> {
    return this.#log.note(kind, payload)
  }

  takeNotes(): Note[] {
    const notes = this.#notes
    this.#notes = []
    return notes
  }

  park(record: StoredRecord): Promise<void> {
    return this.#log.park(placeOf(record))
  }

  flush(): Promise<void> {
    return this.#log.flush()
  }

  close(): Promise<void> {
    return this.#leave(this)
  }
}

function placeOf(record: StoredRecord): Place {
  if (record instanceof Place) return record
  throw new RangeError('not a record of this log')
}
