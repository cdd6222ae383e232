import { expect, test } from 'vitest'
import { Sink } from '../../test/support/create-test.ts'
import { TestHost } from '../../test/support/host.ts'
import { logs, metrics, traces } from '../../test/support/otlp.ts'
import { silentLogger } from '../component/logger.ts'
import { RetryableError } from '../errors.ts'
import type { Signal } from '../otlp/batch.ts'
import definition from './forward.ts'

function forward(signal: Signal) {
  const sink = new Sink()
  const connector = definition.create({
    id: 'forward',
    config: definition.config.parse({}),
    telemetry: {},
    logger: silentLogger,
    host: new TestHost(),
    from: signal,
    to: signal,
    next: new Map([['out', sink]]),
    all: sink,
  })
  return { sink, connector }
}

test('every signal goes to itself, as the same batch', async () => {
  expect(definition.routes.every(({ from, to }) => from === to)).toBe(true)
  expect(definition.routes.map(({ from }) => from)).toEqual(['traces', 'metrics', 'logs'])
  for (const batch of [traces({ spans: ['a'] }), metrics({ metrics: [] }), logs({ logs: ['a'] })]) {
    const { sink, connector } = forward(batch.signal)
    await connector.consume(batch)
    expect(sink.take()).toEqual([batch])
  }
})

test('a refusal behind it is its own refusal', async () => {
  const { sink, connector } = forward('traces')
  const refusal = new RetryableError('full')
  sink.fail = () => refusal
  await expect(connector.consume(traces({ spans: ['a'] }))).rejects.toBe(refusal)
})
