/**
 * The fields of outgoing connections, under the names and defaults of the Collector: what HTTP and gRPC
 * clients share, then each block. An exporter spreads a block into its schema and hands the parsed config to
 * HttpClient or GrpcClient.
 */
import { z } from 'zod'
import type { AuthenticatorMeta } from '../config/authenticators.ts'
import { duration, harmless, refused, Secret } from '../config/fields.ts'
import { clientTlsFields } from './tls.ts'

export interface HeaderField {
  readonly name: string
  readonly value: Secret
}

const MAX_HEADERS = 256
const headerName = z.string().regex(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/, { error: 'not a header name' })
const headerValue = z
  .union([z.string(), z.number(), z.boolean()])
  .transform((value, context) => {
    const text = String(value)
    if (!/[\r\n\0]/.test(text)) return new Secret(text)
    context.addIssue({ code: 'custom', message: 'a header value cannot hold line breaks' })
    return z.NEVER
  })
  .meta({ secret: true, type: 'string' })

/** A map of names to values, or the list form `[{ name, value }]`. Values never print. */
export function headersField() {
  return z
    .union([
      z.record(headerName, headerValue),
      z.array(z.strictObject({ name: headerName, value: headerValue })).max(MAX_HEADERS),
    ])
    .nullish()
    .transform((given): readonly HeaderField[] => {
      if (!given) return []
      return Array.isArray(given) ? given : Object.entries(given).map(([name, value]) => ({ name, value }))
    })
}

const waiting = (ms: number) => ms >= 0
const nonNegative = () => duration().refine(waiting, { error: 'must not be negative' })
const count = () => z.int().min(0)

function authField(meta: AuthenticatorMeta) {
  return z
    .strictObject({
      authenticator: z
        .string()
        .min(1)
        .meta({ ...meta }),
    })
    .nullish()
    .describe('Id of an extension that gives the credentials.')
}

const sharedFields = {
  headers: headersField(),
  tls: clientTlsFields.nullish().transform((given) => given ?? clientTlsFields.parse({})),
  read_buffer_size: harmless('the runtime sizes its own buffers', count()),
  write_buffer_size: harmless('the runtime sizes its own buffers', count()),
  middlewares: refused('middlewares are extensions that do not exist here'),
}

const HTTP_COMPRESSIONS = [
  '',
  'none',
  'gzip',
  'zstd',
  'zlib',
  'deflate',
  'snappy',
  'x-snappy-framed',
] as const
type HttpCompression = (typeof HTTP_COMPRESSIONS)[number]

/** confighttp's client block without `endpoint` and `timeout`. */
export function httpClientFields(defaults: { readonly compression?: HttpCompression } = {}) {
  const http2 = 'requests are sent over HTTP/1.1'
  return {
    ...sharedFields,
    auth: authField({ authenticator: 'client' }),
    proxy_url: z
      .union([z.literal(''), z.url({ protocol: /^https?$/, error: 'expected http://host:port' })])
      .default(''),
    compression: z
      .enum(HTTP_COMPRESSIONS, { error: `expected one of ${HTTP_COMPRESSIONS.slice(1).join(', ')}` })
      .default(defaults.compression ?? ''),
    compression_params: z.strictObject({ level: z.int().optional() }).nullish(),
    max_conns_per_host: count().default(0).describe('0 = no limit.'),
    idle_conn_timeout: nonNegative().prefault('90s').describe('0 = no limit.'),
    disable_keep_alives: z.boolean().default(false),
    max_idle_conns: harmless('idle connections end by idle_conn_timeout', count()),
    max_idle_conns_per_host: harmless('idle connections end by idle_conn_timeout', count()),
    force_attempt_http2: harmless(http2, z.boolean()),
    http2_read_idle_timeout: harmless(http2, nonNegative()),
    http2_ping_timeout: harmless(http2, nonNegative()),
    cookies: z
      .strictObject({ enabled: z.boolean().default(false) })
      .nullish()
      .refine((value) => value?.enabled !== true, { error: 'not supported: cookies of servers are not kept' })
      .meta({ status: 'refused', why: 'cookies of servers are not kept' }),
  }
}

/**
 * Compression levels that each algorithm knows, as in confighttp. Puts the issue on compression_params.level.
 */
export function checkCompression(
  config: {
    compression: HttpCompression
    compression_params?: { level?: number | undefined } | null | undefined
  },
  context: z.RefinementCtx,
): void {
  const level = config.compression_params?.level
  if (level === undefined) return
  const [least, most] = compressionLevels(config.compression)
  if (level === 0 || (level >= least && level <= most)) return
  const message =
    most === 0
      ? `compression ${config.compression || 'none'} has no levels`
      : `level ${level} is not from ${least} to ${most}`
  context.addIssue({ code: 'custom', path: ['compression_params', 'level'], message })
}

function compressionLevels(compression: HttpCompression): readonly [number, number] {
  if (compression === 'gzip' || compression === 'zlib' || compression === 'deflate') return [-1, 9]
  return compression === 'zstd' ? [1, 22] : [0, 0]
}

const GRPC_COMPRESSIONS = ['', 'none', 'gzip', 'snappy', 'zstd'] as const

/** configgrpc's client block without `endpoint`. */
export function grpcClientFields(defaults: { readonly compression?: '' | 'gzip' } = {}) {
  return {
    ...sharedFields,
    auth: authField({ authenticator: 'client', grpc: true }),
    compression: z.enum(GRPC_COMPRESSIONS).default(defaults.compression ?? ''),
    keepalive: z
      .strictObject({
        time: nonNegative().prefault('10s'),
        timeout: nonNegative().prefault('10s'),
        permit_without_stream: z.boolean().default(false),
      })
      .nullish(),
    balancer_name: z.enum(['', 'round_robin', 'pick_first']).default('round_robin'),
    authority: z.string().default(''),
    user_agent: z.string().default(''),
    wait_for_ready: z.boolean().default(false),
    implementation: z.enum(['http2', 'grpc-js']).default('http2').describe('Which HTTP/2 layer sends.'),
  }
}

/** What grpc-js does not know. */
export function checkGrpcClient(
  config: { readonly compression: string; readonly implementation: string },
  context: z.RefinementCtx,
): void {
  const { compression, implementation } = config
  if (implementation !== 'grpc-js' || (compression !== 'zstd' && compression !== 'snappy')) return
  const message = `grpc-js does not compress by ${compression}: use gzip or none, or implementation http2`
  context.addIssue({ code: 'custom', path: ['compression'], message })
}

const httpShape = z.strictObject(httpClientFields())
const grpcShape = z.strictObject(grpcClientFields())
export type HttpClientConfig = z.output<typeof httpShape>
export type GrpcClientConfig = z.output<typeof grpcShape>

/** An http or https URL with a host. */
export function httpUrlField() {
  return z.string().refine(
    (text) => {
      const url = URL.parse(text)
      return url !== null && (url.protocol === 'http:' || url.protocol === 'https:') && url.hostname !== ''
    },
    { error: 'expected a URL such as http://host:4318' },
  )
}

/** A client without headers, compression and authenticator, for what extensions ask of servers. */
export function plainHttpConfig(tls: HttpClientConfig['tls']): HttpClientConfig {
  return { ...httpShape.parse({}), tls }
}
