import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { zstdDecompressSync } from 'node:zlib'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createExporter, type TestOptions } from '../../../test/support/create-test.ts'
import { TestHost } from '../../../test/support/host.ts'
import { decode, decodeBatch, logs, metrics, traces } from '../../../test/support/otlp.ts'
import { RetryableError, ShutdownError } from '../../errors.ts'
import type { Signal } from '../../otlp/batch.ts'
import { decodeJson } from '../../otlp/json-decode.ts'
import definition from './index.ts'

let folder: string
const inFolder = (name: string) => path.join(folder, name)
const text = (name: string) => readFile(inFolder(name), 'utf8')

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'weir-file-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

async function start(config: Record<string, unknown>, options: TestOptions = {}) {
  const exporter = createExporter(definition, { path: inFolder('data.json'), ...config }, options)
  await exporter.start()
  return exporter
}

const lines = async (name = 'data.json', signal: Signal = 'traces') =>
  (await text(name))
    .split('\n')
    .slice(0, -1)
    .map((line) => decode(signal, decodeJson(signal, Buffer.from(line))))

/** Messages with four bytes of length in front. */
async function framed(name: string): Promise<Buffer[]> {
  const bytes = await readFile(inFolder(name))
  const messages: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at)
    messages.push(bytes.subarray(at + 4, at + 4 + length))
    at += 4 + length
  }
  return messages
}

test('json: one document a line, there when consume() resolves', async () => {
  await using file = await start({})
  const batches = [traces({ spans: ['a'] }), traces({ resource: { k: 'line\nbreak' }, spans: ['b', 'c'] })]
  for (const batch of batches) {
    await file.consume(batch)
    expect((await lines()).at(-1)).toEqual(decodeBatch(batch))
  }
  expect((await stat(inFolder('data.json'))).mode & 0o777).toBe(0o600)
})

test('proto and compression: a length of four bytes, then the message', async () => {
  const batch = logs({ logs: ['a', 'b'] })
  const f = async (config: Record<string, unknown>, read: (message: Buffer) => Uint8Array) => {
    await using file = await start({ path: inFolder('out'), ...config }, { signal: 'logs' })
    await file.consume(batch)
    await file.consume(batch)
    const messages = await framed('out')
    expect(messages.map((message) => decode('logs', read(message)))).toEqual([
      decodeBatch(batch),
      decodeBatch(batch),
    ])
  }
  await f({ format: 'proto' }, (message) => message)
  await f({ format: 'proto', compression: 'zstd' }, (message) => zstdDecompressSync(message))
  await f({ compression: 'zstd' }, (message) => decodeJson('logs', zstdDecompressSync(message)))
})

test('signals and exporters of one path share the file, whole message by whole message', async () => {
  await using spans = await start({})
  await using points = await start({}, { signal: 'metrics', host: spans.host })
  await using other = await start({ path: `${folder}/./data.json` }, { id: 'file/2' })
  const work = []
  for (let index = 0; index < 200; index++) {
    work.push(spans.consume(traces({ spans: [`span ${index}`] })))
    work.push(points.consume(metrics({ metrics: [{ name: `metric ${index}`, gauge: { dataPoints: [] } }] })))
    work.push(other.consume(traces({ spans: [`other ${index}`] })))
  }
  await Promise.all(work)
  const found = (await text('data.json'))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(found).toHaveLength(600)
  expect(found.filter((line) => line.resourceMetrics)).toHaveLength(200)
  const names = found.flatMap((line) => line.resourceSpans?.[0].scopeSpans[0].spans[0].name ?? [])
  expect(names.filter((name) => name.startsWith('span'))).toEqual(
    Array.from({ length: 200 }, (_, index) => `span ${index}`),
  )
})

