/**
 * Scraped text through the receiver and out of the pull exporter again: the same series with the same values.
 */
import { expect, test } from 'vitest'
import prometheusExporter from '../../src/exporters/prometheus/index.ts'
import prometheusReceiver from '../../src/receivers/prometheus/index.ts'
import { createExporter, createReceiver } from '../support/create-test.ts'
import { HttpBackend } from '../support/http-backend.ts'

const TEXT = `# HELP http_requests_total Requests
# TYPE http_requests_total counter
http_requests_total{code="200",method="get"} 1027
http_requests_total{code="500",method="get"} 3
# TYPE temperature_celsius gauge
temperature_celsius{room="a \\"b\\" \\\\ c"} -1.5
# TYPE rpc_seconds histogram
rpc_seconds_bucket{le="0.005"} 1
rpc_seconds_bucket{le="1"} 4
rpc_seconds_bucket{le="+Inf"} 6
rpc_seconds_sum 4.25
rpc_seconds_count 6
# TYPE lag_seconds summary
lag_seconds{quantile="0.5"} 0.1
lag_seconds{quantile="0.99"} 2
lag_seconds_sum 17
lag_seconds_count 40
# TYPE big gauge
big 1e+21
`

/** `name{labels} value`, labels sorted, without those of the target and its scope. */
function series(text: string): string[] {
  const found: string[] = []
  for (const line of text.split('\n')) {
    const match = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line)
    if (!match || /^(?:up|scrape_.*|target_info)$/.test(match[1] ?? '')) continue
    const labels = [...(match[2] ?? '').matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g)]
      .filter(([, name = '']) => name !== 'job' && name !== 'instance' && !name.startsWith('otel_scope'))
      .map(([pair]) => pair)
      .sort()
    found.push(`${match[1]}{${labels}} ${Number(match[3]?.replace('Inf', 'Infinity'))}`)
  }
  return found.sort()
}

test('what is scraped comes out of the pull exporter as it went in', async () => {
  await using backend = await new HttpBackend().start()
  backend.always = { headers: { 'content-type': 'text/plain; version=0.0.4' }, body: TEXT }
  const scrape_configs = [{ job_name: 'shop', static_configs: [{ targets: [new URL(backend.url).host] }] }]
  await using receiver = createReceiver(prometheusReceiver, { config: { scrape_configs } })
  await using exporter = createExporter(
    prometheusExporter,
    { endpoint: '127.0.0.1:0' },
    { signal: 'metrics', host: receiver.host },
  )
  await exporter.start()
  await receiver.start()
  await receiver.clock.advance(60_000)
  for (let round = 0; round < 500 && receiver.sink.batches.length === 0; round++)
    await new Promise((resolve) => setTimeout(resolve, 10))
  for (const batch of receiver.sink.take()) await exporter.consume(batch)
  const response = await fetch(`http://127.0.0.1:${receiver.host.listeners[0]?.port}/metrics`)
  const text = await response.text()
  expect(series(text)).toEqual(series(TEXT))
  expect(text).toContain('# HELP http_requests_total Requests\n# TYPE http_requests_total counter\n')
  expect(text).toMatch(/up\{[^}]*job="shop"[^}]*\} 1\n/)
})
