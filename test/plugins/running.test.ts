/**
 * Scenario: one collector with two shards runs the plugins of pipelines/plugins, a receiver, processors, a connector and an exporter, some
 * of them isolated.
 * Guarantee: data goes all the way through, and each example's YAML is valid as it stands.
 */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { eventually } from '../support/peers.ts'
import { startWeir } from '../support/weir.ts'

const root = join(import.meta.dirname, '../..')
const example = (name: string) => join(root, 'pipelines/plugins', name)

test('every example is valid as it stands', () => {
  const files = readdirSync(example('')).filter((file) => /(?<!\.test)\.yaml$/.test(file))
  expect(files).toHaveLength(5)
  for (const file of files) {
    const arguments_ = [join(root, 'src/main.ts'), 'validate', '--config', example(file)]
    expect(execFileSync(process.execPath, arguments_, { encoding: 'utf8' }), file).toBe('')
  }
}, 120_000)

test('the examples run together in one collector', async () => {
  const posted: string[] = []
  const slack = createServer((request, response) => {
    let body = ''
    request.on('data', (data) => {
      body += String(data)
    })
    request.on('end', () => {
      posted.push(body)
      response.end()
    })
  })
  await new Promise<void>((resolve) => void slack.listen(0, '127.0.0.1', resolve))
  const { port } = slack.address() as { port: number }
  try {
    await using weir = await startWeir({
      plugins: [
        'redact-pii.ts',
        'cost-attribution.ts',
        'slack-errors.ts',
        'tenant-routing.ts',
        'webhook.ts',
      ].map(example),
      receivers: {
        webhook: { endpoint: 'localhost:0' },
        otlp: { protocols: { http: { endpoint: 'localhost:0' } } },
      },
      processors: {
        redact_pii: { isolate: true },
        cost_attribution: { teams: { cart: 'shop' } },
        'cost_attribution/apart': { teams: { cart: 'shop' }, isolate: { pool: 1 } },
      },
      connectors: { tenant_routing: { tenants: { acme: ['traces/acme'] } } },
      exporters: {
        'file/logs': { path: 'logs.jsonl' },
        'file/acme': { path: 'acme.jsonl' },
        slack_errors: { webhook_url: `http://127.0.0.1:${port}/` },
      },
      service: {
        shards: 2,
        telemetry: { metrics: { level: 'none' } },
        pipelines: {
          logs: {
            receivers: ['webhook'],
            processors: ['redact_pii', 'cost_attribution/apart'],
            exporters: ['file/logs'],
          },
          'traces/in': {
            receivers: ['otlp'],
            processors: ['cost_attribution'],
            exporters: ['tenant_routing', 'slack_errors'],
          },
          'traces/acme': { receivers: ['tenant_routing'], exporters: ['file/acme'] },
        },
      },
    })
    for (let sent = 0; sent < 4; sent++) {
      const answer = await fetch(`http://${weir.address('receivers/webhook')}/`, {
        method: 'POST',
        body: JSON.stringify('call ann@example.com'),
      })
      expect(answer.status).toBe(202)
    }
    const lines = readFileSync(join(weir.folder, 'logs.jsonl'), 'utf8').trim().split('\n')
    expect(lines).toHaveLength(4)
    for (const line of lines) {
      const [{ resource, scopeLogs }] = JSON.parse(line).resourceLogs
      expect(scopeLogs[0].logRecords[0].body).toEqual({ stringValue: 'call [redacted]' })
      expect(JSON.stringify(resource)).toContain('"unassigned"')
    }
    const span = { traceId: '0123456789abcdef0123456789abcdef', spanId: '0123456789abcdef', name: 'pay' }
    const resource = {
      attributes: ['service.name', 'tenant.id'].map((key, index) => ({
        key,
        value: { stringValue: ['cart', 'acme'][index] },
      })),
    }
    const sent = await fetch(`http://${weir.address('receivers/otlp/protocols/http')}/v1/traces`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        resourceSpans: [
          { resource, scopeSpans: [{ spans: [{ ...span, status: { code: 2, message: 'refused' } }] }] },
        ],
      }),
    })
    expect(sent.status).toBe(200)
    expect(readFileSync(join(weir.folder, 'acme.jsonl'), 'utf8')).toContain('"cost.team"')
    await eventually(
      async () => posted.length,
      (count) => count === 1,
    )
    expect(JSON.parse(posted[0] ?? '').text).toBe('*cart* pay: refused `0123456789abcdef0123456789abcdef`')
    expect(await weir.stop()).toBe(0)
  } finally {
    slack.close()
    slack.closeAllConnections()
  }
})

test('a reload brings plugins in; a bad one leaves everything running and says where it is', async () => {
  const config = (plugins: readonly string[], processors: object) => ({
    plugins,
    receivers: { webhook: { endpoint: 'localhost:0' } },
    processors,
    exporters: { file: { path: 'logs.jsonl' } },
    service: {
      shards: 2,
      telemetry: { metrics: { level: 'none' } },
      pipelines: {
        logs: { receivers: ['webhook'], processors: Object.keys(processors), exporters: ['file'] },
      },
    },
  })
  await using weir = await startWeir(config([example('webhook.ts')], {}))
  const url = `http://${weir.address('receivers/webhook')}/`
  const reload = async (plugins: readonly string[], processors: object, message: string) => {
    const since = weir.log.length
    writeFileSync(weir.configPath, JSON.stringify(config(plugins, processors), null, 1))
    weir.signal('SIGHUP')
    await weir.logged(({ msg }) => msg === message, since)
    return weir.log.slice(since)
  }
  const both = [example('webhook.ts'), example('redact-pii.ts')]
  await reload(both, { redact_pii: { isolate: true } }, 'reloaded')
  writeFileSync(join(weir.folder, 'bad.ts'), 'throw new Error("on purpose")')
  const failed = 'reload failed, the configuration before it runs on'
  const lines = await reload([...both, './bad.ts'], {}, failed)
  expect(JSON.stringify(lines)).toMatch(/config\.yaml:5:3: plugins\[2\]: importing it throws: on purpose/)
  expect((await fetch(url, { method: 'POST', body: '"mail ann@example.com"' })).status).toBe(202)
  expect(readFileSync(join(weir.folder, 'logs.jsonl'), 'utf8')).toContain('mail [redacted]')
})
