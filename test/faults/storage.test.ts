/**
 * The durable log under faults: random lives against a model, power cuts, and damage done to its files. Every schedule comes from a
 * seed, which a failure names. What is promised: docs/storage.md. WEIR_RUNS=500 runs them all.
 */
import { expect, test } from 'vitest'
import type { Batch } from '../../src/otlp/batch.ts'
import type { LogFiles } from '../../src/storage/log-files.ts'
import type { Place } from '../../src/storage/segment.ts'
import { namesOf } from '../support/shell.ts'
import { Disk, errno, random } from './support/fs-shim.ts'
import { report } from './support/settings.ts'
import { batchOf, openLog } from './support/stored-log.ts'

/** How many seeds: part of them unless told otherwise. */
const runs = (part: number) => Number(process.env['WEIR_RUNS'] ?? part)

type Life = Awaited<ReturnType<typeof openLog>>

const padding = (name: string, draw: () => number) => batchOf(name, Math.floor(draw() ** 3 * 2000))

/** Reads everything, and checks that each batch is byte for byte what was appended under its name. */
async function readAll(log: LogFiles, places: readonly Place[], appended: ReadonlyMap<string, Batch>) {
  const found = new Map<string, Place>()
  for (const place of places) {
    const batch = await log.read(place)
    const [name = ''] = namesOf(batch)
    const original = appended.get(name)
    if (!original || Buffer.compare(batch.bytes(), original.bytes()) !== 0)
      throw new Error(`corrupt: ${name}`)
    found.set(name, place)
  }
  return found
}

const lossesOf = (life: Life) => life.lost('corrupt') + life.lost('torn') + life.lost('missing')

/**
 * Scenario: appends, releases, failing disks, kills, orderly stops and other numbers of shards, in random order.
 * Guarantee: acknowledged and not released comes back; released and written does not; nothing is invented; no damage is found.
 */
async function randomLives(seed: number): Promise<void> {
  const disk = new Disk(seed)
  const draw = random(seed * 7919)
  const appended = new Map<string, Batch>()
  const acked = new Set<string>()
  const released = new Set<string>() // Perhaps not written yet.
  const gone = new Set<string>() // Released, and that is written.
  let serial = 0
  for (let life = 0; life < 6; life++) {
    disk.fault = undefined
    const shards = 1 + Math.floor(draw() * 3)
    const lives: Life[] = []
    const held: Map<string, Place>[] = []
    for (let shard = 0; shard < shards; shard++) {
      const opened = await openLog(disk, { shard, shards, inFlight: 3 })
      // A write that failed and could not be cut back may end torn: nobody was told that it was stored.
      expect(opened.lost('corrupt') + opened.lost('missing')).toBe(0)
      const found = await readAll(opened.log, opened.recovered, appended)
      const orders = opened.recovered.map((place) => place.order)
      expect(orders).toEqual(orders.toSorted((a, b) => a - b))
      lives.push(opened)
      held.push(found)
    }
    const all = new Set(held.flatMap((found) => [...found.keys()]))
    for (const name of acked) if (!released.has(name)) expect([seed, all.has(name)]).toEqual([seed, true])
    for (const name of gone) expect([seed, all.has(name)]).toEqual([seed, false])
    for (const name of all) released.delete(name) // Not written when the process died.
    for (let step = 0; step < 60; step++) {
      const shard = Math.floor(draw() * shards)
      const { log } = lives[shard]!
      const mine = held[shard]!
      const choice = draw()
      if (choice < 0.5) {
        const name = `r${serial++}`
        const batch = padding(name, draw)
        appended.set(name, batch)
        const appending = log.append(batch, 1).then((place) => {
          acked.add(name)
          mine.set(name, place)
        })
        if (draw() < 0.5) await appending.catch(() => {})
        else appending.catch(() => {})
      } else if (choice < 0.85) {
        for (const [name, place] of mine) {
          if (draw() < 0.5) continue
          mine.delete(name)
          released.add(name)
          log.release(place)
          break
        }
      } else if (choice < 0.9 && !disk.fault) {
        const before = [...released]
        const written = await log.flush().then(
          () => true,
          () => false, // What was under way failed with the disk that is well again.
        )
        if (shards === 1 && written) for (const name of before) gone.add(name)
      } else if (choice < 0.92) {
        disk.leave(draw() < 0.5 ? draw() * 8000 : Number.POSITIVE_INFINITY)
      } else if (choice < 0.95) {
        const code = draw() < 0.5 ? 'ENOSPC' : 'EIO'
        disk.fault = (operation) =>
          draw() < 0.7 && operation !== 'read' && operation !== 'remove' ? errno(code) : undefined
      } else disk.fault = undefined
    }
    disk.fault = undefined
    disk.capacity = Number.POSITIVE_INFINITY
    if (draw() < 0.4) for (const { log } of lives) await log.close()
    disk.kill()
  }
}

