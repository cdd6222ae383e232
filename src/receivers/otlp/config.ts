/** Settings of the `otlp` receiver, field by field as the Go collector has them, plus a few limits and one switch. */
import { z } from 'zod'
import { grpcServerFields, httpServerFields } from '../../net/server-fields.ts'

/** Request bodies of OTLP/HTTP, packed and unpacked, when `max_request_body_size` is 0 or less. */
const DEFAULT_BODY_BYTES = 20 * 1024 * 1024

/** A path with its leading slash, as `traces_url_path` may leave it out. */
function urlPath(fallback: string) {
  return z
    .string()
    .default(fallback)
    .transform((path) => (path.startsWith('/') ? path : `/${path}`))
}

const grpcFields = z.strictObject({
  ...grpcServerFields('localhost:4317'),
  /** Which HTTP/2 layer serves the port. */
  implementation: z.enum(['http2', 'grpc-js']).default('http2'),
})

const httpFields = z.strictObject({
  ...httpServerFields('localhost:4318'),
  traces_url_path: urlPath('/v1/traces'),
  metrics_url_path: urlPath('/v1/metrics'),
  logs_url_path: urlPath('/v1/logs'),
})

/** A key that is there without a value enables the protocol with its defaults; a key that is absent does not. */
function enabled<T extends z.ZodType>(schema: T) {
  return z.preprocess((value) => (value === null ? {} : value), schema.optional())
}

export const otlpReceiverFields = z
  .strictObject({
    protocols: z.preprocess(
      (value) => value ?? {},
      z.strictObject({ grpc: enabled(grpcFields), http: enabled(httpFields) }),
    ),
    storage: z
      .string()
      .min(1, { error: 'must not be empty' })
      .nullish()
      .describe(
        'Id of a storage extension: requests are answered when they are stored, and survive a crash.',
      ),
  })
  .superRefine((config, context) => {
    if (config.protocols?.grpc === undefined && config.protocols?.http === undefined)
      context.addIssue({
        code: 'custom',
        path: ['protocols'],
        message: 'must specify at least one protocol, grpc or http',
      })
  })

export type OtlpReceiverConfig = z.output<typeof otlpReceiverFields>
export type GrpcConfig = z.output<typeof grpcFields>
export type HttpConfig = z.output<typeof httpFields>

export function bodyLimitBytes(config: HttpConfig): number {
  return config.max_request_body_size > 0 ? config.max_request_body_size : DEFAULT_BODY_BYTES
}
