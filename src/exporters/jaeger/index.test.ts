import { expect, test } from 'vitest'
import { createExporter } from '../../../test/support/create-test.ts'
import { GrpcBackend } from '../../../test/support/grpc-backend.ts'
import { decodeBatch, decodeMessage, type Plain, traces } from '../../../test/support/otlp.ts'
import { silentLogger } from '../../component/logger.ts'
import { PartialError } from '../../component/partial-error.ts'
import { DownstreamError, RetryableError } from '../../errors.ts'
import { GRPC } from '../../net/grpc.ts'
import definition from './index.ts'

const POST_SPANS = '/jaeger.api_v2.CollectorService/PostSpans'
const start = () => new GrpcBackend().start([POST_SPANS])

async function make(endpoint: string) {
  const warnings: string[] = []
  const logger = { ...silentLogger, warn: (message: string) => void warnings.push(message) }
  const exporter = createExporter(definition, { endpoint, tls: { insecure: true } }, { logger })
  await exporter.start()
  return Object.assign(exporter, { warnings })
}

const failure = (promise: Promise<void>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  )

const services = (...names: string[]) =>
  traces(...names.map((name) => ({ resource: { 'service.name': name }, spans: [`${name}-span`] })))

function spanNames(backend: GrpcBackend): string[] {
  return backend.calls.flatMap((call) =>
    decodeMessage('jaeger.api_v2.PostSpansRequest', call.message).batch.spans.map(
      (span: Plain) => span.operationName,
    ),
  )
}

test('posts the spans of each resource, and says what replaces it', async () => {
  await using backend = await start()
  await using exporter = await make(backend.endpoint)
  await exporter.consume(services('a', 'b'))
  expect(spanNames(backend).sort()).toEqual(['a-span', 'b-span'])
  expect(exporter.warnings[0]).toContain('otlp_grpc')
  await exporter.consume(traces({ spans: [] }))
  expect(backend.calls.length).toBe(2)
})

test('all retryable or all permanent: the error of the backend', async () => {
  await using backend = await start()
  await using exporter = await make(backend.endpoint)
  backend.always = { code: GRPC.UNAVAILABLE }
  expect(await failure(exporter.consume(services('a', 'b')))).toBeInstanceOf(RetryableError)
  backend.always = { code: GRPC.INVALID_ARGUMENT }
  expect(await failure(exporter.consume(services('a', 'b')))).toBeInstanceOf(DownstreamError)
})

test('mixed outcomes: delivered, dropped and failed spans add up, and only the failed are handed back', async () => {
  await using backend = await start()
  await using exporter = await make(backend.endpoint)
  backend.script.push({}, { code: GRPC.UNAVAILABLE }, { code: GRPC.INVALID_ARGUMENT })
  const error = await failure(exporter.consume(services('a', 'b', 'c')))
  expect(error).toBeInstanceOf(PartialError)
  const { failed, droppedItems, retryable } = error as PartialError
  expect([failed?.itemCount, droppedItems, retryable]).toEqual([1, 1, true])
  const request = failed && decodeBatch(failed)
  expect(request.resourceSpans.length).toBe(1)
  await exporter.consume(failed!)
  const sent = spanNames(backend)
  // Of three first calls one was taken; the fourth repeats exactly the one that may be sent again.
  expect(sent.slice(0, 3).sort()).toEqual(['a-span', 'b-span', 'c-span'])
  expect(sent[3]).toBe(request.resourceSpans[0].scopeSpans[0].spans[0].name)
})

test('the config has the fields of the gRPC client', () => {
  const f = (config: object) => definition.config.safeParse(config).success
  expect(f({ endpoint: 'jaeger:14250' })).toBe(true)
  expect(
    f({
      endpoint: 'jaeger:14250',
      tls: { insecure: true },
      headers: { a: 'b' },
      balancer_name: 'round_robin',
    }),
  ).toBe(true)
  expect(
    f({ endpoint: 'jaeger:14250', sending_queue: { enabled: false }, retry_on_failure: {}, timeout: '1s' }),
  ).toBe(true)
  expect(f({})).toBe(false)
  expect(f({ endpoint: 'jaeger' })).toBe(false)
  expect(f({ endpoint: 'jaeger:1', compresion: 'gzip' })).toBe(false)
})
