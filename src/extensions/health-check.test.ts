import net from 'node:net'
import { expect, test } from 'vitest'
import { TestHost } from '../../test/support/host.ts'
import { TestMeter } from '../../test/support/meter.ts'
import { silentLogger } from '../component/logger.ts'
import definition from './health-check.ts'

async function start(config: object = {}) {
  const host = new TestHost()
  const meter = new TestMeter()
  const state = { reason: undefined as string | undefined, restarts: 0 }
  const extension = definition.create({
    id: 'health_check',
    config: definition.config.parse({ endpoint: '127.0.0.1:0', ...config }),
    ...{ host, logger: silentLogger, telemetry: meter.instruments(definition.telemetry, {}) },
    service: {
      notReadyReason: () => state.reason,
      startedAtMs: Date.now() - 3_723_500,
      restarts: () => state.restarts,
      statuses: () => new Map(),
    },
  })
  await extension.start?.()
  const port = host.listeners[0]?.port ?? 0
  const ask = async (path = '/') => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { connection: 'close' } })
    return [response.status, await response.text()] as const
  }
  const stop = async () => extension.shutdown?.(AbortSignal.timeout(1000))
  return { state, meter, port, ask, [Symbol.asyncDispose]: stop }
}

test('200 while it takes data, 503 and why while it does not, and how often shards were started again', async () => {
  await using health = await start()
  const [status, body] = await health.ask()
  expect(status).toBe(200)
  const { uptime, ...rest } = JSON.parse(body)
  expect(uptime).toMatch(/^1h2m\d{1,2}(\.\d{1,3})?s$/)
  expect(rest).toEqual({ status: 'Server available', upSince: expect.any(String) })

  health.state.reason = 'shard 1 is restarting: its heap was full'
  health.state.restarts = 2
  const [badStatus, bad] = await health.ask()
  expect(badStatus).toBe(503)
  expect(JSON.parse(bad)).toMatchObject({ reason: health.state.reason, restarts: 2 })

  health.state.reason = undefined
  expect(JSON.parse((await health.ask())[1])).toMatchObject({ restarts: 2, status: 'Server available' })
  expect((await health.ask('/elsewhere'))[0]).toBe(404)
})

test('over 64 connections new ones are closed and counted; when others go, there is room again', async () => {
  await using health = await start()
  const connect = () => net.connect(health.port, '127.0.0.1').on('error', () => {})
  const sockets = Array.from({ length: 64 }, connect)
  await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once('connect', resolve))))
  const late = connect().resume()
  await new Promise((resolve) => late.once('close', resolve))
  expect(health.meter.read('extension_health_check_refused_connections')).toBe(1)
  for (const socket of sockets) socket.destroy()
  await expect.poll(() => health.ask().catch(() => [0])).toEqual([200, expect.any(String)])
})
