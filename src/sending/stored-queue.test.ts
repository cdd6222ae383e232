/** The sending queue on a disk: what is accepted survives, in order, and is sent once. */
import { describe, expect, test } from 'vitest'
import { Disk, errno } from '../../test/faults/support/fs-shim.ts'
import { FOLDER, openLog } from '../../test/faults/support/stored-log.ts'
import { TestHost } from '../../test/support/host.ts'
import { makeShell, never, outcome, spans } from '../../test/support/shell.ts'
import type { Budget } from '../component/host.ts'
import { DownstreamError, RefusedError, RetryableError } from '../errors.ts'
import { openSharedLog } from '../storage/shared-logs.ts'

let folders = 0

/** Each life is a process with the same disk. */
function onDisk(disk: Disk) {
  const folder = `${FOLDER}${folders++}`
  return async (
    queue: object = {},
    retry: object = {},
    uptime: number | (() => number) = 60_000,
    turn?: Budget,
  ) => {
    const host = new TestHost()
    const logs: Awaited<ReturnType<typeof openLog>>[] = []
    host.extensions.set('file_storage', {
      openLog: (options: { name: string; inFlight: number }) =>
        openSharedLog(`${folder}${host.clock.monotonicMs()}${Math.random()}`, options, async () => {
          const { inFlight } = options
          const uptimeMs = typeof uptime === 'number' ? () => uptime : uptime
          const settings = { inFlight, segmentBytes: 65_536, uptimeMs, ...(turn && { turn }) }
          const opened = await openLog(disk, settings)
          logs.push({ ...opened, recovered: [...opened.recovered] }) // The client takes them out of the list.
          return opened
        }),
    })
    const made = makeShell({ host, queue: { storage: 'file_storage', ...queue }, retry })
    await made.shell.start?.()
    const until = async (done: () => boolean) => {
      for (let turn = 0; turn < 2000 && !done(); turn++)
        await new Promise<void>((resolve) => setImmediate(resolve))
      expect(done()).toBe(true)
    }
    return { ...made, until, log: () => logs[0]! }
  }
}

