/** Settings that every HTTP or gRPC server has (confighttp and configgrpc of the Go collector). */
import { z } from 'zod'
import { duration, harmless } from '../config/fields.ts'
import { ENCODINGS } from './compression.ts'
import { serverTlsFields } from './tls.ts'

const transport = z.enum(['tcp', 'tcp4', 'tcp6', 'unix'], {
  error: 'expected tcp, tcp4, tcp6 or unix',
})
const notNegative = () => duration().refine((ms) => ms >= 0, { error: 'must not be negative' })

export const authFields = z.strictObject({
  authenticator: z
    .string()
    .min(1, { error: 'the id of an authenticator extension' })
    .meta({ authenticator: 'server' }),
})

export const corsFields = z.strictObject({
  allowed_origins: z.array(z.string()).nullish(),
  allowed_headers: z.array(z.string()).nullish(),
  exposed_headers: z.array(z.string()).nullish(),
  max_age: z.int().default(0),
})
export type CorsConfig = z.output<typeof corsFields>

/** Bodies that a server holds at a time on one shard, received or being received. */
export const DEFAULT_IN_FLIGHT_BYTES = 256 * 1024 * 1024
const DEFAULT_CONNECTIONS = 10_000

/** Limits that the Go collector does not have. They apply per shard. */
const extras = {
  max_connections: z.int().positive().default(DEFAULT_CONNECTIONS),
  max_in_flight_bytes: z.int().positive().default(DEFAULT_IN_FLIGHT_BYTES),
}

const compressionAlgorithms = z
  .array(z.enum(['', ...ENCODINGS], { error: `expected one of "", ${ENCODINGS.join(', ')}` }))
  .default(['', ...ENCODINGS])

const middlewares = z
  .array(z.unknown())
  .nullish()
  .refine((list) => (list ?? []).length === 0, {
    error: 'not supported: no extension of Weir is a middleware',
  })
  .meta({ status: 'refused', why: 'no extension of Weir is a middleware; use the memory_limiter processor' })

export function httpServerFields(defaultEndpoint: string) {
  return {
    endpoint: z.string().default(defaultEndpoint),
    transport: transport.default('tcp'),
    tls: serverTlsFields.nullish(),
    auth: authFields.extend({ request_params: z.array(z.string()).default([]) }).nullish(),
    cors: corsFields.nullish(),
    max_request_body_size: z.int().default(0),
    include_metadata: z.boolean().default(false),
    response_headers: z.record(z.string(), z.string()).nullish(),
    compression_algorithms: compressionAlgorithms,
    read_timeout: notNegative().default(0),
    read_header_timeout: notNegative().default(0),
    write_timeout: notNegative().default(0),
    idle_timeout: notNegative().default(0),
    keep_alives_enabled: z.boolean().default(true),
    middlewares,
    ...extras,
  }
}

const keepaliveFields = z.strictObject({
  server_parameters: z
    .strictObject({
      max_connection_idle: notNegative().default(0),
      max_connection_age: notNegative().default(0),
      max_connection_age_grace: notNegative().default(0),
      time: notNegative().default(0),
      timeout: notNegative().default(0),
    })
    .nullish(),
  enforcement_policy: z
    .strictObject({
      min_time: notNegative().default(0),
      permit_without_stream: z.boolean().default(false),
    })
    .nullish(),
})

export function grpcServerFields(defaultEndpoint: string) {
  return {
    endpoint: z.string().default(defaultEndpoint),
    transport: transport.default('tcp'),
    tls: serverTlsFields.nullish(),
    auth: authFields.nullish(),
    max_recv_msg_size_mib: z
      .int()
      .min(0, { error: 'must not be negative' })
      .max(2047, { error: 'must be below 2048' })
      .default(0),
    max_concurrent_streams: z.int().min(0).max(0xffffffff).default(0),
    read_buffer_size: harmless('sockets are read as the system delivers', z.int().min(0)),
    write_buffer_size: harmless('answers are written as one piece', z.int().min(0)),
    keepalive: keepaliveFields.nullish(),
    include_metadata: z.boolean().default(false),
    middlewares,
    ...extras,
  }
}

const DEFAULT_MESSAGE_BYTES = 4 * 1024 * 1024

export function messageLimitBytes(mebibytes: number): number {
  return mebibytes === 0 ? DEFAULT_MESSAGE_BYTES : mebibytes * 1024 * 1024
}

/** The keepalive block as numbers; 0 and absent stand for the defaults of gRPC. */
export function keepaliveSettings(config: z.output<typeof keepaliveFields> | null | undefined) {
  const server = config?.server_parameters
  const policy = config?.enforcement_policy
  return {
    maxConnectionIdleMs: server?.max_connection_idle ?? 0,
    maxConnectionAgeMs: server?.max_connection_age ?? 0,
    maxConnectionAgeGraceMs: server?.max_connection_age_grace ?? 0,
    timeMs: server?.time || 2 * 3600_000,
    timeoutMs: server?.timeout || 20_000,
    minTimeMs: policy?.min_time || 5 * 60_000,
    permitWithoutStream: policy?.permit_without_stream ?? false,
  }
}
