/** The log over a disk in memory: what comes back, in which order, and what is left on the disk. */
import { describe, expect, test } from 'vitest'
import { Disk, errno } from '../../test/faults/support/fs-shim.ts'
import { batchOf, FOLDER, openLog } from '../../test/faults/support/stored-log.ts'
import { namesOf } from '../../test/support/shell.ts'
import { RefusedError } from '../errors.ts'
import type { LogFiles } from './log-files.ts'
import type { Place } from './segment.ts'

const namesIn = async (log: LogFiles, places: readonly Place[]) => {
  const names: string[] = []
  for (const place of places) names.push(...namesOf(await log.read(place)))
  return names
}
const numbers = (count: number) => Array.from({ length: count }, (_, index) => `s${index}`)

describe('append, release, recover', () => {
  test('what was not released comes back in order, with its context; what was released does not', async () => {
    const disk = new Disk(1)
    const first = await openLog(disk)
    const context = {
      metadata: new Map([['x-tenant', ['a', 'b']]]),
      clientAddress: '127.0.0.1:1',
      transport: 'grpc',
      auth: new Map([['subject', 'me']]),
      deadlineMs: 5,
    }
    const places = await Promise.all(
      numbers(40).map((name) => first.log.append(batchOf(name, 200).withContext(context), 1)),
    )
    for (const [index, place] of places.entries()) if (index % 3 > 0) first.log.release(place)
    await first.log.flush()
    expect(first.read('storage_records')).toBe(14)
    disk.kill()
    const second = await openLog(disk)
    const want = numbers(40).filter((_, index) => index % 3 === 0)
    expect(await namesIn(second.log, second.recovered)).toEqual(want)
    const batch = await second.log.read(second.recovered[0]!)
    expect(batch).toMatchObject({ signal: 'traces', itemCount: 1 })
    expect(batch.context).toEqual({
      metadata: context.metadata,
      clientAddress: '127.0.0.1:1',
      transport: 'grpc',
    })
    expect(second.read('storage_recovered_records')).toBe(14)
    expect(second.read('storage_records')).toBe(14)
  })

  test('appends that wait together are written together', async () => {
    const disk = new Disk(1)
    const { log } = await openLog(disk, { segmentBytes: 1_000_000 })
    await log.append(batchOf('first'), 1)
    await log.flush()
    const before = disk.writes
    await Promise.all(numbers(50).map((name) => log.append(batchOf(name), 1)))
    expect(disk.writes - before).toBe(1)
  })

  test('a log in which nothing lives leaves no file behind', async () => {
    const disk = new Disk(1)
    const { log } = await openLog(disk)
    for (const name of numbers(30)) log.release(await log.append(batchOf(name, 500), 1))
    await log.close()
    expect(disk.paths()).toEqual([])
  })

  test('files in which nothing lives go while the log runs', async () => {
    const disk = new Disk(1)
    const { log, read } = await openLog(disk)
    for (const name of numbers(100)) {
      log.release(await log.append(batchOf(name, 500), 1))
      if (name.endsWith('0')) await log.flush()
    }
    await log.flush()
    expect(disk.paths().length).toBeLessThan(4)
    expect(read('storage_disk_bytes')).toBeLessThan(16_000)
  })

  test('closed with records in it, it comes back without a crash being counted', async () => {
    const disk = new Disk(1)
    const first = await openLog(disk, { inFlight: 2 })
    await Promise.all(numbers(3).map((name) => first.log.append(batchOf(name), 1)))
    await first.log.close()
    const second = await openLog(disk, { inFlight: 2 })
    expect(second.recovered.map((place) => place.crashes)).toEqual([0, 0, 0])
    expect(second.recovered.map((place) => place.suspect)).toEqual([false, false, false])
    await second.log.begin(second.recovered[0]!)
    await second.log.close()
    expect((await openLog(disk, { inFlight: 2 })).recovered.map((place) => place.crashes)).toEqual([0, 0, 0])
  })

  test('a record that is set aside is a file, counted, and gone from the log', async () => {
    const disk = new Disk(1)
    const { log, read } = await openLog(disk)
    const places = await Promise.all(numbers(3).map((name) => log.append(batchOf(name), 1)))
    await log.park(places[0]!)
    expect(disk.paths().filter((path) => path.includes('/parked/traces-'))).toHaveLength(1)
    expect(read('storage_parked_records')).toBe(1)
    await log.close()
    expect((await openLog(disk)).recovered).toHaveLength(2)
  })

  test('an old file that is mostly dead is compacted, and keeps its place in the order', async () => {
    const disk = new Disk(1)
    const { log, recovered } = await openLog(disk)
    expect(recovered).toEqual([])
    const stuck: Place[] = []
    for (const name of numbers(100)) {
      if (name.endsWith('0')) stuck.push(await log.append(batchOf(`stuck${name}`, 10), 1))
      log.release(await log.append(batchOf(name, 500), 1))
    }
    await log.flush()
    const oldest = stuck[0]?.segment
    await log.append(batchOf('young'), 1)
    await log.flush()
    expect(oldest?.number).toBeGreaterThan(5)
    expect(disk.paths().length).toBeLessThan(8)
    const names = stuck.map((_, index) => `stucks${index * 10}`)
    expect(await namesIn(log, stuck)).toEqual(names)
    disk.kill()
    const again = await openLog(disk)
    expect(await namesIn(again.log, again.recovered)).toEqual([...names, 'young'])
  })

  test('notes come back in order and live as long as the records that were there before them', async () => {
    const disk = new Disk(1)
    const first = await openLog(disk, { notes: true })
    const old = await first.log.append(batchOf('old'), 1)
    await first.log.note(7, Uint8Array.of(1, 2))
    for (const name of numbers(40)) first.log.release(await first.log.append(batchOf(name, 500), 1))
    await first.log.note(8, Uint8Array.of(3))
    await first.log.flush()
    disk.kill()
    const second = await openLog(disk, { notes: true })
    expect(second.log.notes.map(({ kind, payload }) => [kind, ...payload])).toEqual([
      [7, 1, 2],
      [8, 3],
    ])
    expect(second.recovered).toHaveLength(1)
    expect(old.released).toBe(false)
  })
})

