/**
 * Scenario: a collector with two shards runs with --watch; the code of its plugins, what that code imports,
 * and the configuration change under it, in place and by files that are moved there, as editors do it.
 * Guarantee: new code is taken without closing a connection, bad code changes nothing and is told with its
 * place.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { eventually } from '../support/peers.ts'
import { startWeir } from '../support/weir.ts'

const PLUGIN = `
import { defineProcessor, z } from 'weir-collector'
import { mark } from './marks/mark.ts'
export default defineProcessor({
  type: 'marker',
  summary: 'Marks log records.',
  config: z.strictObject({}),
  edit() {
    const code = mark('A')
    return { logRecord: (record) => void record.attributes.set('mark', code) }
  },
})
`
const helper = (version: number) => `export const mark = (code: string) => code + '${version}'\n`

function config(processors: object, more: object = {}) {
  return {
    plugins: ['./marker.ts'],
    receivers: { otlp: { protocols: { http: { endpoint: 'localhost:0' } } } },
    processors,
    exporters: { file: { path: 'out.jsonl' } },
    service: {
      shards: 2,
      telemetry: { metrics: { level: 'none' }, logs: { sampling: { enabled: false } } },
      pipelines: {
        logs: { receivers: ['otlp'], processors: Object.keys(processors), exporters: ['file'] },
        ...more,
      },
    },
  }
}

for (const isolate of [false, true]) {
  test(`changed code is taken, bad code is not${isolate ? ', in isolation' : ''}`, {
    timeout: 60_000,
  }, async () => {
    await using weir = await startWeir(config({ marker: { isolate } }), {
      arguments: ['--watch'],
      files: { 'marker.ts': PLUGIN, 'marks/mark.ts': helper(1) },
    })
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    const sockets = new Set<unknown>()
    agent.on('free', (socket) => void sockets.add(socket))
    const send = () => post(agent, weir.address('receivers/otlp/protocols/http'))
    const marks = () =>
      readFileSync(join(weir.folder, 'out.jsonl'), 'utf8')
        .match(/"stringValue":"([A-Z]\d+)"/g)
        ?.at(-1)
    const change = async (name: string, text: string, outcome: string) => {
      const since = weir.log.length
      const path = join(weir.folder, name)
      writeFileSync(`${path}~`, text)
      renameSync(`${path}~`, path)
      await weir.logged(({ msg }) => msg === outcome, since)
      return JSON.stringify(weir.log.slice(since))
    }
    const sees = async (mark: string) => {
      expect(await send()).toBe(200)
      await eventually(
        async () => marks(),
        (last) => last === `"stringValue":"${mark}"`,
        10_000,
      )
    }
    const refused = 'reload failed, the configuration before it runs on'
    await sees('A1')
    expect(await change('marks/mark.ts', helper(2), 'reloaded')).toContain('processors/marker/logs')
    await sees('A2')
    const broken = await change('marker.ts', `${PLUGIN}\nthrow new Error('on purpose')`, refused)
    expect(broken).toMatch(/config\.yaml:3:3: plugins\[0\]: importing it throws: on purpose/)
    await sees('A2')
    await change('marker.ts', PLUGIN.replace("'A'", "'B'"), 'reloaded')
    await sees('B2')
    await change('marks/mark.ts', helper(1), 'reloaded')
    await sees('B1')
    // The configuration itself, written in place.
    const since = weir.log.length
    writeFileSync(weir.configPath, JSON.stringify(config({})))
    await weir.logged(({ msg }) => msg === 'reloaded', since)
    expect(await send()).toBe(200)
    expect(sockets.size).toBe(1)
    agent.destroy()
  })
}

function post(agent: http.Agent, address: string): Promise<number> {
  const body = { resourceLogs: [{ scopeLogs: [{ logRecords: [{ body: { stringValue: 'line' } }] }] }] }
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' }
    const request = http.request(
      `http://${address}/v1/logs`,
      { agent, method: 'POST', headers },
      (response) => {
        response.resume()
        response.on('end', () => resolve(response.statusCode ?? 0))
      },
    )
    request.on('error', reject)
    request.end(JSON.stringify(body))
  })
}
