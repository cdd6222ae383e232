/**
 * Scenario: the receiver's log with `fsync: true` on a disk that forgets, at seeded moments, what was not
 * synced; in between it is full, fails or is read-only for a while. Behind the receiver a stage takes,
 * holds, finishes and refuses requests at random. Guarantee: what was acknowledged and not finished is
 * handed on by the next run; nothing is invented; damage is never found. What the cut cost is data that
 * nobody was told is stored.
 */
import { expect, test } from 'vitest'
import { silentLogger } from '../../src/component/logger.ts'
import { RetryableError } from '../../src/errors.ts'
import type { Batch } from '../../src/otlp/batch.ts'
import type { Delivery } from '../../src/otlp/delivery.ts'
import { DurableIntake } from '../../src/receivers/otlp/durable.ts'
import { durableTelemetry } from '../../src/receivers/otlp/durable-telemetry.ts'
import type { LogOptions } from '../../src/storage/log.ts'
import { openSharedLog } from '../../src/storage/shared-logs.ts'
import { TestHost } from '../support/host.ts'
import { TestMeter } from '../support/meter.ts'
import { eventually } from '../support/peers.ts'
import { namesOf } from '../support/shell.ts'
import { Disk, errno, random } from './support/fs-shim.ts'
import { report, SEED, times } from './support/settings.ts'
import { batchOf, openLog } from './support/stored-log.ts'

const SEEDS = times(10, 100)
const LIVES = 4
const DISK_FAULTS = ['ENOSPC', 'EIO', 'EROFS']

interface Books {
  readonly sent: Set<string>
  readonly acked: Set<string>
  /** The stage was done with them: they may come again, or not. */
  readonly finished: Set<string>
  refused: number
  lost: number
  unstored: number
  handedOnAgain: number
}

/** One run of the receiver, until the power goes. */
async function run(disk: Disk, draw: () => number, books: Books, life: string) {
  const host = new TestHost()
  const meter = new TestMeter()
  const seen = new Set<string>()
  const held: { name: string; delivery: Delivery }[] = []
  let dead = false
  const consume = async (batch: Batch) => {
    if (dead) return new Promise<void>(() => {})
    const [name = ''] = namesOf(batch)
    expect(books.sent.has(name)).toBe(true)
    seen.add(name)
    const { delivery } = batch.context
    if (delivery === undefined) throw new TypeError('no delivery')
    if (draw() < 0.1) throw new RetryableError('not now')
    delivery.hold()
    held.push({ name, delivery })
  }
  // Each life has a name of its own for the log that is shared in this thread.
  const openLogOf = (options: LogOptions) =>
    openSharedLog(life, options, () =>
      openLog(disk, { fsync: true, notes: true, inFlight: 8 }).then(({ log, recovered, lost }) => {
        expect(lost('corrupt') + lost('missing')).toBe(0)
        return { log, recovered: [...recovered] }
      }),
    )
  host.extensions.set('file_storage', { openLog: openLogOf })
  const intake = new DurableIntake({
    ...{ id: 'otlp', storage: 'file_storage', host, logger: silentLogger },
    telemetry: meter.instruments(durableTelemetry, {}),
    next: { traces: { consume } },
  })
  await intake.start()
  const end = () => {
    dead = true
    disk.powerCut()
  }
  return { host, intake, seen, held, end }
}

type Life = Awaited<ReturnType<typeof run>>

/** What the last run owed is handed on by this one. */
async function checkOwed(seed: number, { host, seen }: Life, owed: readonly string[], books: Books) {
  const missing = () => owed.filter((name) => !seen.has(name))
  await eventually(
    async () => {
      await host.clock.advance(1000) // What the stage refused comes again.
      return missing().length
    },
    (count) => count === 0,
    10_000,
  ).catch(() => {
    books.lost += missing().length
  })
  expect([seed, missing()]).toEqual([seed, []])
  books.handedOnAgain += owed.length
}

async function powerCuts(seed: number, books: Books): Promise<number> {
  const disk = new Disk(seed)
  const draw = random(seed * 104_729)
  let serial = 0
  let faults = 0
  for (let life = 0; life <= LIVES; life++) {
    disk.fault = undefined
    disk.leave(Number.POSITIVE_INFINITY)
    const owed = [...books.acked].filter((name) => name.startsWith(`${seed}-`) && !books.finished.has(name))
    const current = await run(disk, draw, books, `/power-cut/${seed}/${life}`)
    await checkOwed(seed, current, owed, books)
    if (life === LIVES) {
      current.end()
      break
    }
    const consumer = current.intake.consumers().traces
    const steps = 20 + Math.floor(draw() * 80)
    for (let step = 0; step < steps; step++) {
      if (draw() < 0.03) {
        const code = DISK_FAULTS[Math.floor(draw() * DISK_FAULTS.length)] ?? 'EIO'
        faults++
        disk.fault = (operation) =>
          operation === 'write' || operation === 'sync' || operation === 'open' ? errno(code) : undefined
      } else if (draw() < 0.2) {
        disk.fault = undefined
        disk.leave(draw() < 0.2 ? draw() * 8000 : Number.POSITIVE_INFINITY)
      }
      const name = `${seed}-${serial++}`
      books.sent.add(name)
      const taken = consumer?.consume(batchOf(name, Math.floor(draw() ** 3 * 2000))).then(
        () => void books.acked.add(name),
        () => void books.refused++,
      )
      if (draw() < 0.6) await taken
      if (draw() < 0.5) {
        const [done] = current.held.splice(Math.floor(draw() * current.held.length), 1)
        if (done) books.finished.add(done.name)
        done?.delivery.settle()
      }
    }
    current.end()
  }
  books.unstored += [...books.sent].filter(
    (name) => name.startsWith(`${seed}-`) && !books.acked.has(name),
  ).length
  return faults
}

test(`power cuts with fsync, over a disk that fails now and then: nothing acknowledged is lost (${SEEDS} seeds)`, async () => {
  const books: Books = {
    sent: new Set(),
    acked: new Set(),
    finished: new Set(),
    refused: 0,
    lost: 0,
    unstored: 0,
    handedOnAgain: 0,
  }
  let faults = 0
  for (let index = 0; index < SEEDS; index++) faults += await powerCuts(SEED * 1000 + index, books)
  report('power cut, fsync: true', `${SEEDS} seeds, ${SEEDS * LIVES} cuts, ${faults} disk faults`, {
    'requests acknowledged': books.acked.size,
    lost: books.lost,
    'handed on again after a cut': books.handedOnAgain,
    'refused while the disk failed': books.refused,
    'sent and never acknowledged': books.unstored,
  })
  expect(books.acked.size).toBeGreaterThan(SEEDS * 50)
  expect(books.handedOnAgain).toBeGreaterThan(SEEDS)
  expect(books.refused).toBeGreaterThan(0)
  expect(books.unstored).toBeGreaterThan(books.refused) // Some requests were under way when the power went.
}, 900_000)