describe('shards', () => {
  test('the files of more shards come together, those of living siblings stay alone', async () => {
    const disk = new Disk(1)
    for (let shard = 0; shard < 4; shard++) {
      const { log } = await openLog(disk, { shard, shards: 4 })
      await log.append(batchOf(`shard${shard}`), 1)
    }
    disk.kill()
    const zero = await openLog(disk, { shard: 0, shards: 2 })
    expect(await namesIn(zero.log, zero.recovered)).toEqual(['shard0', 'shard2'])
    await zero.log.append(batchOf('new'), 1)
    const one = await openLog(disk, { shard: 1, shards: 2 })
    expect(await namesIn(one.log, one.recovered)).toEqual(['shard1', 'shard3'])
    zero.log.release(zero.recovered[0]!)
    await zero.log.flush()
    // Shard 0 alone dies and comes back; shard 1 lives on.
    const again = await openLog(disk, { shard: 0, shards: 2 })
    expect(await namesIn(again.log, again.recovered)).toEqual(['shard2', 'new'])
    disk.kill()
    const single = await openLog(disk)
    const names = await namesIn(single.log, single.recovered)
    expect(names.sort()).toEqual(['new', 'shard1', 'shard2', 'shard3'])
    expect(single.lost('missing')).toBe(0)
  })
})