test('append: false empties the file when the process starts, and only then', async () => {
  await writeFile(inFolder('data.json'), 'from an earlier run\n')
  const host = new TestHost()
  const first = await start({}, { host })
  await first.consume(traces({ spans: ['a'] }))
  const reloaded = await start({}, { host }) // A reload: the new one opens before the old one closes.
  await first.exporter.shutdown?.(AbortSignal.timeout(1000))
  await reloaded.consume(traces({ spans: ['b'] }))
  await reloaded.exporter.shutdown?.(AbortSignal.timeout(1000))
  const restarted = await start({}, { host }) // A shard that came back: rates of the process survive.
  await restarted.consume(traces({ spans: ['c'] }))
  await restarted.exporter.shutdown?.(AbortSignal.timeout(1000))
  const names = async () => (await lines()).map((line) => line.resourceSpans[0].scopeSpans[0].spans[0].name)
  expect(await names()).toEqual(['a', 'b', 'c'])
  await using process2 = await start({ append: true })
  await process2.consume(traces({ spans: ['d'] }))
  expect(await names()).toEqual(['a', 'b', 'c', 'd'])
  await process2.exporter.shutdown?.(AbortSignal.timeout(1000))
  await using process3 = await start({})
  await process3.consume(traces({ spans: ['e'] }))
  expect(await names()).toEqual(['e'])
})

test('shards where no data arrives leave the file alone', async () => {
  await writeFile(inFolder('data.json'), 'kept\n')
  const host: TestHost = Object.assign(new TestHost(), { shard: 1 as never })
  await using other = await start({}, { host })
  expect(await text('data.json')).toBe('kept\n')
  await expect(other.consume(traces({ spans: ['a'] }))).rejects.toThrow(ShutdownError)
})

test('shutdown may come twice, and writes after it are refused as retryable', async () => {
  const file = await start({})
  const last = file.consume(traces({ spans: ['a'] }))
  await last
  await file.exporter.shutdown?.(AbortSignal.timeout(1000))
  await file.exporter.shutdown?.(AbortSignal.timeout(1000))
  await expect(file.consume(traces({ spans: ['b'] }))).rejects.toThrow(ShutdownError)
  expect(await lines()).toHaveLength(1)
  await using unstarted = createExporter(definition, { path: inFolder('x') })
  await expect(unstarted.consume(traces({ spans: ['b'] }))).rejects.toThrow(ShutdownError)
})

test('a folder that is not there is an error at the start, or is made', async () => {
  const nested = inFolder('a/b/data.json')
  await expect(start({ path: nested })).rejects.toThrow(/ENOENT/)
  await using file = await start({ path: nested, create_directory: true, directory_permissions: '0700' })
  await file.consume(traces({ spans: ['a'] }))
  expect(await lines('a/b/data.json')).toHaveLength(1)
  expect((await stat(inFolder('a'))).mode & 0o777).toBe(0o700)
})

test('rotation: the full file is renamed by time, and no message is cut', async () => {
  const host = new TestHost()
  await using file = await start({ rotation: { max_megabytes: 1, max_backups: 2 } }, { host })
  const big = 'x'.repeat(400_000)
  for (let index = 0; index < 9; index++) {
    await file.consume(traces({ resource: { index }, spans: [big] }))
    await host.clock.advance(1000)
  }
  const names = (await readdir(folder)).sort()
  expect(names).toHaveLength(3) // Two a file, five files, of which the oldest two backups were deleted.
  expect(names.at(-1)).toBe('data.json')
  expect(names[0]).toMatch(/^data-2023-11-14T\d\d-\d\d-\d\d\.\d{3}\.json$/)
  const kept = (await Promise.all(names.map((name) => lines(name)))).flat()
  expect(kept.map((line) => line.resourceSpans[0].resource.attributes[0].value.intValue)).toEqual([
    '4',
    '5',
    '6',
    '7',
    '8',
  ])
})

test('rotation: backups of one millisecond get different names, days are counted, other files are left alone', async () => {
  const host = new TestHost()
  await writeFile(inFolder('data-2001-01-01T00-00-00.000.json'), 'old')
  await writeFile(inFolder('data-notes.json'), 'not ours')
  await writeFile(inFolder('data.json'), 'there before\n')
  await using file = await start({ rotation: { max_megabytes: 1, max_days: 1, localtime: true } }, { host })
  const big = traces({ spans: ['x'.repeat(1_100_000)] })
  await Promise.all([file.consume(big), file.consume(big), file.consume(big)])
  const names = (await readdir(folder)).sort()
  expect(names).not.toContain('data-2001-01-01T00-00-00.000.json')
  expect(names).toContain('data-notes.json')
  expect(names).toHaveLength(5) // Three backups, the file, the notes.
  const first = names.find((name) => name.startsWith('data-20'))
  expect(await text(first ?? '')).toBe('there before\n')
})

