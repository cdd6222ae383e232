/**
 * A shard dies under requests. Guarantee: it comes back, its counters go on, health says so meanwhile, and the other shard serves on.
 */
import { expect, test } from 'vitest'
import type { LogFields, Logger } from '../../src/component/logger.ts'
import { loadConfig } from '../../src/config/load.ts'
import { Service } from '../../src/service/service.ts'
import { registry } from '../support/crashing-components.ts'
import { encode } from '../support/otlp.ts'
import { eventually, freePort } from '../support/peers.ts'

function recordingLogger() {
  const lines: { level: string; message: string; fields: LogFields | undefined }[] = []
  const at = (level: string) => (message: string, fields?: LogFields) =>
    void lines.push({ level, message, fields })
  const logger: Logger = {
    error: at('error'),
    warn: at('warn'),
    info: at('info'),
    debug: at('debug'),
    debugEnabled: false,
    child: () => logger,
  }
  return { logger, lines }
}

const config = (metricsPort: number) => ({
  receivers: { otlp: { protocols: { http: { endpoint: 'localhost:0' } } } },
  processors: { crash: null },
  exporters: { nop: null },
  service: {
    shards: 2,
    telemetry: {
      logs: { level: 'error' },
      metrics: {
        readers: [{ pull: { exporter: { prometheus: { host: 'localhost', port: metricsPort } } } }],
      },
    },
    pipelines: { traces: { receivers: ['otlp'], processors: ['crash'], exporters: ['nop'] } },
  },
})

test('a dead shard is started again; counters, health and the other shard bear it', async () => {
  const { logger, lines } = recordingLogger()
  const metricsPort = await freePort()
  const source = `yaml:${JSON.stringify(config(metricsPort))}`
  const loaded = await loadConfig({ sources: [source], sets: [], env: {}, registry })
  const service = new Service(registry, logger, new URL('../support/crashing-shard.ts', import.meta.url))
  await service.start(loaded)
  try {
    const url = `http://${service.listeners()['receivers/otlp/protocols/http']}/v1/traces`
    const post = async (name: string) => {
      const spans = [{ traceId: Buffer.alloc(16, 1), spanId: Buffer.alloc(8, 1), name }]
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/x-protobuf', connection: 'close' },
        body: encode('traces', { resourceSpans: [{ scopeSpans: [{ spans }] }] }),
      })
      await response.arrayBuffer()
      return response.status
    }
    const accepted = async () => {
      const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text()
      return Number(/^otelcol_receiver_accepted_spans\{.*\} (\d+)$/m.exec(text)?.[1] ?? 0)
    }
    let served = 0
    for (let index = 0; index < 20; index++) if ((await post('fine')) === 200) served++
    expect(served).toBe(20)
    expect(await accepted()).toBe(20)

    await expect(post('crash')).rejects.toThrow()
    let reason: string | undefined
    for (let waited = 0; reason === undefined && waited < 10_000; waited += 2) {
      await new Promise((resolve) => setTimeout(resolve, 2))
      reason = service.notReadyReason()
    }
    expect(reason).toMatch(/^shard [01] is restarting: it threw an error that nothing caught$/)
    expect(
      lines.some((line) => line.level === 'error' && line.message === 'shard died, starting it again'),
    ).toBe(true)
    for (let index = 0; index < 20; index++) if ((await post('fine').catch(() => 0)) === 200) served++
    expect(served).toBeGreaterThan(20)

    await eventually(
      async () => service.notReadyReason(),
      (now) => now === undefined,
      30_000,
    )
    for (let index = 0; index < 20; index++) if ((await post('fine')) === 200) served++
    expect(await accepted()).toBe(served)
  } finally {
    await service.shutdown(5000)
  }
})
