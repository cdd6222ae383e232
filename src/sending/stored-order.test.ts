/** A queue on the disk whose order matters: nothing overtakes, whatever happens to what is in front. */
import { expect, test } from 'vitest'
import { Disk } from '../../test/faults/support/fs-shim.ts'
import { FOLDER, openLog } from '../../test/faults/support/stored-log.ts'
import { TestHost } from '../../test/support/host.ts'
import { makeShell, never, spans } from '../../test/support/shell.ts'
import { DownstreamError, RetryableError } from '../errors.ts'
import { openSharedLog } from '../storage/shared-logs.ts'

const HANGS = () => new Promise<void>(() => {})
const names = Array.from({ length: 6 }, (_, index) => `s${index}`)

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
}

/** Shells with the same `life` are of one process: a reload opens the log a second time. */
async function open(disk: Disk, life: string, uptimeMs = () => 60_000) {
  const host = new TestHost()
  host.extensions.set('file_storage', {
    openLog: (options: { name: string; inFlight: number }) =>
      openSharedLog(`${FOLDER}-order-${life}`, options, () =>
        openLog(disk, { inFlight: options.inFlight, uptimeMs }),
      ),
  })
  const made = makeShell({ host, inOrder: true, queue: { storage: 'file_storage', num_consumers: 1 } })
  await made.shell.start?.()
  return made
}

test('after a kill the rest follows in order; what is refused for good is dropped, counted and passed', async () => {
  const disk = new Disk(1)
  const first = await open(disk, 'a')
  first.backend.script.push(() => undefined, new DownstreamError('bad'), new RetryableError('down'))
  first.backend.always = HANGS
  for (const name of names) await first.shell.consume(spans(name))
  await turns(100)
  await first.clock.advance(5000)
  await turns(100)
  expect(first.backend.attempts.map((attempt) => attempt.names[0])).toEqual(['s0', 's1', 's2', 's2'])
  expect(first.counts()).toMatchObject({ sent: 1, failed: 1 })
  disk.kill()
  const second = await open(disk, 'b')
  await second.shell.consume(spans('new'))
  await turns(500)
  expect(second.backend.delivered).toEqual(['s2', 's3', 's4', 's5', 'new'])
  await second.shell.shutdown?.(never())
  expect(disk.paths()).toEqual([])
})

test('a request whose last try waits holds up those behind it', async () => {
  const disk = new Disk(2)
  for (let kill = 0; kill < 3; kill++) {
    const killed = await open(disk, `kill ${kill}`)
    killed.backend.always = HANGS
    if (kill === 0) for (const name of names) await killed.shell.consume(spans(name))
    await turns(100)
    disk.kill()
  }
  let uptimeMs = 2000
  const last = await open(disk, 'last', () => uptimeMs)
  await last.shell.consume(spans('new'))
  await last.clock.advance(1000)
  await turns(100)
  expect(last.backend.attempts).toEqual([])
  uptimeMs = 10_000
  await last.clock.advance(1000)
  await turns(500)
  expect(last.backend.delivered).toEqual([...names, 'new'])
})

test('after a reload the new queue begins when the old one has left, with what that had not sent', async () => {
  const disk = new Disk(3)
  const old = await open(disk, 'reload')
  old.backend.always = () => new RetryableError('down')
  for (const name of names) await old.shell.consume(spans(name))
  const young = await open(disk, 'reload')
  await young.shell.consume(spans('new'))
  await turns(100)
  expect(young.backend.attempts).toEqual([])
  await old.shell.shutdown?.(never())
  await turns(500)
  expect(young.backend.delivered).toEqual([...names, 'new'])
  expect(old.counts()).toMatchObject({ failed: 0, held: 0 })
})

test('a new queue begins also when the old one had nothing left; one that is given up leaves the old at work', async () => {
  const disk = new Disk(4)
  const old = await open(disk, 'given up')
  const abandoned = await open(disk, 'given up')
  await abandoned.shell.shutdown?.(never())
  await old.shell.consume(spans('a'))
  await turns(100)
  expect(old.backend.delivered).toEqual(['a'])
  const young = await open(disk, 'given up')
  await young.shell.consume(spans('b'))
  await old.shell.shutdown?.(never())
  await turns(100)
  expect(young.backend.delivered).toEqual(['b'])
})
