/** The unit tests that `weir new` writes, for Node's own test runner. */
import type { Names, NewKind } from './index.ts'

export function unitTestText(kind: NewKind, names: Names): string {
  return TEXTS[kind](names)
}

const head = ({ file, variable, extension }: Names, kit: string) => `import assert from 'node:assert/strict'
import test from 'node:test'
import { ${kit} } from 'weir-collector/testing'
import ${variable} from './${file}.${extension}'
`
/** What every component has to keep. */
const contract = ({ variable }: Names, config: string) => `
for (const { name, run } of contract(${variable}, { config: ${config} })) test(name, run)
`

const TEXTS: Readonly<Record<NewKind, (names: Names) => string>> = {
  processor: (
    names,
  ) => `${head(names, 'contract, harness, logs, logsOf, spansOf, traces')}${contract(names, "{ value: 'shop' }")}
test('spans get the attribute, and are counted', async () => {
  await using marked = harness(${names.variable}, { key: 'owner', value: 'shop' })
  await marked.consume(traces({ spans: [{ name: 'GET /', attributes: { owner: 'nobody', rows: 3 } }, 'db'] }))
  const attributes = spansOf(...marked.sink.take()).map((span) => span.attributes)
  assert.deepEqual(attributes, [{ owner: 'shop', rows: 3n }, { owner: 'shop' }])
  assert.equal(marked.meter.read('processor_${names.type}_items'), 2)
})

test('log records get it, too', async () => {
  await using marked = harness(${names.variable}, { value: 'shop' }, { signal: 'logs' })
  await marked.consume(logs({ logs: ['a line'] }))
  assert.deepEqual(logsOf(...marked.sink.take())[0]?.attributes, { team: 'shop' })
})
`,
  exporter: (names) => `import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
${head(names, 'contract, harness, traces')}${contract(names, "{ url: 'http://127.0.0.1:1/' }")}
test('it posts the number of items, and says what may be tried again', async () => {
  const posted: unknown[] = []
  let status = 200
  const server = createServer(async (request, response) => {
    posted.push(JSON.parse(await text(request)))
    response.writeHead(status).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  try {
    await using exporter = harness(${names.variable}, { url: \`http://127.0.0.1:\${port}/\` })
    const batch = traces({ spans: ['a', 'b'] })
    await exporter.consume(batch)
    assert.deepEqual(posted, [{ signal: 'traces', items: 2 }])
    assert.equal(exporter.meter.read('exporter_${names.type}_posts'), 1)
    status = 503
    await assert.rejects(exporter.consume(batch), { retryable: true })
    status = 404
    await assert.rejects(exporter.consume(batch), { retryable: false })
  } finally {
    server.close()
    server.closeAllConnections()
  }
})
`,
  receiver: (names) => `${head(names, 'contract, harness, logsOf')}${contract(names, '{}')}
test('a record each interval; what the pipeline does not take is counted', async () => {
  await using receiver = harness(${names.variable}, { interval: '5s', text: 'hello' })
  await receiver.start()
  await receiver.clock.advance(11_000) // Time of the test, which passes at once.
  const records = logsOf(...receiver.sink.take())
  assert.deepEqual(records.map(({ body }) => body), ['hello', 'hello'])
  assert.equal(records[0]?.resource['service.name'], '${names.type}')
  receiver.sink.fail = () => new Error('full')
  await receiver.clock.advance(5000)
  assert.equal(receiver.meter.read('receiver_${names.type}_failed'), 1)
})
`,
  connector: (names) => `${head(names, 'contract, harness, logsOf, traces')}${contract(names, '{}')}
test('a record for each span with an error', async () => {
  await using connector = harness(${names.variable}, { severity: 18 })
  const failed = { name: 'POST /pay', status: { code: 'error', message: 'declined' } } as const
  await connector.consume(traces({ resource: { 'service.name': 'shop' }, spans: ['GET /', failed] }))
  const [record, ...others] = logsOf(...(connector.sinks.get('out')?.take() ?? []))
  assert.equal(record?.body, 'POST /pay failed: declined')
  assert.equal(record?.severityNumber, 18)
  assert.deepEqual(record?.attributes, { 'service.name': 'shop' })
  assert.equal(others.length, 0)
})
`,
  extension: (names) => `${head(names, 'contract, harness')}${contract(names, '{}')}
test('a line each interval, until it stops', async () => {
  const extension = harness(${names.variable}, { interval: '5s' })
  await extension.start()
  await extension.clock.advance(11_000) // Time of the test, which passes at once.
  assert.deepEqual(extension.logged.map(({ message }) => message), ['alive', 'alive'])
  assert.equal(extension.meter.read('extension_${names.type}_lines'), 2)
  await extension.shutdown()
  await extension.clock.advance(60_000)
  assert.equal(extension.logged.length, 2)
})
`,
}