test('random lives: what is acknowledged comes back, what is released does not', async () => {
  for (let seed = 1; seed <= runs(20); seed++)
    await randomLives(seed).catch((error: unknown) => {
      throw new Error(`seed ${seed}`, { cause: error })
    })
}, 300_000)

/**
 * Scenario: the power goes at a random moment, again and again; only synced bytes surely survive.
 * Guarantee: with `fsync: true` nothing that was acknowledged is lost. The cut did cost something: data nobody was told of.
 */
async function powerCuts(seed: number): Promise<{ acked: number; cost: number }> {
  const disk = new Disk(seed)
  const draw = random(seed * 104_729)
  const appended = new Map<string, Batch>()
  const acked = new Set<string>()
  const released = new Set<string>()
  let serial = 0
  let cost = 0
  for (let life = 0; life < 4; life++) {
    disk.leave(Number.POSITIVE_INFINITY)
    const { log, recovered, lost } = await openLog(disk, { fsync: true })
    const found = await readAll(log, recovered, appended)
    for (const name of acked) if (!released.has(name)) expect([seed, found.has(name)]).toEqual([seed, true])
    expect(lost('corrupt') + lost('missing')).toBe(0)
    cost += [...appended.keys()].filter((name) => !acked.has(name) && !found.has(name)).length
    const places = [...found]
    const steps = Math.floor(draw() * 80)
    for (let step = 0; step < steps; step++) {
      const name = `p${serial++}`
      const batch = padding(name, draw)
      appended.set(name, batch)
      const appending = log.append(batch, 1).then((place) => {
        acked.add(name)
        places.push([name, place])
      })
      appending.catch(() => {})
      if (draw() < 0.1) disk.leave(draw() < 0.7 ? draw() * 8000 : Number.POSITIVE_INFINITY)
      if (draw() < 0.6) await appending.catch(() => {})
      if (draw() < 0.5) {
        const [done] = places.splice(Math.floor(draw() * places.length), 1)
        if (done) released.add(done[0])
        if (done) log.release(done[1])
      }
    }
    disk.powerCut()
  }
  return { acked: acked.size, cost }
}

test('power cuts with fsync: nothing acknowledged is lost', async () => {
  let acked = 0
  let cost = 0
  for (let seed = 1; seed <= runs(25); seed++) {
    const result = await powerCuts(seed)
    acked += result.acked
    cost += result.cost
  }
  expect(acked).toBeGreaterThan(500)
  expect(cost).toBeGreaterThan(10)
}, 300_000)

/** A log of several files, some of it released, as a killed process leaves it. */
async function damaged(seed: number) {
  const disk = new Disk(seed)
  const draw = random(seed * 15_485_863)
  const appended = new Map<string, Batch>()
  const alive = new Set<string>()
  const { log } = await openLog(disk)
  for (let index = 0; index < 60; index++) {
    const name = `d${index}`
    const batch = padding(name, draw)
    appended.set(name, batch)
    const place = await log.append(batch, 1)
    if (draw() < 0.4) log.release(place)
    else alive.add(name)
    if (draw() < 0.2) await log.flush()
  }
  await log.flush()
  const closed = draw() < 0.5
  if (closed) await log.close()
  disk.kill()
  return { disk, draw, appended, alive }
}

