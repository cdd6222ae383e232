/**
 * Scenario: a request that lies in a durable log ends the shard each time it is handled, in the exporter behind a
 * persistent queue, or in a processor behind a receiver with a log.
 * Guarantee: after the third crash it is set aside as a file, counted, and the log says where; everything else
 * arrives, and the shard lives. So it is when the whole process dies each time, as by a fault in native code.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { decode, encode, type Plain } from '../support/otlp.ts'
import { eventually, freePort } from '../support/peers.ts'
import { startWeir } from '../support/weir.ts'

const plugins = [join(import.meta.dirname, 'plugins/deadly.ts')]

const config = (of: 'queue' | 'receiver', metricsPort: number) => ({
  plugins,
  receivers: {
    otlp: {
      protocols: { http: { endpoint: 'localhost:0' } },
      ...(of === 'receiver' && { storage: 'file_storage' }),
    },
  },
  processors: { deadly: null },
  exporters: {
    deadly: {
      path: 'arrived.txt',
      ...(of === 'queue' && { sending_queue: { storage: 'file_storage', num_consumers: 1 } }),
    },
  },
  extensions: {
    health_check: { endpoint: 'localhost:0' },
    file_storage: { directory: 'storage', create_directory: true },
  },
  service: {
    shards: 2,
    extensions: ['health_check', 'file_storage'],
    supervision: { restart_max_interval: '250ms' },
    telemetry: {
      metrics: {
        readers: [{ pull: { exporter: { prometheus: { host: 'localhost', port: metricsPort } } } }],
      },
    },
    pipelines: {
      traces: {
        receivers: ['otlp'],
        processors: of === 'receiver' ? ['deadly'] : [],
        exporters: ['deadly'],
      },
    },
  },
})

for (const of of ['queue', 'receiver'] as const) {
  test(`a request that ends its shard three times is set aside: log of the ${of}`, async () => {
    const metricsPort = await freePort()
    await using weir = await startWeir(config(of, metricsPort))
    const url = `http://${weir.address('receivers/otlp/protocols/http')}/v1/traces`
    const post = async (name: string) => {
      const spans = [{ traceId: Buffer.alloc(16, 1), spanId: Buffer.alloc(8, 1), name }]
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/x-protobuf', connection: 'close' },
        body: encode('traces', { resourceSpans: [{ scopeSpans: [{ spans }] }] }),
      })
      return response.status
    }
    const sent: string[] = []
    const postFine = async (count: number) => {
      for (let index = 0; index < count; index++) {
        const name = `fine-${sent.length}`
        if ((await post(name).catch(() => 0)) === 200) sent.push(name)
      }
    }
    await postFine(10)
    // It may end the shard before the answer is out, but not before it is in the log.
    await post('do exit').catch(() => 0)
    await postFine(10)
    const parked = await weir.logged(({ msg }) => msg.startsWith('a record is set aside'), 0, 40_000)
    const [request] = [decode('traces', readFileSync(join(weir.folder, String(parked['path']))))]
    expect((request as Plain).resourceSpans[0].scopeSpans[0].spans[0].name).toBe('do exit')
    // The first death may be in company, before the request is tried alone.
    const deaths = weir.log.filter(({ msg }) => msg === 'shard died, starting it again').length
    expect([3, 4]).toContain(deaths)
    await postFine(10)
    const arrived = () => new Set(readFileSync(join(weir.folder, 'arrived.txt'), 'utf8').trim().split('\n'))
    await eventually(
      async () => sent.filter((name) => !arrived().has(name)),
      (missing) => missing.length === 0,
      20_000,
    )
    expect(sent.length).toBeGreaterThanOrEqual(25)
    const page = await (await fetch(`http://localhost:${metricsPort}/metrics`)).text()
    expect(page).toMatch(/^otelcol_storage_parked_records\{.*\} 1$/m)
    const counted = of === 'queue' ? 'exporter_send_failed_spans' : 'receiver_log_parked_items'
    expect(page).toMatch(new RegExp(`^otelcol_${counted}\\{.*\\} 1$`, 'm'))
    const health = await fetch(`http://${weir.address('extensions/health_check')}/`)
    expect([health.status, ((await health.json()) as Plain).restarts]).toEqual([200, deaths])
  }, 90_000)
}

const ROOT = join(import.meta.dirname, '../..')

test('a request that kills the whole process each time it is sent is set aside, too', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'weir-parked-'))
  const port = await freePort()
  const made = config('queue', await freePort())
  made.receivers.otlp.protocols.http.endpoint = `localhost:${port}`
  writeFileSync(join(folder, 'config.yaml'), JSON.stringify(made, null, 1))
  /** One run. `said` resolves when this is in its log, or it is dead. */
  const run = () => {
    const child = spawn(process.execPath, [join(ROOT, 'src/main.ts'), '--config', 'config.yaml'], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const died = once(child, 'exit')
    const ended = () => child.exitCode !== null || child.signalCode !== null
    let log = ''
    child.stderr.on('data', (chunk: Buffer) => {
      log += chunk
    })
    const said = async (text: string) => {
      await eventually(
        async () => ended() || log.includes(text),
        (over) => over,
        60_000,
      )
    }
    return { child, died, said, ended }
  }
  const post = (name: string) =>
    fetch(`http://localhost:${port}/v1/traces`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-protobuf', connection: 'close' },
      body: encode('traces', { resourceSpans: [{ scopeSpans: [{ spans: [{ name }] }] }] }),
    }).then(({ status }) => expect(status).toBe(200))
  const arrived = () => new Set(readFileSync(join(folder, 'arrived.txt'), 'utf8').trim().split('\n'))
  let current = run()
  try {
    await current.said('weir is ready')
    for (let index = 0; index < 5; index++) await post(`fine-${index}`)
    await post('do kill').catch(() => {})
    let deaths = 0
    await current.died
    while (current.ended()) {
      expect(++deaths).toBeLessThan(6)
      current = run()
      await current.said('a record is set aside')
    }
    // Alone three times; before that when it came in, and perhaps in company.
    expect([4, 5]).toContain(deaths)
    await current.said('weir is ready')
    await post('fine-5')
    await eventually(
      async () => arrived().size,
      (count) => count === 6,
      20_000,
    )
  } finally {
    current.child.kill('SIGTERM')
    await current.died
    rmSync(folder, { recursive: true, force: true })
  }
}, 180_000)

test('an error in the main thread that nothing catches ends the process with code 2 and is told', async () => {
  await using weir = await startWeir({
    plugins,
    receivers: { otlp: { protocols: { http: { endpoint: 'localhost:0' } } } },
    exporters: { nop: null },
    extensions: { deadly: { when_there: 'now' } },
    service: {
      shards: 1,
      extensions: ['deadly'],
      telemetry: { metrics: { level: 'none' } },
      pipelines: { traces: { receivers: ['otlp'], exporters: ['nop'] } },
    },
  })
  writeFileSync(join(weir.folder, 'now'), '')
  const line = await weir.logged(({ msg }) => msg.startsWith('weir crashed'))
  expect(line).toMatchObject({ level: 'error', error: 'thrown in main on purpose' })
  expect(await weir.stop()).toBe(2)
})