test('a write that fails is retryable, reported, and works again when the cause is gone', async () => {
  const host = new TestHost()
  await using file = await start({ rotation: { max_megabytes: 1 } }, { host })
  const big = traces({ spans: ['x'.repeat(800_000)] })
  await file.consume(big)
  await rm(folder, { recursive: true }) // The next write has to rotate, and there is nothing to rename.
  await expect(file.consume(big)).rejects.toThrow(RetryableError)
  await expect(file.consume(big)).rejects.toThrow(RetryableError)
  expect(host.statuses.map(({ status }) => status)).toEqual(['recoverable_error'])
  await import('node:fs/promises').then(({ mkdir }) => mkdir(folder))
  await file.consume(big)
  expect(await lines()).toHaveLength(1)
  expect(host.statuses.at(-1)?.status).toBe('ok')
})

const grouped = (config: Record<string, unknown> = {}) => ({
  path: inFolder('groups/*.json'),
  group_by: { enabled: true, resource_attribute: 'team', ...config },
})

test('group_by: each resource goes to the file of its attribute, others are dropped and counted', async () => {
  await using file = await start(grouped())
  const batch = traces(
    { resource: { team: 'a' }, spans: ['1'] },
    { resource: { team: 'b/c' }, spans: ['2'] },
    { resource: { team: 'a', more: 'x' }, spans: ['3'] },
    { resource: { team: 7 }, spans: ['4', '5'] },
    { spans: ['6'] },
  )
  await file.consume(batch)
  const spans = async (name: string) =>
    (await lines(name)).flatMap((line) =>
      line.resourceSpans.map(
        (group: { scopeSpans: { spans: { name: string }[] }[] }) => group.scopeSpans[0]?.spans[0]?.name,
      ),
    )
  expect(await spans('groups/a.json')).toEqual(['1', '3'])
  expect(await spans('groups/b/c.json')).toEqual(['2'])
  expect(file.meter.read('exporter_file_ungrouped')).toBe(3)
})

test('group_by: a segment never leaves the folder', async () => {
  await using file = await start(grouped())
  for (const team of ['../../evil', '/etc/x', 'a/../../../b', '..', './d', 'nul\0byte'])
    await file.consume(traces({ resource: { team }, spans: ['1'] }))
  expect((await readdir(folder)).sort()).toEqual(['groups'])
  const all = await readdir(inFolder('groups'), { recursive: true })
  expect(all.filter((name) => name.endsWith('.json')).sort()).toEqual(
    ['.json', 'b.json', 'd.json', 'etc/x.json', 'evil.json', 'nulbyte.json'].sort(),
  )
})

test('group_by: few files stay open, and one that is opened again keeps its content', async () => {
  await using file = await start(grouped({ max_open_files: 2 }))
  const work = []
  for (let index = 0; index < 100; index++)
    work.push(file.consume(traces({ resource: { team: `t${index % 5}` }, spans: [`${index}`] })))
  await Promise.all(work)
  for (let team = 0; team < 5; team++) expect(await lines(`groups/t${team}.json`)).toHaveLength(20)
})

test('config: what cannot work is refused', () => {
  const f = (config: Record<string, unknown>, message: RegExp) =>
    expect(() => definition.config.parse({ path: 'x', ...config })).toThrow(message)
  f({ path: '' }, /path/)
  f({ format: 'xml' }, /format/)
  f({ compression: 'gzip' }, /compression/)
  f({ append: true, rotation: {} }, /cannot be combined with rotation/)
  f({ append: true, compression: 'zstd' }, /cannot be combined with compression/)
  f({ encoding: 'otlp_encoding' }, /not supported/)
  f({ flush_interval: '-1s' }, /negative/)
  f({ directory_permissions: 'rwx' }, /octal/)
  f({ path: 'a', group_by: { enabled: true } }, /exactly one \*/)
  f({ path: '*/a', group_by: { enabled: true } }, /must not start with \*/)
  const parsed = definition.config.parse({ path: 'x', rotation: null, flush_interval: 1_000_000_000 })
  expect(parsed).toMatchObject({
    format: 'json',
    append: false,
    compression: 'none',
    group_by: { max_open_files: 100 },
  })
})

test('a file that may not be read by others is not made readable', async () => {
  await writeFile(inFolder('data.json'), '')
  await chmod(inFolder('data.json'), 0o640)
  await using file = await start({})
  await file.consume(traces({ spans: ['a'] }))
  expect((await stat(inFolder('data.json'))).mode & 0o777).toBe(0o640)
})