describe('a disk that fails', () => {
  test.each(['ENOSPC', 'EIO'])(
    '%s refuses the group retryably, and it recovers with the disk',
    async (code) => {
      const disk = new Disk(3)
      const { log, health, read } = await openLog(disk)
      const kept = await log.append(batchOf('before'), 1)
      disk.fault = (operation) => (operation === 'write' || operation === 'open' ? errno(code) : undefined)
      for (const name of numbers(3)) {
        await expect(log.append(batchOf(name), 1)).rejects.toThrow(RefusedError)
      }
      expect(health.map((error) => error?.message)).toEqual([`${code}: shim`])
      expect(read('storage_write_errors')).toBe(3)
      expect(read('storage_waiting_bytes')).toBe(0)
      disk.fault = undefined
      await log.append(batchOf('after'), 1)
      expect(health).toHaveLength(2)
      expect(kept.released).toBe(false)
      disk.kill()
      const again = await openLog(disk)
      expect(await namesIn(again.log, again.recovered)).toEqual(['before', 'after'])
      expect(again.lost('corrupt') + again.lost('torn') + again.lost('missing')).toBe(0)
    },
  )

  test('after a sync that failed, or a file that cannot be cut back, a new file is begun', async () => {
    for (const broken of [['sync'], ['write', 'truncate']]) {
      const disk = new Disk(5)
      const { log } = await openLog(disk, { fsync: true })
      await log.append(batchOf('before'), 1)
      disk.fault = (operation) => (broken.includes(operation) ? errno('EIO') : undefined)
      await expect(log.append(batchOf('refused', 300), 1)).rejects.toThrow(RefusedError)
      disk.fault = undefined
      await log.append(batchOf('after'), 1)
      const files = disk.paths().filter((path) => path.endsWith('.seg'))
      expect([...disk.fired.keys(), files.length]).toEqual([...broken, 2])
      disk.kill()
      const again = await openLog(disk, { fsync: true })
      expect(await namesIn(again.log, again.recovered)).toEqual(['before', 'after'])
      expect(again.lost('corrupt') + again.lost('torn')).toBe(0)
    }
  })

  test('a full disk is drained: dead files go although nothing can be written', async () => {
    const disk = new Disk(5)
    const { log } = await openLog(disk)
    const places = await Promise.all(numbers(30).map((name) => log.append(batchOf(name, 500), 1)))
    const before = disk.paths().length
    disk.fault = (operation) => (operation === 'write' || operation === 'open' ? errno('ENOSPC') : undefined)
    for (const place of places) log.release(place)
    await expect(log.flush()).rejects.toThrow('cannot be written')
    expect(before).toBeGreaterThan(0)
    const bytes = disk.paths().map((path) => disk.content(path)?.length ?? 0)
    expect(bytes.filter((length) => length > 0).length).toBeLessThan(2)
  })

  test.each([false, true])(
    'a disk that the newest file has filled alone gets free when all of it is released (notes: %s)',
    async (notes) => {
      const disk = new Disk(5)
      const settings = { segmentBytes: 1_000_000, notes }
      const { log, lost } = await openLog(disk, settings)
      const fill = async () => {
        const places: Place[] = []
        for (let full = false; !full; ) {
          await log.append(batchOf(`fill${places.length}`, 500), 1).then(
            (place) => void places.push(place),
            () => (full = true),
          )
        }
        return places
      }
      disk.capacity = 40_000
      for (let round = 0; round < 3; round++) {
        const places = await fill()
        expect(places.length).toBeGreaterThan(20)
        await expect(log.append(batchOf('refused', 500), 1)).rejects.toThrow(RefusedError)
        const [first, ...others] = places
        for (const place of others) log.release(place)
        await log.flush().catch(() => {})
        expect(await namesIn(log, [first!])).toEqual(['fill0'])
        log.release(first!)
        await log.flush().catch(() => {})
      }
      await log.append(batchOf('last', 500), 1)
      disk.kill()
      const again = await openLog(disk, settings)
      expect(await namesIn(again.log, again.recovered)).toEqual(['last'])
      expect([lost('missing'), again.lost('corrupt'), again.lost('torn'), again.lost('missing')]).toEqual([
        0, 0, 0, 0,
      ])
      again.log.release(again.recovered[0]!)
      await again.log.close()
      expect(disk.paths().filter((path) => !path.endsWith('.seg') && !path.endsWith('.tail'))).toEqual([])
    },
  )

  test('a process that is killed while the disk is full starts, and gets free', async () => {
    const disk = new Disk(6)
    const settings = { segmentBytes: 1_000_000 }
    const first = await openLog(disk, settings)
    disk.capacity = 30_000
    const places: Place[] = []
    for (let full = false; !full; )
      await first.log.append(batchOf(`s${places.length}`, 500), 1).then(
        (place) => void places.push(place),
        () => (full = true),
      )
    disk.kill()
    const { log, recovered } = await openLog(disk, settings)
    expect(await namesIn(log, recovered)).toEqual(numbers(places.length))
    for (const place of recovered) log.release(place)
    await log.flush().catch(() => {})
    await log.append(batchOf('after', 2000), 1)
    await log.flush()
    disk.kill()
    const again = await openLog(disk, settings)
    expect(await namesIn(again.log, again.recovered)).toEqual(['after'])
  })

  test('a record that is damaged later is counted and not handed out', async () => {
    const disk = new Disk(1)
    const { log, lost } = await openLog(disk)
    const places = [await log.append(batchOf('a', 50), 1), await log.append(batchOf('b', 50), 1)]
    const path = disk.paths()[0] ?? ''
    const bytes = Buffer.from(disk.content(path) ?? '')
    const at = (places[0]?.offset ?? 0) + 60
    bytes[at] = (bytes[at] ?? 0) ^ 1
    disk.put(path, bytes)
    await expect(log.read(places[0]!)).rejects.toThrow('cannot be read back')
    expect(lost('corrupt')).toBe(1)
    expect(places[0]?.released).toBe(true)
    expect(await namesIn(log, [places[1]!])).toEqual(['b'])
  })

  // In the second case there is one file all the time.
  test.each([4096, 1_000_000])(
    'size limit: storage is full until something is released (files of %i)',
    async (segmentBytes) => {
      const disk = new Disk(1)
      let used = 0
      const limit = {
        limit: 10_000,
        used: () => used,
        tryTake: (count: number) => used + count <= 10_000 && (used += count) > 0,
        take: (count: number) => void (used += count),
        give: (count: number) => void (used -= count),
      }
      const { log, read } = await openLog(disk, { limit, segmentBytes })
      const places: Place[] = []
      const refused = await (async () => {
        for (const name of numbers(100)) places.push(await log.append(batchOf(name, 500), 1))
      })().catch((error: unknown) => error)
      expect(refused).toMatchObject({ message: 'storage is full' })
      expect(places.length).toBeGreaterThan(10)
      expect(read('storage_refused_records', { reason: 'full' })).toBe(1)
      for (const place of places) log.release(place)
      await log.flush()
      await log.append(batchOf('perhaps', 500), 1).catch(() => {})
      await log.flush()
      await log.append(batchOf('again', 500), 1)
      await log.close()
      expect(used).toBe(0)
    },
  )

  test('foreign files are left alone', async () => {
    const disk = new Disk(1)
    disk.put(`${FOLDER}/notes.txt`, Buffer.from('hello'))
    disk.put(`${FOLDER}/0-0123456789abcdef-000001.seg`, Buffer.alloc(0))
    const { recovered, log } = await openLog(disk)
    expect(recovered).toEqual([])
    await log.close()
    expect(disk.paths()).toEqual([`${FOLDER}/notes.txt`])
  })
})
