/**
 * The plugins in pipelines/plugins: each keeps the contract, does what its header says and is short. A collector runs them
 * in running.test.ts.
 */

import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import costAttribution from '../../pipelines/plugins/cost-attribution.ts'
import redactPii from '../../pipelines/plugins/redact-pii.ts'
import slackErrors from '../../pipelines/plugins/slack-errors.ts'
import tenantRouting from '../../pipelines/plugins/tenant-routing.ts'
import webhook from '../../pipelines/plugins/webhook.ts'
import { Batch } from '../../src/otlp/batch.ts'
import { contract, harness, logs, logsOf, metrics, settle, spansOf, traces } from '../../src/testing.ts'

const folder = join(import.meta.dirname, '../../pipelines/plugins')

for (const [definition, config] of [
  [redactPii, { keys: ['email'] }],
  [costAttribution, { teams: { s: 'shop' } }],
  [slackErrors, { webhook_url: 'http://localhost:1/' }],
  [tenantRouting, { tenants: {} }],
  [webhook, { endpoint: 'localhost:0' }],
] as const) {
  for (const { name, run } of contract(definition, { config })) test(name, run)
}

test('each is at most 60 lines, with a YAML beside it', () => {
  const files = readdirSync(folder)
  const plugins = files.filter((file) => file.endsWith('.ts'))
  expect(plugins).toHaveLength(5)
  for (const file of plugins) {
    expect(files).toContain(file.replace('.ts', '.yaml'))
    expect(readFileSync(join(folder, file), 'utf8').split('\n').length - 1, file).toBeLessThanOrEqual(60)
  }
})

test('redact_pii: keys go, addresses and card numbers are replaced, also in events and bodies', async () => {
  await using spans = harness(redactPii, { keys: ['user.email'] })
  const attributes = { 'user.email': 'x', note: 'from ann@example.com, card 4111 1111 1111 1111', rows: 3 }
  await spans.consume(
    traces({ spans: [{ name: 'a', attributes, events: [{ name: 'e', attributes }] }, 'b'] }),
  )
  const clean = { note: 'from [redacted], card [redacted]', rows: 3n }
  const read = spansOf(...spans.sink.take())
  expect(read.map((span) => span.attributes)).toEqual([clean, {}])
  expect(read[0]?.events[0]?.attributes).toEqual(clean)
  expect(spans.meter.read('processor_redact_pii_values')).toBe(4)
  await using lines = harness(redactPii, { replacement: '*' }, { signal: 'logs' })
  await lines.consume(logs({ logs: ['mail bob@example.org', { body: { left: 'alone' } }] }))
  expect(logsOf(...lines.sink.take()).map(({ body }) => body)).toEqual(['mail *', { left: 'alone' }])
})

test('cost_attribution: bytes by team, and the team on the resource', async () => {
  await using cost = harness(costAttribution, { teams: { cart: 'shop' } })
  const batch = Batch.concat([
    traces({ resource: { 'service.name': 'cart' }, spans: ['a', 'b'] }),
    traces({ resource: { 'service.name': 'other' }, spans: ['c'] }),
  ])
  await cost.consume(batch)
  expect(spansOf(...cost.sink.take()).map(({ resource }) => resource['cost.team'])).toEqual([
    'shop',
    'shop',
    'unassigned',
  ])
  const of = (team: string) => cost.meter.read('processor_cost_attribution_bytes', { team, signal: 'traces' })
  expect(of('shop')).toBe(2 * of('unassigned'))
  expect(of('unassigned')).toBeGreaterThan(16)
  await using points = harness(costAttribution, { teams: {} }, { signal: 'metrics' })
  await points.consume(metrics({ metrics: [{ name: 'm', type: 'gauge', points: [{ value: 1 }] }] }))
  expect(
    points.meter.read('processor_cost_attribution_bytes', { team: 'unassigned', signal: 'metrics' }),
  ).toBeGreaterThan(8)
})

