import { describe, expect, test } from 'vitest'
import { keepaliveSettings, messageLimitBytes } from '../../net/server-fields.ts'
import { bodyLimitBytes, otlpReceiverFields } from './config.ts'
import otlp from './index.ts'

const parse = (config: unknown) => otlpReceiverFields.parse(config)

test('a protocol without a value is enabled with its defaults', () => {
  const { protocols } = parse({ protocols: { grpc: null, http: null } })
  expect(protocols.grpc).toMatchObject({
    endpoint: 'localhost:4317',
    transport: 'tcp',
    max_recv_msg_size_mib: 0,
    max_concurrent_streams: 0,
    include_metadata: false,
  })
  expect(protocols.http).toMatchObject({
    endpoint: 'localhost:4318',
    traces_url_path: '/v1/traces',
    metrics_url_path: '/v1/metrics',
    logs_url_path: '/v1/logs',
    keep_alives_enabled: true,
    compression_algorithms: ['', 'gzip', 'zstd', 'zlib', 'snappy', 'deflate', 'lz4', 'x-snappy-framed'],
  })
  expect(protocols.http && bodyLimitBytes(protocols.http)).toBe(20 * 1024 * 1024)
  expect(messageLimitBytes(0)).toBe(4 * 1024 * 1024)
  expect(keepaliveSettings(protocols.grpc?.keepalive)).toEqual({
    maxConnectionIdleMs: 0,
    maxConnectionAgeMs: 0,
    maxConnectionAgeGraceMs: 0,
    timeMs: 7_200_000,
    timeoutMs: 20_000,
    minTimeMs: 300_000,
    permitWithoutStream: false,
  })
})

test('only what is named is enabled, and listens', () => {
  const config = parse({ protocols: { http: { endpoint: '0.0.0.0:80' } } })
  expect(config.protocols.grpc).toBeUndefined()
  expect(otlp.listeners?.(config)).toEqual([
    { path: ['protocols', 'http', 'endpoint'], endpoint: '0.0.0.0:80', transport: 'tcp', tls: false },
  ])
})

test('keepalive is read in all its parts', () => {
  const { protocols } = parse({
    protocols: {
      grpc: {
        keepalive: {
          server_parameters: {
            max_connection_idle: '11s',
            max_connection_age: '12s',
            max_connection_age_grace: '13s',
            time: '30s',
            timeout: '5s',
          },
          enforcement_policy: { min_time: '10s', permit_without_stream: true },
        },
      },
    },
  })
  expect(keepaliveSettings(protocols.grpc?.keepalive)).toEqual({
    maxConnectionIdleMs: 11_000,
    maxConnectionAgeMs: 12_000,
    maxConnectionAgeGraceMs: 13_000,
    timeMs: 30_000,
    timeoutMs: 5000,
    minTimeMs: 10_000,
    permitWithoutStream: true,
  })
})

describe('is refused', () => {
  const f = (config: unknown, path: string, want: RegExp) => {
    const issues = otlpReceiverFields.safeParse(config).error?.issues ?? []
    const texts = issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`)
    expect(texts.filter((text) => text.startsWith(path)).join('\n')).toMatch(want)
  }
  const grpc = (config: object) => ({ protocols: { grpc: config } })
  const http = (config: object) => ({ protocols: { http: config } })
  test('a receiver without a protocol', () => {
    f({}, 'protocols', /at least one protocol/)
    f({ protocols: null }, 'protocols', /at least one protocol/)
    f({ protocols: {} }, 'protocols', /at least one protocol/)
  })
  test('what is unknown', () => {
    f({ protocols: { thrift: null } }, 'protocols', /thrift/)
    f(grpc({ endpont: 'x' }), 'protocols.grpc', /endpont/)
    f(http({ profiles_url_path: '/x' }), 'protocols.http', /profiles_url_path/)
    f(grpc({ transport: 'udp' }), 'protocols.grpc.transport', /expected tcp/)
    f(http({ compression_algorithms: ['br'] }), 'protocols.http.compression_algorithms.0', /expected one of/)
  })
  test('numbers and durations out of range', () => {
    f(grpc({ max_recv_msg_size_mib: -1 }), 'protocols.grpc.max_recv_msg_size_mib', /must not be negative/)
    f(grpc({ max_recv_msg_size_mib: 2048 }), 'protocols.grpc.max_recv_msg_size_mib', /below 2048/)
    f(grpc({ read_buffer_size: -1 }), 'protocols.grpc.read_buffer_size', /./)
    f(http({ read_timeout: '-1s' }), 'protocols.http.read_timeout', /must not be negative/)
    f(http({ read_timeout: 'soon' }), 'protocols.http.read_timeout', /not a duration/)
  })
  test('middlewares, by name', () => {
    f(http({ middlewares: [{ id: 'memory_limiter' }] }), 'protocols.http.middlewares', /not supported/)
    expect(otlpReceiverFields.safeParse(http({ middlewares: [] })).success).toBe(true)
  })
})