type Damage = 'tear' | 'flip' | 'cut out' | 'delete' | 'swap' | 'copy' | 'insert' | 'zero'
const DAMAGES: readonly Damage[] = ['tear', 'flip', 'cut out', 'delete', 'swap', 'copy', 'insert', 'zero']

function doDamage(disk: Disk, draw: () => number, damage: Damage): void {
  // Which file is which must be told by more than a name only among those of the log.
  const besides = damage === 'swap' ? /\.(?:spare|tail)$/ : /\.spare$/
  const paths = disk.paths().filter((path) => !besides.test(path))
  const pick = Math.floor(draw() * paths.length)
  const path = paths[pick] ?? ''
  const bytes = Buffer.from(disk.content(path) ?? '')
  const at = Math.floor(draw() * bytes.length)
  const length = 1 + Math.floor(draw() * 100)
  if (damage === 'tear') disk.put(path, bytes.subarray(0, at))
  else if (damage === 'flip') {
    bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(draw() * 8))
    disk.put(path, bytes)
  } else if (damage === 'cut out') {
    disk.put(path, Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]))
  } else if (damage === 'delete') disk.put(path, undefined)
  else if (damage === 'swap') {
    const other = paths[Math.floor(draw() * paths.length)] ?? ''
    const content = Buffer.from(disk.content(other) ?? '')
    disk.put(other, bytes)
    disk.put(path, content)
  } else if (damage === 'copy') disk.put(path.replace(/-\d{6}\.seg$/, '-900000.seg'), bytes)
  else if (damage === 'insert') {
    const garbage = Buffer.from(Array.from({ length }, () => Math.floor(draw() * 256)))
    disk.put(path, Buffer.concat([bytes.subarray(0, at), garbage, bytes.subarray(at)]))
  } else disk.put(path, bytes.fill(0, at, Math.min(at + length, bytes.length)))
}

test('corruptions: it starts, delivers nothing corrupt, and counts what is lost', async () => {
  const lostBy = new Map<Damage, number>()
  const totals = { alive: 0, lost: 0, counted: 0 }
  for (let seed = 1; seed <= runs(96); seed++) {
    const { disk, draw, appended, alive } = await damaged(seed)
    const damage = DAMAGES[seed % DAMAGES.length] ?? 'flip'
    doDamage(disk, draw, damage)
    const life = await openLog(disk)
    const found = await readAll(life.log, life.recovered, appended)
    const lost = [...alive].filter((name) => !found.has(name)).length
    lostBy.set(damage, (lostBy.get(damage) ?? 0) + lost)
    totals.alive += alive.size
    totals.lost += lost
    totals.counted += lossesOf(life)
    const label = `seed ${seed} ${damage}`
    expect([label, lossesOf(life)]).toEqual([label, lost])
    // It is counted once, and the log works on.
    await life.log.append(batchOf('after'), 1)
    disk.kill()
    const again = await openLog(disk)
    appended.set('after', batchOf('after'))
    const still = await readAll(again.log, again.recovered, appended)
    expect([label, lossesOf(again), again.read('storage_corrupt_bytes', { reason: 'damage' })]).toEqual([
      label,
      0,
      0,
    ])
    expect([...still.keys()].sort()).toEqual([...found.keys(), 'after'].sort())
  }
  const kinds = [...lostBy].map(([damage, lost]) => `${damage} ${lost}`).join(', ')
  report('corruptions of the log', `${runs(96)} corruptions; records hit: ${kinds}`, {
    'records not released': totals.alive,
    'lost to the damage': totals.lost,
    'counted as lost': totals.counted,
  })
  // The damage did hit records.
  for (const damage of ['tear', 'flip', 'cut out', 'delete', 'zero'] as const)
    expect([damage, (lostBy.get(damage) ?? 0) > 1]).toEqual([damage, true])
  expect(lostBy.get('swap')).toBe(0)
  expect(lostBy.get('copy')).toBe(0)
}, 300_000)
