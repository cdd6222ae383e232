/**
 * What does a stored request of 36 KB cost in the sending queue? Appended, handed to an exporter that takes it at once, and released;
 * beside the queue in memory, on a real disk, with and without fsync, one after the other and 20 at a time.
 *
 *     node bench/micro/storage.ts
 *
 * CPU is that of the whole process, the threads of the file system included; the time a request takes is printed beside it.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../src/component/clock.ts'
import { silentLogger } from '../../src/component/logger.ts'
import fileStorage from '../../src/extensions/file-storage/index.ts'
import { Batch } from '../../src/otlp/batch.ts'
import { queueField, retryField, sendingSettings } from '../../src/sending/fields.ts'
import { wrapExporter } from '../../src/sending/shell.ts'
import { sendingTelemetry } from '../../src/sending/telemetry.ts'
import { TestHost } from '../../test/support/host.ts'
import { TestMeter } from '../../test/support/meter.ts'
import { traces } from '../../test/support/otlp.ts'

const ROUNDS = 5
const SPANS = 100

const one = traces({
  resource: { 'service.name': 'checkout', padding: 'x'.repeat(100) },
  spans: Array.from({ length: SPANS }, (_, index) => ({
    name: `GET /api/v1/items/${index}`,
    attributes: { 'http.route': '/api/v1/items/{id}', 'user.id': `u-${index}`, text: 'y'.repeat(225) },
  })),
})
const batch = new Batch('traces', one.chunks, SPANS)

class RealHost extends TestHost {
  override readonly clock = systemClock as TestHost['clock'] // Only what Clock has is used.
}

async function makeQueue(storage: 'memory' | 'storage' | 'fsync') {
  const host = new RealHost()
  const meter = new TestMeter()
  const directory = mkdtempSync(join(process.env['WEIR_BENCH_DIR'] ?? os.tmpdir(), 'weir-bench-'))
  const extension = fileStorage.create({
    id: 'file_storage',
    config: fileStorage.config.parse({ directory, fsync: storage === 'fsync' }),
    telemetry: meter.instruments(fileStorage.telemetry, {}),
    logger: silentLogger,
    host,
    service: { notReadyReason: () => undefined, startedAtMs: 0, statuses: () => new Map() },
  })
  await extension.start?.()
  host.extensions.set('file_storage', extension)
  let sent = 0
  const exporter = {
    async consume(part: Batch) {
      sent += part.itemCount
    },
  }
  const named = storage === 'memory' ? {} : { storage: 'file_storage' }
  const shell = wrapExporter(
    exporter,
    sendingSettings({
      timeout: 0,
      retry_on_failure: retryField().parse({}),
      sending_queue: queueField().parse(named),
    }),
    {
      id: 'bench',
      signal: 'traces',
      host,
      logger: silentLogger,
      telemetry: meter.instruments(sendingTelemetry('traces'), {}),
    },
  )
  await shell.start?.()
  const close = async () => {
    await shell.shutdown?.(AbortSignal.timeout(5000))
    await extension.shutdown?.(AbortSignal.timeout(5000))
    rmSync(directory, { recursive: true, force: true })
    return sent
  }
  return { shell, close }
}

async function measure(storage: 'memory' | 'storage' | 'fsync', atOnce: number, count: number) {
  const { shell, close } = await makeQueue(storage)
  const run = async (requests: number) => {
    for (let done = 0; done < requests; done += atOnce) {
      await Promise.all(Array.from({ length: atOnce }, () => shell.consume(batch)))
      await new Promise<void>((resolve) => setImmediate(resolve)) // As between two reads of a socket.
    }
  }
  await run(Math.min(count, 400))
  const cpu = process.cpuUsage()
  const start = performance.now()
  await run(count)
  const wallUs = ((performance.now() - start) * 1000) / count
  const { user, system } = process.cpuUsage(cpu)
  const sent = await close()
  if (sent !== (count + Math.min(count, 400)) * SPANS) throw new Error(`${sent} spans were sent`)
  return { cpuUs: (user + system) / count, wallUs }
}

const cases = [
  { storage: 'memory', atOnce: 20, count: 4000 },
  { storage: 'storage', atOnce: 1, count: 2000 },
  { storage: 'storage', atOnce: 20, count: 4000 },
  { storage: 'fsync', atOnce: 1, count: 200 },
  { storage: 'fsync', atOnce: 20, count: 1000 },
] as const
const results = new Map<(typeof cases)[number], { cpuUs: number; wallUs: number }[]>()
for (let round = 0; round < ROUNDS; round++)
  for (const one of cases) {
    const result = await measure(one.storage, one.atOnce, one.count)
    results.set(one, [...(results.get(one) ?? []), result])
  }
console.log(
  `${os.cpus()[0]?.model}, Node ${process.version}; ${ROUNDS} rounds; request ${batch.byteLength} B`,
)
for (const [{ storage, atOnce }, list] of results) {
  const cpu = list.map(({ cpuUs }) => cpuUs).toSorted((a, b) => a - b)
  const wall = list.map(({ wallUs }) => wallUs).toSorted((a, b) => a - b)
  const middle = Math.floor(ROUNDS / 2)
  const range = `(${cpu[0]?.toFixed(1)} to ${cpu.at(-1)?.toFixed(1)})`
  console.log(
    `${storage}, ${atOnce} at a time: median ${cpu[middle]?.toFixed(1)} us of CPU a request ${range}, ${wall[middle]?.toFixed(0)} us each`,
  )
}
