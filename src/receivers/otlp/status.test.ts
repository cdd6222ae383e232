import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { decodeMessage } from '../../../test/support/otlp.ts'
import { PartialError } from '../../component/partial-error.ts'
import * as errors from '../../errors.ts'
import { GRPC } from '../../net/grpc.ts'
import { encodeRpcStatus, grpcFromHttp, httpFromGrpc, rpcStatusJson } from '../../net/rpc-status.ts'
import { Batch } from '../../otlp/batch.ts'
import { grpcStatusOf, refusalOf, retryAfterHeader } from './status.ts'

const page = readFileSync(new URL('../../../docs/errors.md', import.meta.url), 'utf8')
const rows = page
  .split('\n')
  .filter((line) => line.startsWith('|') && !line.startsWith('| ---'))
  .map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
const CODES: Readonly<Record<string, number>> = GRPC
const SECRET = 'http://backend.internal:4317/token'

/** One error of each class that a sender can meet. */
const examples: Readonly<Record<string, Error>> = {
  InvalidError: new errors.InvalidError('bad'),
  WireError: new errors.WireError('bad', 7),
  TooLargeError: new errors.TooLargeError('large'),
  UnauthenticatedError: new errors.UnauthenticatedError('who'),
  UnimplementedError: new errors.UnimplementedError('what'),
  UnsupportedMediaError: new errors.UnsupportedMediaError('how'),
  RetryableError: new errors.RetryableError(SECRET),
  RefusedError: new errors.RefusedError('full'),
  ShutdownError: new errors.ShutdownError(SECRET),
  DownstreamError: new errors.DownstreamError(SECRET),
  'anything else': new Error(SECRET),
}

test('docs/errors.md tells for each class what status.ts answers', () => {
  const documented = rows.filter((row) => row.length === 6 && row[0] !== 'class')
  expect(documented.map((row) => row[0]).filter((name) => name !== 'PartialSuccess')).toEqual(
    Object.keys(examples),
  )
  for (const [name = '', code, grpc = '', http = ''] of documented) {
    const error = examples[name]
    if (error === undefined) continue
    if (error instanceof errors.WeirError) expect(error.code).toBe(code)
    const refused = refusalOf(error)
    expect([name, refused.code]).toEqual([name, CODES[grpc.split(',')[0] ?? '']])
    expect([name, refused.http]).toEqual([name, Number(http.split(',')[0])])
  }
})

test('every class of errors.ts that can reach a sender is documented', () => {
  const inner = ['WeirError', 'ConfigError', 'PartialSuccess']
  const classes = Object.entries(errors).filter(([, value]) => 'code' in value && !inner.includes(value.name))
  const names = rows.map((row) => row[0])
  for (const [name] of classes) expect(names).toContain(name)
})

test('docs/errors.md tells which HTTP status stands for a gRPC code', () => {
  const documented = rows.filter((row) => row.length === 2 && row[0] !== 'gRPC')
  expect(documented.length).toBe(16)
  for (const [grpc = '', http] of documented) expect(httpFromGrpc(CODES[grpc] ?? -1)).toBe(Number(http))
  expect(httpFromGrpc(0)).toBe(200)
})

test('the way back from HTTP', () => {
  const f = (statuses: number[], want: number) =>
    expect(statuses.map(grpcFromHttp)).toEqual(statuses.map(() => want))
  f([400], GRPC.INVALID_ARGUMENT)
  f([401], GRPC.UNAUTHENTICATED)
  f([403], GRPC.PERMISSION_DENIED)
  f([404], GRPC.UNIMPLEMENTED)
  f([429], GRPC.RESOURCE_EXHAUSTED)
  f([502, 503, 504], GRPC.UNAVAILABLE)
  f([500, 418, 302], GRPC.UNKNOWN)
  f([200, 204], GRPC.OK)
})

test('no text tells what happened behind the receiver', () => {
  for (const error of Object.values(examples))
    expect(refusalOf(error).message).not.toContain('backend.internal')
})

test('a status of the backend passes through', () => {
  const f = (grpcStatus: number, http: number) => {
    const refused = refusalOf(new errors.DownstreamError('x', { grpcStatus }))
    expect([refused.code, refused.http]).toEqual([grpcStatus, http])
  }
  f(GRPC.PERMISSION_DENIED, 403)
  f(GRPC.RESOURCE_EXHAUSTED, 429)
  f(GRPC.UNAVAILABLE, 503)
  f(GRPC.NOT_FOUND, 500)
})

test('what was delivered in part is sent again only if that may help', () => {
  const some = new PartialError(SECRET, { failed: new Batch('traces', []) })
  expect(refusalOf(some)).toMatchObject({ code: GRPC.UNAVAILABLE, http: 503 })
  const none = new PartialError(SECRET, { failed: undefined, droppedItems: 3 })
  expect(refusalOf(none)).toMatchObject({ code: GRPC.INTERNAL, http: 500 })
})

test('Retry-After is in whole seconds, never sooner than asked, and only where there is a delay', () => {
  const f = (error: Error, want: string | undefined) => expect(retryAfterHeader(refusalOf(error))).toBe(want)
  f(new errors.RefusedError('x', 1), '1')
  f(new errors.RefusedError('x', 1000), '1')
  f(new errors.RefusedError('x', 1001), '2')
  f(new errors.RetryableError('x', { retryAfterMs: 30_000 }), '30')
  f(new errors.RetryableError('x'), undefined)
  f(new errors.InvalidError('x'), undefined)
})

test('details are RetryInfo and BadRequest, as protobuf and as JSON', () => {
  const decode = (bytes: Uint8Array | undefined) =>
    decodeMessage('google.rpc.Status', bytes ?? new Uint8Array(0))
  const refused = refusalOf(new errors.RefusedError('queue is full', 2500))
  const status = decode(grpcStatusOf(refused).details)
  expect(status).toMatchObject({ code: 14, message: 'queue is full' })
  expect(status.details[0].type_url ?? status.details[0].typeUrl).toBe(
    'type.googleapis.com/google.rpc.RetryInfo',
  )
  expect(decodeMessage('google.rpc.RetryInfo', status.details[0].value)).toEqual({
    retryDelay: { seconds: '2', nanos: 500_000_000 },
  })
  expect(JSON.parse(rpcStatusJson(refused))).toEqual({
    code: 14,
    message: 'queue is full',
    details: [{ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '2.5s' }],
  })
  const bad = decode(encodeRpcStatus(refusalOf(new errors.WireError('cut off', 12))))
  expect(bad).toMatchObject({ code: 3, message: 'cut off at byte 12' })
  expect(decodeMessage('google.rpc.BadRequest', bad.details[0].value)).toEqual({
    fieldViolations: [{ description: 'cut off at byte 12' }],
  })
  expect(grpcStatusOf(refusalOf(new Error('x'))).details).toBeUndefined()
})
