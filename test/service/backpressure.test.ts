/**
 * What a sender is told of what happens behind Weir, over gRPC and HTTP, with real backends.
 * Guarantee: without a queue, or with wait_for_result, the answer of the backend is the sender's answer, also
 * through `batch`, and inside the sender's deadline; a queue takes what it has room for and refuses the rest
 * retryably; a branch that hangs stops no other.
 */
import * as grpc from '@grpc/grpc-js'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { GRPC } from '../../src/net/grpc.ts'
import { encodeRpcStatus } from '../../src/net/rpc-status.ts'
import { GrpcBackend } from '../support/grpc-backend.ts'
import { HttpBackend } from '../support/http-backend.ts'
import { decode, decodeMessage, encode, encodeMessage, type Plain } from '../support/otlp.ts'
import { eventually, freePort } from '../support/peers.ts'
import { type RunningWeir, startWeir } from '../support/weir.ts'

const TRACES = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
const OFF = { enabled: false }
const WAIT = { wait_for_result: true }

let weir: RunningWeir
let http: HttpBackend
let hung: HttpBackend
let rpc: GrpcBackend
let metricsPort = 0

beforeAll(async () => {
  http = await new HttpBackend().start()
  hung = await new HttpBackend().start()
  hung.always = () => {}
  rpc = await new GrpcBackend().start([TRACES])
  metricsPort = await freePort()
  const toHttp = { endpoint: http.url, compression: 'none', retry_on_failure: OFF }
  const toGrpc = {
    ...{ endpoint: rpc.endpoint, compression: 'none', tls: { insecure: true } },
    retry_on_failure: OFF,
  }
  const quick = { enabled: true, initial_interval: '10ms', max_interval: '20ms', max_elapsed_time: '20s' }
  const exporters: Record<string, object> = {
    'otlp_http/direct': { ...toHttp, sending_queue: OFF },
    'otlp_http/waiting': { ...toHttp, sending_queue: WAIT },
    'otlp_grpc/direct': { ...toGrpc, sending_queue: OFF },
    'otlp_grpc/waiting': { ...toGrpc, sending_queue: WAIT },
    'otlp_http/retrying': { ...toHttp, retry_on_failure: quick },
    'otlp_grpc/retrying': { ...toGrpc, retry_on_failure: quick },
    'otlp_http/hung': { ...toHttp, endpoint: hung.url, sending_queue: { queue_size: 3, num_consumers: 1 } },
    'otlp_http/late': { ...toHttp, endpoint: hung.url, timeout: '300ms', sending_queue: OFF },
  }
  const batch = { timeout: '100ms' }
  /** Each has a receiver of its own. */
  const ways: Record<string, { processors?: string[]; exporters: string[] }> = {
    http_direct: { exporters: ['otlp_http/direct'] },
    http_batched: { processors: ['batch'], exporters: ['otlp_http/direct'] },
    http_waiting: { processors: ['batch'], exporters: ['otlp_http/waiting'] },
    grpc_direct: { exporters: ['otlp_grpc/direct'] },
    grpc_batched: { processors: ['batch'], exporters: ['otlp_grpc/direct'] },
    grpc_waiting: { processors: ['batch'], exporters: ['otlp_grpc/waiting'] },
    slow_batch: { processors: ['batch/slow'], exporters: ['otlp_http/direct'] },
    late: { processors: ['batch'], exporters: ['otlp_http/late'] },
    http_retrying: { exporters: ['otlp_http/retrying'] },
    grpc_retrying: { exporters: ['otlp_grpc/retrying'] },
    fanned: { exporters: ['otlp_http/hung', 'otlp_http/retrying'] },
  }
  const receivers: Record<string, object> = {}
  const pipelines: Record<string, object> = {}
  for (const [name, way] of Object.entries(ways)) {
    const endpoint = { endpoint: 'localhost:0' }
    receivers[`otlp/${name}`] = { protocols: { grpc: endpoint, http: endpoint } }
    pipelines[`traces/${name}`] = { receivers: [`otlp/${name}`], ...way }
  }
  const pull = { exporter: { prometheus: { host: 'localhost', port: metricsPort } } }
  weir = await startWeir({
    ...{ receivers, exporters },
    processors: { batch, 'batch/slow': { timeout: '1h' } },
    service: {
      ...{ shards: 2, shutdown_timeout: '2s' },
      telemetry: { metrics: { readers: [{ pull }] } },
      pipelines,
    },
  })
})
afterAll(async () => {
  await weir?.[Symbol.asyncDispose]()
  for (const backend of [http, hung, rpc]) await backend?.[Symbol.asyncDispose]()
})
beforeEach(() => {
  http.requests.length = rpc.calls.length = 0
  http.always = { status: 200 }
  rpc.always = {}
})