const turns = async (count: number) => {
  for (let turn = 0; turn < count; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
}
const names = (count: number, prefix = 's') =>
  Array.from({ length: count }, (_, index) => `${prefix}${index}`)

describe('a queue in a storage', () => {
  test('is sent in order, released, and leaves nothing on the disk', async () => {
    const disk = new Disk(1)
    const { shell, backend, counts, until } = await onDisk(disk)({ num_consumers: 1 })
    for (const name of names(20)) await shell.consume(spans(name))
    await until(() => backend.delivered.length === 20)
    expect(backend.delivered).toEqual(names(20))
    await shell.shutdown?.(never())
    expect(counts()).toEqual({ sent: 20, failed: 0, refused: 0, held: 0, inFlight: 0 })
    expect(disk.paths()).toEqual([])
  })

  test('what is accepted when the process is killed is sent by the next one, first and in order', async () => {
    const disk = new Disk(2)
    const life = onDisk(disk)
    const first = await life({ num_consumers: 2, sizer: 'items' })
    first.backend.always = () => new Promise<void>(() => {})
    for (const name of names(30)) await first.shell.consume(spans(name, `${name}-b`))
    disk.kill()
    const second = await life({ num_consumers: 1, sizer: 'items' })
    expect(second.counts().held).toBe(60)
    await second.shell.consume(spans('new'))
    await second.until(() => second.backend.delivered.length === 61)
    expect(second.backend.delivered).toEqual([...names(30).flatMap((name) => [name, `${name}-b`]), 'new'])
    await second.until(() => second.counts().held === 0)
    expect(second.counts()).toMatchObject({ sent: 61, failed: 0 })
  })

  test('shutdown tries what is under way once and keeps the rest, uncounted', async () => {
    const disk = new Disk(3)
    const life = onDisk(disk)
    const first = await life({ num_consumers: 1 })
    first.backend.always = () => new RetryableError('down')
    for (const name of names(10)) await first.shell.consume(spans(name))
    await first.until(() => first.backend.attempts.length === 1)
    await first.shell.shutdown?.(never())
    expect(first.counts()).toMatchObject({ sent: 0, failed: 0, held: 0 })
    const second = await life({ num_consumers: 1 })
    await second.until(() => second.backend.delivered.length === 10)
    expect(second.backend.delivered).toEqual(names(10))
    expect(second.log().recovered.every((place) => place.crashes === 0)).toBe(true)
  })

  test('what the backend refuses for good is counted and does not come back', async () => {
    const disk = new Disk(4)
    const life = onDisk(disk)
    const first = await life()
    first.backend.script.push(new DownstreamError('bad data'))
    await first.shell.consume(spans('bad'))
    await first.until(() => first.counts().failed === 1)
    await first.shell.shutdown?.(never())
    expect((await life()).counts().held).toBe(0)
  })

  test('a disk that is full refuses the caller retryably and gives the place back', async () => {
    const disk = new Disk(5)
    const { shell, counts, until, backend, logger } = await onDisk(disk)({ queue_size: 2 })
    disk.fault = (operation) => (operation === 'write' || operation === 'open' ? errno('ENOSPC') : undefined)
    for (let index = 0; index < 5; index++)
      expect(await outcome(shell.consume(spans('a')))).toBeInstanceOf(RefusedError)
    expect(counts()).toMatchObject({ refused: 5, held: 0 })
    expect(logger.of('sending queue refused data')[0]?.fields?.['advice']).toMatch(/storage/)
    disk.fault = undefined
    await shell.consume(spans('b'))
    await until(() => backend.delivered.length === 1)
  })

  test('more than fits in memory is read back, a few at a time', async () => {
    const disk = new Disk(6)
    const life = onDisk(disk)
    const first = await life({ num_consumers: 1 })
    first.backend.always = () => new Promise<void>(() => {})
    for (const name of names(200)) await first.shell.consume(spans(name))
    disk.kill()
    let reads = 0
    const second = await life({ num_consumers: 1 })
    second.backend.always = () => new Promise<void>(() => {})
    disk.fault = (operation) => {
      if (operation === 'read') reads++
      return undefined
    }
    await second.until(() => second.backend.attempts.length === 1)
    await turns(50)
    expect(second.counts().held).toBe(200)
    expect(reads).toBeLessThan(5)
  })

  test('batches are joined from what is stored, and released part by part', async () => {
    const disk = new Disk(7)
    const life = onDisk(disk)
    const queue = { num_consumers: 1, batch: { min_size: 3, max_size: 4, flush_timeout: '200ms' } }
    const first = await life(queue)
    for (const name of names(7)) await first.shell.consume(spans(name))
    await first.until(() => first.backend.delivered.length === 6)
    expect(first.backend.attempts.map((attempt) => attempt.names)).toEqual([
      ['s0', 's1', 's2'],
      ['s3', 's4', 's5'],
    ])
    await first.until(() => first.counts().held === 1)
    await first.log().log.flush()
    disk.kill()
    const second = await life(queue)
    await second.until(() => second.counts().held === 1)
    await turns(50) // It may have caused the crash: it is noted that it is sent alone.
    await second.clock.advance(200)
    await second.until(() => second.backend.delivered.length === 1)
    expect(second.backend.delivered).toEqual(['s6'])
  })

  test('the record that was sent alone when the process crashed, three times, is parked; the others are sent', async () => {
    const disk = new Disk(8)
    const life = onDisk(disk)
    const queue = { num_consumers: 3 }
    let current = await life(queue)
    current.backend.always = () => new Promise<void>(() => {})
    for (const name of names(6)) await current.shell.consume(spans(name))
    for (let crash = 0; crash < 3; crash++) {
      disk.kill()
      current = await life(queue)
      current.backend.always = () => new Promise<void>(() => {})
      await current.until(() => current.backend.attempts.length > 0)
      await turns(50)
      expect(current.backend.attempts.map((attempt) => attempt.names)).toEqual([['s0']])
      expect(current.log().recovered.map((place) => place.crashes)).toEqual([crash, 0, 0, 0, 0, 0])
    }
    disk.kill()
    const last = await life(queue)
    await last.until(() => last.backend.delivered.length === 5)
    expect(last.backend.delivered).toEqual(['s1', 's2', 's3', 's4', 's5'])
    expect(last.counts()).toMatchObject({ sent: 5, failed: 1 })
    expect(disk.paths().filter((path) => path.includes('parked'))).toHaveLength(1)
  })

  test('kills in quick succession park nothing, though the same record is in hand each time; it goes last', async () => {
    const disk = new Disk(12)
    const life = onDisk(disk)
    const queue = { num_consumers: 3 }
    const first = await life(queue)
    first.backend.always = () => new Promise<void>(() => {})
    for (const name of names(6)) await first.shell.consume(spans(name))
    for (let kill = 0; kill < 10; kill++) {
      disk.kill()
      const current = await life(queue, {}, 2000)
      current.backend.always = () => new Promise<void>(() => {})
      await current.until(() => current.backend.attempts.length > 0)
      await current.clock.advance(1000)
      await turns(50)
      expect(Math.max(...current.log().recovered.map((place) => place.crashes))).toBeLessThan(3)
    }
    disk.kill()
    let uptimeMs = 2000
    const last = await life(queue, {}, () => uptimeMs)
    await last.until(() => last.backend.delivered.length > 0)
    await turns(200)
    const tried = last.backend.delivered.length
    expect(tried).toBeLessThan(6)
    expect(last.counts()).toMatchObject({ held: 6 - tried, failed: 0 })
    uptimeMs = 10_000
    for (let second = 0; second < 10 && last.backend.delivered.length < 6; second++) {
      await last.clock.advance(1000)
      await turns(50)
    }
    expect(last.backend.delivered.toSorted()).toEqual(names(6))
    expect(disk.paths().filter((path) => path.includes('parked'))).toEqual([])
  })

  test('of two that are to be tried for the last time, one goes in the process at a time', async () => {
    const disks = [new Disk(13), new Disk(14)]
    let taken = 0
    const give = (count: number) => void (taken -= count)
    const turn = {
      limit: 1,
      used: () => taken,
      tryTake: () => taken === 0 && ++taken > 0,
      take: () => {},
      give,
    }
    const crash = async (life: ReturnType<typeof onDisk>, append: boolean) => {
      const current = await life({ num_consumers: 1 }, {}, 60_000, turn)
      current.backend.always = () => new Promise<void>(() => {})
      if (append) await current.shell.consume(spans('s0'))
      await turns(100)
      return current
    }
    const lives = disks.map((disk) => onDisk(disk))
    for (const round of [0, 1, 2]) {
      for (const life of lives) await crash(life, round === 0)
      for (const disk of disks) disk.kill()
    }
    const [first, second] = [await crash(lives[0]!, false), await crash(lives[1]!, false)]
    expect([first.backend.attempts.length, second.backend.attempts.length]).toEqual([1, 0])
    expect([taken, second.counts().held]).toEqual([1, 1])
    first.log().log.clear(first.log().recovered[0]!)
    await second.clock.advance(1000)
    await turns(100)
    expect([taken, second.backend.attempts.length]).toEqual([1, 1])
  })

  test("crashes while the backend is away are no record's fault: the end of an attempt clears it", async () => {
    const disk = new Disk(10)
    const life = onDisk(disk)
    for (let crash = 0; crash < 5; crash++) {
      const current = await life({ num_consumers: 2 })
      current.backend.always = () => new RetryableError('down')
      await current.shell.consume(spans(`s${crash}`))
      const attempts = Math.min(2, crash + 1)
      await current.until(() => current.backend.attempts.length >= attempts)
      await current.log().log.flush()
      disk.kill()
    }
    const last = await life({ num_consumers: 2 })
    await last.until(() => last.backend.delivered.length === 5)
    expect(last.backend.delivered).toEqual(names(5))
    expect(disk.paths().filter((path) => path.includes('parked'))).toEqual([])
  })

  test('a reload hands on what the old configuration had not sent', async () => {
    const disk = new Disk(9)
    const folder = `${FOLDER}-reload`
    const open = async () => {
      const host = new TestHost()
      host.extensions.set('file_storage', {
        openLog: (options: { name: string; inFlight: number }) =>
          openSharedLog(folder, options, () => openLog(disk)),
      })
      const made = makeShell({ host, queue: { storage: 'file_storage', num_consumers: 1 } })
      await made.shell.start?.()
      return made
    }
    const old = await open()
    old.backend.always = () => new RetryableError('down')
    for (const name of names(5)) await old.shell.consume(spans(name))
    const young = await open()
    await young.shell.consume(spans('new'))
    expect(young.counts().held).toBe(1)
    await old.shell.shutdown?.(never())
    expect(old.counts()).toMatchObject({ failed: 0, held: 0 })
    for (let turn = 0; turn < 500; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
    expect(young.backend.delivered).toEqual(['new', ...names(5)])
    await young.shell.shutdown?.(never())
    expect(disk.paths()).toEqual([])
  })
})
