/** Configuration of the storage, who may name it, and one process per directory. */
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { TestHost } from '../../../test/support/host.ts'
import { TestMeter } from '../../../test/support/meter.ts'
import { traces } from '../../../test/support/otlp.ts'
import { silentLogger } from '../../component/logger.ts'
import { registry } from '../../components.ts'
import { loadConfig } from '../../config/load.ts'
import { ConfigError } from '../../errors.ts'
import { isStorage } from '../../storage/log.ts'
import definition from './index.ts'

const folders: string[] = []
const folder = () => {
  const made = mkdtempSync(join(tmpdir(), 'weir-storage-'))
  folders.push(made)
  return made
}
afterEach(() => {
  for (const made of folders.splice(0)) rmSync(made, { recursive: true, force: true })
})

function create(config: object, host = new TestHost()) {
  return definition.create({
    id: 'file_storage',
    config: definition.config.parse(config),
    telemetry: new TestMeter().instruments(definition.telemetry, {}),
    logger: silentLogger,
    host,
    service: { notReadyReason: () => undefined, startedAtMs: 0, statuses: () => new Map() },
  })
}

test('defaults are those of the Go collector; directory permissions are octal', () => {
  expect(definition.config.parse({})).toMatchObject({
    directory: '/var/lib/otelcol/file_storage',
    create_directory: false,
    directory_permissions: 0o750,
    timeout: 1000,
    fsync: false,
    max_size: 0,
  })
  expect(definition.config.parse({ directory_permissions: '0700' }).directory_permissions).toBe(0o700)
  expect(definition.config.safeParse({ directory_permissions: '0888' }).success).toBe(false)
})

test('a directory that is missing is an error that says what to do, or is made', async () => {
  const missing = join(folder(), 'a/b')
  await expect(create({ directory: missing }).start?.()).rejects.toThrow(/create_directory: true/)
  const extension = create({ directory: missing, create_directory: true })
  await extension.start?.()
  expect(readdirSync(missing)).toEqual(['lock'])
  await extension.shutdown?.(AbortSignal.timeout(1000))
  expect(readdirSync(missing)).toEqual([])
})

test('what is stored on a real disk comes back', async () => {
  const directory = folder()
  const open = async () => {
    const extension = create({ directory, fsync: true })
    await extension.start?.()
    if (!isStorage(extension)) throw new Error('not a storage')
    return { extension, log: await extension.openLog({ name: 'exporter_otlp_grpc/a b_traces', inFlight: 1 }) }
  }
  const first = await open()
  const kept = await first.log.append(traces({ spans: ['kept', 'too'] }))
  first.log.release(await first.log.append(traces({ spans: ['released'] })))
  await first.log.close()
  await first.extension.shutdown?.(AbortSignal.timeout(1000))
  expect(readdirSync(directory)).toEqual(['exporter_otlp_grpc~2Fa~20b_traces'])
  const second = await open()
  const found = await Array.fromAsync(second.log.recover())
  expect(found.map(({ batch }) => batch.itemCount)).toEqual([kept.items])
  expect(found[0]?.batch.bytes()).toEqual(traces({ spans: ['kept', 'too'] }).bytes())
  await second.log.close()
  await second.extension.shutdown?.(AbortSignal.timeout(1000))
})

test('two processes never share a directory; a lock that a dead one left is taken over', async () => {
  const directory = folder()
  const other = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' })
  const ended = new Promise((resolve) => other.once('exit', resolve))
  const stat = () => readFileSync(`/proc/${other.pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[19]
  const host = new TestHost()
  const shards = [
    create({ directory, timeout: '100ms' }, host),
    create({ directory, timeout: '100ms' }, host),
  ]
  // As the other process would have written it: the lock of this process with the other one's number and start.
  await shards[0]?.start?.()
  await shards[1]?.start?.() // The shards of one process share it.
  const own = JSON.parse(readFileSync(join(directory, 'lock'), 'utf8'))
  const started = `${own.started.split('/')[0]}/${stat()}`
  writeFileSync(join(directory, 'lock'), JSON.stringify({ ...own, pid: other.pid, started }))
  await expect(create({ directory, timeout: '100ms' }).start?.()).rejects.toThrow(`process ${other.pid}`)
  other.kill('SIGKILL')
  await ended
  const heir = create({ directory, timeout: '100ms' }, host)
  await heir.start?.()
  expect(JSON.parse(readFileSync(join(directory, 'lock'), 'utf8')).pid).toBe(process.pid)
  for (const shard of [...shards, heir]) await shard.shutdown?.(AbortSignal.timeout(1000))
  expect(readdirSync(directory)).toEqual([])
})

test('storage names an extension that is there, is a storage, and is started', async () => {
  const f = async (storage: string, extensions: string[], want: RegExp | undefined) => {
    const config = {
      receivers: { nop: null },
      exporters: { otlp_http: { endpoint: 'http://localhost:1', sending_queue: { storage } } },
      extensions: { file_storage: null, health_check: null },
      service: { extensions, pipelines: { traces: { receivers: ['nop'], exporters: ['otlp_http'] } } },
    }
    const path = join(folder(), 'config.yaml')
    writeFileSync(path, JSON.stringify(config, null, 1))
    const problems = await loadConfig({ sources: [path], sets: [], env: {}, registry }).then(
      () => [],
      (error: unknown) => (error instanceof ConfigError ? error.problems : [error]),
    )
    if (!want) return expect(problems).toEqual([])
    expect(problems).toMatchObject([{ path: 'exporters.otlp_http.sending_queue.storage', line: 9 }])
    expect(String((problems[0] as { message: string }).message)).toMatch(want)
  }
  await f('file_storage', ['file_storage'], undefined)
  await f('file_storage', [], /not started: add it to service.extensions/)
  await f('file_storag', ['file_storage'], /not configured.*file_storage/)
  await f('health_check', ['health_check'], /no storage/)
})

test('a directory that is a file is refused', async () => {
  const directory = join(folder(), 'file')
  writeFileSync(directory, '')
  await expect(create({ directory }).start?.()).rejects.toThrow(/not a directory/)
  mkdirSync(`${directory}-2`)
  const extension = create({ directory: `${directory}-2` })
  await extension.start?.()
  await extension.shutdown?.(AbortSignal.timeout(1000))
})