const body = (name: string) => {
  const spans = [{ traceId: Buffer.alloc(16, 1), spanId: Buffer.alloc(8, 1), name }]
  return encode('traces', { resourceSpans: [{ scopeSpans: [{ spans }] }] })
}

interface Told {
  readonly http: number
  /** Retry-After. */
  readonly after: string | null
  readonly grpc: number
  /** Seconds of RetryInfo. */
  readonly delay: number | undefined
}

async function overHttp(way: string, name = 'a'): Promise<Pick<Told, 'http' | 'after'>> {
  const response = await fetch(`http://${weir.address(`receivers/otlp/${way}/protocols/http`)}/v1/traces`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-protobuf' },
    body: body(name),
  })
  await response.arrayBuffer()
  return { http: response.status, after: response.headers.get('retry-after') }
}

async function overGrpc(way: string, deadlineMs = 20_000): Promise<Pick<Told, 'grpc' | 'delay'>> {
  const address = weir.address(`receivers/otlp/${way}/protocols/grpc`)
  const client = new grpc.Client(address, grpc.credentials.createInsecure())
  const identity = (bytes: Buffer) => bytes
  const error = await new Promise<grpc.ServiceError | null>((resolve) => {
    const options = { deadline: Date.now() + deadlineMs }
    const bytes = Buffer.from(body('a'))
    client.makeUnaryRequest(TRACES, identity, identity, bytes, new grpc.Metadata(), options, (failed) =>
      resolve(failed),
    )
  })
  client.close()
  const [trailer] = error?.metadata.get('grpc-status-details-bin') ?? []
  const details =
    trailer === undefined ? [] : decodeMessage('google.rpc.Status', Buffer.from(trailer)).details
  const retry = details?.find((detail: Plain) =>
    String(detail.typeUrl ?? detail.type_url).endsWith('RetryInfo'),
  )
  const delay = retry && Number(decodeMessage('google.rpc.RetryInfo', retry.value).retryDelay?.seconds ?? 0)
  return { grpc: error?.code ?? 0, delay }
}

const told = async (way: string): Promise<Told> => ({ ...(await overHttp(way)), ...(await overGrpc(way)) })

describe.each(['direct', 'batched', 'waiting'])(
  'what an HTTP backend answers is what senders hear: %s',
  (how) => {
    const f = async (status: number, retryAfter: string | undefined, want: Told) => {
      http.always = { status, headers: retryAfter === undefined ? {} : { 'retry-after': retryAfter } }
      expect([status, await told(`http_${how}`)]).toEqual([status, want])
      expect(http.requests.length).toBe(2) // Nothing is retried in between.
      http.requests.length = 0
    }
    test('success, and refusals for good', async () => {
      const final = { after: null, delay: undefined }
      await f(200, undefined, { http: 200, grpc: GRPC.OK, ...final })
      await f(400, undefined, { http: 400, grpc: GRPC.INVALID_ARGUMENT, ...final })
      await f(401, undefined, { http: 401, grpc: GRPC.UNAUTHENTICATED, ...final })
      await f(403, undefined, { http: 403, grpc: GRPC.PERMISSION_DENIED, ...final })
      await f(500, undefined, { http: 500, grpc: GRPC.UNKNOWN, ...final })
    })
    test('what may be sent again, and when', async () => {
      for (const status of [429, 503]) {
        await f(status, undefined, { http: 503, grpc: GRPC.UNAVAILABLE, after: null, delay: undefined })
        await f(status, '7', { http: 503, grpc: GRPC.UNAVAILABLE, after: '7', delay: 7 })
      }
      for (const status of [502, 504])
        await f(status, undefined, { http: 503, grpc: GRPC.UNAVAILABLE, after: null, delay: undefined })
    })
  },
)