test('tenant_routing: each tenant to its pipelines, the rest to the default or nowhere', async () => {
  const batch = Batch.concat(
    ['acme', 'other', 'acme'].map((tenant) => traces({ resource: { 'tenant.id': tenant }, spans: [tenant] })),
  )
  const pipelines = ['traces/acme', 'traces/rest']
  const tenants = { acme: ['traces/acme', 'logs/acme'] }
  await using routed = harness(tenantRouting, { tenants, default: ['traces/rest'] }, { pipelines })
  await routed.consume(batch)
  const namesIn = (id: string) => spansOf(...(routed.sinks.get(id)?.take() ?? [])).map(({ name }) => name)
  expect(namesIn('traces/acme')).toEqual(['acme', 'acme'])
  expect(namesIn('traces/rest')).toEqual(['other'])
  const one = traces({ resource: { 'tenant.id': 'acme' }, spans: ['a'] })
  await routed.consume(one)
  expect(routed.sinks.get('traces/acme')?.take()).toEqual([one])
  await using strict = harness(tenantRouting, { tenants }, { pipelines })
  await strict.consume(batch)
  expect(strict.meter.read('connector_tenant_routing_dropped')).toBe(1)
  expect(() => harness(tenantRouting, { tenants: { a: ['traces/none'] } }, { pipelines })).toThrow(
    /does not take/,
  )
})

test('slack_errors: one message per batch with the errors, retry when Slack says so', async () => {
  const posted: string[] = []
  let status = 200
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (data) => (body += data))
    request.on('end', () => {
      posted.push(JSON.parse(body).text)
      response.writeHead(status, { 'retry-after': '7' }).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  try {
    await using slack = harness(slackErrors, { webhook_url: `http://127.0.0.1:${port}/`, most_spans: 1 })
    await slack.consume(traces({ spans: ['fine'] }))
    expect(posted).toEqual([])
    const broken = {
      name: 'GET <x>',
      status: { code: 'error', message: 'no' },
      traceId: '0'.repeat(31).concat('1'),
    } as const
    const batch = traces({ resource: { 'service.name': 'cart' }, spans: ['fine', broken, broken, broken] })
    await slack.consume(batch)
    expect(posted).toEqual([`*cart* GET &lt;x&gt;: no \`${'0'.repeat(31)}1\`\nand 2 more`])
    expect(slack.meter.read('exporter_slack_errors_messages')).toBe(1)
    status = 429
    await expect(slack.consume(batch)).rejects.toMatchObject({ retryable: true, retryAfterMs: 7000 })
    status = 404
    await expect(slack.consume(batch)).rejects.toMatchObject({ retryable: false })
  } finally {
    server.close()
    server.closeAllConnections()
  }
})

test('webhook: JSON becomes a log record; what cannot be taken is said so', async () => {
  await using hook = harness(webhook, {
    endpoint: 'localhost:0',
    service: 'ci',
    token: 'hush',
    max_body: 100,
  })
  await hook.start()
  const url = `http://${hook.host.listeners[0]?.address}/`
  const post = async (body: string, authorization = 'Bearer hush') =>
    (await fetch(url, { method: 'POST', body, headers: { authorization } })).status
  expect(await post('{"build": 17, "ok": [true, null, 1.5]}')).toBe(202)
  const [line] = logsOf(...hook.sink.take())
  expect(line).toMatchObject({
    body: { build: 17n, ok: [true, null, 1.5] },
    resource: { 'service.name': 'ci' },
  })
  expect(await post('{', undefined)).toBe(400)
  expect(await post('{}', 'Bearer wrong')).toBe(401)
  expect(await post(JSON.stringify('x'.repeat(200)))).toBe(413)
  expect((await fetch(url)).status).toBe(405)
  hook.sink.fail = () => Object.assign(new Error('bad'), {})
  expect(await post('{}')).toBe(500)
  await settle()
})
