/**
 * What happens to a collector in its daily life, each under load: SIGTERM with a backend that is slow or
 * away, a wall clock that jumps by an hour, a branch of a fan-out that hangs, a disk that is full.
 * Guarantee: every acknowledged span is delivered, at once or by the next start; nothing but the fault
 * itself stalls.
 */
import { type ChildProcess, fork, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { eventually, freePort } from '../support/peers.ts'
import { type RunningWeir, startWeir } from '../support/weir.ts'
import { Books } from './support/books.ts'
import { random } from './support/fs-shim.ts'
import { Load } from './support/load.ts'
import { sumOf, telemetryAt } from './support/metrics-page.ts'
import { report, SEED, times } from './support/settings.ts'
import { Sink } from './support/sink.ts'

const QUICK = { initial_interval: '50ms', max_interval: '200ms', max_elapsed_time: '0s' }
const HTTP = 'receivers/otlp/protocols/http'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-operation-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

interface Parts {
  readonly exporters: Readonly<Record<string, object>>
  readonly stored?: boolean
  readonly storage?: object
  readonly processors?: Readonly<Record<string, object>>
  readonly service?: object
}

const configOf = ({ exporters, stored = false, storage = {}, processors = {}, service = {} }: Parts) => ({
  receivers: {
    otlp: {
      ...(stored && { storage: 'file_storage' }),
      protocols: { http: { endpoint: 'localhost:0' } },
    },
  },
  processors,
  exporters: Object.fromEntries(
    Object.entries(exporters).map(([id, fields]) => [
      id,
      { compression: 'none', retry_on_failure: QUICK, ...fields },
    ]),
  ),
  extensions: { file_storage: { directory: join(folder, 'storage'), create_directory: true, ...storage } },
  service: {
    shards: 2,
    extensions: stored ? ['file_storage'] : [],
    telemetry: { metrics: { level: 'none' } },
    pipelines: {
      traces: {
        receivers: ['otlp'],
        processors: Object.keys(processors),
        exporters: Object.keys(exporters),
      },
    },
    ...service,
  },
})

const urlOf = (weir: RunningWeir) => `http://${weir.address(HTTP)}`

async function allArrive(books: Books): Promise<void> {
  await eventually(
    async () => books.missing(),
    (missing) => missing === 0,
    60_000,
  )
  expect(books.strangers).toBe(0)
}

test('SIGTERM under load in front of a slow backend: exit code 0, and everything acknowledged has arrived', async () => {
  const draw = random(SEED)
  let acked = 0
  let open = 0
  let missing = 0
  const rounds = times(2, 30)
  for (let round = 0; round < rounds; round++) {
    const books = new Books()
    await using sink = await new Sink(books.deliver).start()
    sink.act = () => ({ kind: 'take', delayMs: 150 })
    const exporters = { otlp_http: { endpoint: sink.url, sending_queue: { num_consumers: 4 } } }
    await using weir = await startWeir(configOf({ exporters, processors: { batch: { timeout: '200ms' } } }))
    await using load = new Load({ url: urlOf(weir), books, senders: 4, pauseMs: 10 }).start()
    await sleep(300 + draw() * 1000)
    open += books.acked - books.delivered
    expect(await weir.stop()).toBe(0)
    await load.stop()
    missing += books.missing()
    expect([books.missing(), books.strangers, load.requests.permanent]).toEqual([0, 0, 0])
    acked += books.acked
  }
  expect(open).toBeGreaterThan(0)
  report('SIGTERM, slow backend', `${rounds} stops`, {
    acknowledged: acked,
    'of these not delivered when the signal came': open,
    missing,
  })
}, 600_000)

test('SIGTERM with a hung backend and storage: the next start delivers everything', async () => {
  const draw = random(SEED)
  const rounds = times(2, 20)
  const books = new Books()
  await using sink = await new Sink(books.deliver).start()
  const exporters = { otlp_http: { endpoint: sink.url, timeout: '1s' } }
  const processors = { batch: { timeout: '200ms' } }
  const config = configOf({ exporters, processors, stored: true, service: { shutdown_timeout: '2s' } })
  let trace = 0
  let open = 0
  for (let round = 0; round < rounds; round++) {
    sink.act = () => (draw() < 0.7 ? { kind: 'hang' } : { kind: 'take' })
    await using weir = await startWeir(config)
    await using load = new Load({
      url: urlOf(weir),
      books,
      senders: 4,
      pauseMs: 10,
      firstTrace: trace,
    }).start()
    await sleep(300 + draw() * 1000)
    expect(await weir.stop()).toBe(0)
    await load.stop()
    trace = load.nextTrace
    open += books.missing()
    expect(load.requests.permanent).toBe(0)
  }
  sink.act = () => ({ kind: 'take' })
  await using weir = await startWeir(config)
  await allArrive(books)
  expect(await weir.stop()).toBe(0)
  expect(open).toBeGreaterThan(0)
  report('SIGTERM, hung backend, storage', `${rounds} stops, ${sink.acts.get('hang') ?? 0} hung requests`, {
    acknowledged: books.acked,
    'left by a stop, added up': open,
    missing: books.missing(),
    'delivered twice': books.duplicates,
  })
}, 600_000)

test('the wall clock jumps an hour forth and back: nothing stalls, nothing is decided too early', async () => {
  const clock = join(folder, 'clock')
  writeFileSync(clock, '0')
  const books = new Books()
  await using sink = await new Sink(books.deliver).start()
  const policy = {
    name: 'keep',
    type: 'string_attribute',
    string_attribute: { key: 'keep', values: ['yes!!'] },
  }
  const config = configOf({
    exporters: { otlp_http: { endpoint: sink.url } },
    processors: {
      tail_sampling: { decision_wait: '1s', policies: [policy] },
      batch: { timeout: '100ms' },
    },
    stored: true,
  })
  const preload = join(import.meta.dirname, 'support/clock-jumps.ts')
  const env = { WEIR_CLOCK_FILE: clock, NODE_OPTIONS: `--import ${preload}` }
  await using weir = await startWeir(config, { env })
  const load = new Load({ url: urlOf(weir), books, senders: 4, pauseMs: 20, halves: true })
  await using running = load.start()
  const hours = Array.from({ length: times(1, 5) }, () => [1, -1, 0]).flat()
  for (const hour of hours) {
    writeFileSync(clock, String(hour * 3_600_000))
    await sleep(1500)
    // What comes now is decided and delivered now.
    const before = books.delivered
    await eventually(
      async () => books.delivered,
      (delivered) => delivered > before,
      20_000,
    )
  }
  await running.stop()
  await eventually(
    async () => books.sampled().lost,
    (lost) => lost === 0,
    30_000,
  )
  const counts = books.sampled()
  const seen = readFileSync(`${clock}.seen`, 'utf8').trim().split('\n')
  const threads = new Set(seen.map((line) => line.split(' ')[0]))
  report('wall clock +-1 h', `${hours.length} jumps, seen by ${threads.size} threads ${seen.length} times`, {
    'kept by policy': counts.kept,
    lost: counts.lost,
    'torn traces': counts.torn,
    'delivered twice': books.duplicates,
  })
  expect(counts).toMatchObject({ lost: 0, torn: 0, wrong: 0 })
  expect(load.requests).toMatchObject({ refused: 0, permanent: 0, failed: 0 })
  expect(books.duplicates).toBe(0)
  expect(threads.size).toBeGreaterThan(0)
}, 300_000)

/** A backend of its own process. */
async function forkSink() {
  const child = fork(join(import.meta.dirname, 'support/sink-process.ts'))
  const answer = (process: ChildProcess) =>
    new Promise<Record<string, unknown>>((resolve) => process.once('message', resolve as () => void)) // Plain values.
  const { url } = await answer(child)
  const spans = async () => {
    const answered = answer(child)
    child.send('spans')
    return Number((await answered)['spans'])
  }
  const end = async () => {
    child.kill('SIGKILL')
  }
  return { url: String(url), child, spans, [Symbol.asyncDispose]: end }
}

test('a backend that is stopped holds up its own branch only, and gets everything when it goes on', async () => {
  await using stopped = await forkSink()
  const books = new Books()
  await using sink = await new Sink(books.deliver).start()
  const exporters = {
    'otlp_http/stopped': { endpoint: stopped.url, timeout: '500ms', sending_queue: { queue_size: 100_000 } },
    'otlp_http/well': { endpoint: sink.url },
  }
  await using weir = await startWeir(configOf({ exporters }))
  await using load = new Load({ url: urlOf(weir), books, senders: 4, pauseMs: 10, retry: true }).start()
  await eventually(
    () => stopped.spans(),
    (spans) => spans > 0,
    20_000,
  )
  stopped.child.kill('SIGSTOP')
  const before = books.delivered
  await sleep(times(2, 30) * 1000)
  const meanwhile = books.delivered - before
  await load.stop()
  await allArrive(books)
  stopped.child.kill('SIGCONT')
  const there = await stopped.spans()
  expect(there).toBeLessThan(books.sent)
  const arrived = await eventually(
    () => stopped.spans(),
    (spans) => spans === books.sent,
    60_000,
  )
  report('hung branch of a fan-out', `backend stopped for ${times(2, 30)} s`, {
    acknowledged: books.acked,
    'delivered by the other branch meanwhile': meanwhile,
    'refused requests': load.requests.refused,
    'delivered by the hung branch, at the end': arrived,
  })
  expect(meanwhile).toBeGreaterThan(1000)
  expect(load.requests).toMatchObject({ refused: 0, permanent: 0, failed: 0 })
}, 300_000)

const mountsAllowed = spawnSync('unshare', ['-Urm', 'sh', '-c', 'mount -t tmpfs tmpfs /mnt']).status === 0
if (!mountsAllowed) console.log('SKIPPED: this system does not let a test mount a small disk (unshare -Urm)')

test.skipIf(!mountsAllowed)(
  'a full disk refuses senders retryably, what is stored goes out, and it recovers',
  async () => {
    const directory = join(folder, 'storage')
    mkdirSync(directory)
    const books = new Books()
    await using sink = await new Sink(books.deliver).start()
    await sink.stop()
    const metricsPort = await freePort()
    const config = configOf({
      exporters: { otlp_http: { endpoint: sink.url } },
      stored: true,
      storage: { segment_size: 1_048_576 }, // A file goes only when the next one has begun.
      service: { telemetry: telemetryAt(metricsPort) },
    })
    const mount = `mount -t tmpfs -o size=8m tmpfs ${directory} && exec "$@"`
    await using weir = await startWeir(config, { wrapper: ['unshare', '-Urm', 'sh', '-c', mount, 'sh'] })
    await using load = new Load({ url: urlOf(weir), books, senders: 4, padding: 2000, retry: true }).start()
    await eventually(
      async () => load.requests.refused,
      (refused) => refused > 20,
      30_000,
    )
    const errors = await sumOf(metricsPort, 'otelcol_storage_write_errors')
    const held = books.acked
    expect(errors).toBeGreaterThan(0)
    expect(existsSync(join(directory, 'lock'))).toBe(false) // It is not on the disk of the others.
    await sink.start()
    await sleep(2000)
    await load.stop()
    await allArrive(books)
    expect([books.acked, books.delivered]).toEqual([books.sent, books.sent])
    expect(load.requests).toMatchObject({ refusedWithoutDelay: 0, permanent: 0, failed: 0 })
    report('disk full (8 MiB)', `${errors} failed writes`, {
      'acknowledged until then': held,
      acknowledged: books.acked,
      delivered: books.delivered,
      'refused requests, sent again': load.requests.refused,
    })
    expect(books.acked).toBeGreaterThan(held)
  },
  180_000,
)