describe.each(['direct', 'batched', 'waiting'])(
  'what a gRPC backend answers is what senders hear: %s',
  (how) => {
    test('each code', async () => {
      const f = async (code: number, retryAfterMs: number | undefined, want: Partial<Told>) => {
        const statusDetails = encodeRpcStatus({ code, message: '', retryAfterMs })
        rpc.always = { code, details: 'as told', ...(retryAfterMs !== undefined && { statusDetails }) }
        expect([code, await told(`grpc_${how}`)]).toEqual([code, { after: null, delay: undefined, ...want }])
      }
      await f(GRPC.INVALID_ARGUMENT, undefined, { http: 400, grpc: GRPC.INVALID_ARGUMENT })
      await f(GRPC.PERMISSION_DENIED, undefined, { http: 403, grpc: GRPC.PERMISSION_DENIED })
      await f(GRPC.INTERNAL, undefined, { http: 500, grpc: GRPC.INTERNAL })
      await f(GRPC.UNAVAILABLE, undefined, { http: 503, grpc: GRPC.UNAVAILABLE })
      await f(GRPC.UNAVAILABLE, 3000, { http: 503, grpc: GRPC.UNAVAILABLE, after: '3', delay: 3 })
      await f(GRPC.RESOURCE_EXHAUSTED, 2000, { http: 503, grpc: GRPC.UNAVAILABLE, after: '2', delay: 2 })
      // Without RetryInfo it says: never send this again.
      await f(GRPC.RESOURCE_EXHAUSTED, undefined, { http: 429, grpc: GRPC.RESOURCE_EXHAUSTED })
    })
  },
)

test('a partial success of the backend is a success for the sender, and counted', async () => {
  const partialSuccess = { rejectedSpans: 1, errorMessage: 'one too many' }
  const answer = encodeMessage('opentelemetry.proto.collector.trace.v1.ExportTraceServiceResponse', {
    partialSuccess,
  })
  http.always = { status: 200, headers: { 'content-type': 'application/x-protobuf' }, body: answer }
  rpc.always = { message: answer }
  expect((await overHttp('http_batched')).http).toBe(200)
  expect((await overGrpc('grpc_batched')).grpc).toBe(GRPC.OK)
  expect(http.requests.length + rpc.calls.length).toBe(2)
  const page = await (await fetch(`http://localhost:${metricsPort}/metrics`)).text()
  for (const exporter of ['otlp_http/direct', 'otlp_grpc/direct'])
    expect(page).toMatch(
      new RegExp(
        `^otelcol_exporter_otlp_partial_success_rejected_items\\{[^}]*"${exporter}"[^}]*\\} 1$`,
        'm',
      ),
    )
})

test('a batch that would fill for an hour goes out before the deadline of its sender, who is told', async () => {
  http.always = { status: 403 }
  expect(await overGrpc('slow_batch', 4000)).toEqual({ grpc: GRPC.PERMISSION_DENIED, delay: undefined })
})

test('a backend that hangs is no success', async () => {
  expect(await told('late')).toMatchObject({ http: 503, grpc: GRPC.UNAVAILABLE })
})

test('with a queue the sender is answered at once, and retries are not sooner than the backend asks', async () => {
  const times: number[] = []
  http.script.push((_, response) => {
    times.push(performance.now())
    response.writeHead(429, { 'retry-after': '1' }).end()
  })
  http.always = (_, response) => {
    times.push(performance.now())
    response.writeHead(200).end()
  }
  const statusDetails = encodeRpcStatus({ code: GRPC.UNAVAILABLE, message: '', retryAfterMs: 1000 })
  rpc.script.push({ code: GRPC.UNAVAILABLE, statusDetails })
  expect((await overHttp('http_retrying')).http).toBe(200)
  const startMs = performance.now()
  expect((await overHttp('grpc_retrying')).http).toBe(200)
  await eventually(
    async () => [times.length, rpc.calls.length],
    ([first, second]) => first === 2 && second === 2,
    20_000,
  )
  expect(performance.now() - startMs).toBeGreaterThanOrEqual(990)
  expect((times[1] ?? 0) - (times[0] ?? 0)).toBeGreaterThanOrEqual(990)
})

test('a branch that hangs stops no other while its queue has room; then senders are told when to come back', async () => {
  for (const name of ['one', 'two', 'three']) expect((await overHttp('fanned', name)).http).toBe(200)
  expect(await overHttp('fanned', 'four')).toEqual({ http: 503, after: '1' })
  expect(await overGrpc('fanned')).toEqual({ grpc: GRPC.UNAVAILABLE, delay: 1 })
  const arrived = () =>
    http.requests.flatMap(({ body: bytes }) =>
      decode('traces', bytes).resourceSpans.map(
        (resource: Plain) => resource.scopeSpans[0].spans[0].name as string,
      ),
    )
  // The other branch has all, that of the refused requests too.
  await eventually(
    async () => new Set(arrived()).size,
    (size) => size === 5,
    20_000,
  )
})
