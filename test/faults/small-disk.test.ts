/**
 * Scenario: a real file system (a tmpfs of 8 MiB) that is smaller than one file of the storage, so that the newest file of
 * each shard alone fills it while the backend is away; the backend comes back, twice. Guarantee: senders are refused
 * retryably while it is full, what is stored goes out, the disk gets free by itself, and everything arrives.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { eventually, freePort } from '../support/peers.ts'
import { startWeir } from '../support/weir.ts'
import { Books } from './support/books.ts'
import { Load } from './support/load.ts'
import { sumOf, telemetryAt } from './support/metrics-page.ts'
import { report } from './support/settings.ts'
import { Sink } from './support/sink.ts'

const ROUNDS = 2
const DISK_MIB = 8

const mountsAllowed = spawnSync('unshare', ['-Urm', 'sh', '-c', 'mount -t tmpfs tmpfs /mnt']).status === 0
if (!mountsAllowed) console.log('SKIPPED: this system does not let a test mount a small disk (unshare -Urm)')

const configOf = (of: 'queue' | 'receiver', backend: string, metricsPort: number) => ({
  receivers: {
    otlp: {
      protocols: { http: { endpoint: 'localhost:0' } },
      ...(of === 'receiver' && { storage: 'file_storage' }),
    },
  },
  extensions: { file_storage: { directory: 'storage' } }, // Files of 16 MiB.
  exporters: {
    otlp_http: {
      endpoint: backend,
      compression: 'none',
      retry_on_failure: { initial_interval: '100ms', max_interval: '500ms', max_elapsed_time: 0 },
      sending_queue: of === 'queue' ? { storage: 'file_storage', queue_size: 100_000 } : { enabled: false },
    },
  },
  service: {
    shards: 2,
    extensions: ['file_storage'],
    telemetry: telemetryAt(metricsPort),
    pipelines: { traces: { receivers: ['otlp'], exporters: ['otlp_http'] } },
  },
})

for (const of of ['queue', 'receiver'] as const)
  test.skipIf(!mountsAllowed)(
    `a disk smaller than one file of the storage gets free by itself: log of the ${of}`,
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'weir-small-disk-'))
      const directory = join(folder, 'storage')
      mkdirSync(directory)
      const books = new Books()
      await using sink = await new Sink(books.deliver).start()
      const metricsPort = await freePort()
      const config = configOf(of, sink.url, metricsPort)
      config.extensions.file_storage.directory = directory
      const mount = `mount -t tmpfs -o size=${DISK_MIB}m tmpfs ${directory} && exec "$@"`
      await using weir = await startWeir(config, { wrapper: ['unshare', '-Urm', 'sh', '-c', mount, 'sh'] })
      const url = `http://${weir.address('receivers/otlp/protocols/http')}`
      try {
        const refusals: number[] = []
        for (let round = 0; round < ROUNDS; round++) {
          await sink.stop()
          const settings = { url, books, senders: 4, padding: 2000, retry: true, firstTrace: round * 100_000 }
          await using load = new Load(settings).start()
          await eventually(
            async () => load.requests.refused,
            (refused) => refused > 20,
            60_000,
          )
          await sink.start()
          // The senders go on until what was refused is taken: that needs room.
          await load.stop()
          await eventually(
            async () => books.missing(),
            (missing) => missing === 0,
            60_000,
          )
          refusals.push(load.requests.refused)
          expect(load.requests).toMatchObject({ refusedWithoutDelay: 0, permanent: 0, failed: 0 })
        }
        const errors = await sumOf(metricsPort, 'otelcol_storage_write_errors')
        report(`disk smaller than a file (${DISK_MIB} MiB), log of the ${of}`, `${errors} failed writes`, {
          acknowledged: books.acked,
          missing: books.missing(),
          'refused requests, sent again': refusals.reduce((total, count) => total + count, 0),
          'times it was full': ROUNDS,
        })
        expect(errors).toBeGreaterThan(ROUNDS)
        expect([books.acked, books.missing()]).toEqual([books.sent, 0])
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    },
    240_000,
  )
