/**
 * `headers_setter` extension: headers of outgoing requests, from the configuration, a file, or the request that the data came in.
 *
 *     extensions:
 *       headers_setter:
 *         headers:
 *           - { action: upsert, key: X-Scope-OrgID, from_context: tenant_id, default_value: unknown }
 *
 * `from_context` needs `include_metadata` on the receiver, and the key among `metadata_keys` of a batch processor in between.
 * Behind a batch `from_attribute` finds nothing: what an authenticator said of a caller does not outlive its request.
 */
import { z } from 'zod'
import type { ClientAuthenticator } from '../component/auth.ts'
import { type Component, defineExtension, type Settings } from '../component/define.ts'
import { refused, secret } from '../config/fields.ts'
import { DownstreamError } from '../errors.ts'
import type { RequestContext } from '../otlp/batch.ts'
import { CredentialValue } from './credential-value.ts'

const MAX_HEADERS = 256
const SOURCES = ['value', 'value_file', 'from_context', 'from_attribute'] as const

const header = z
  .strictObject({
    action: z.enum(['insert', 'update', 'upsert', 'delete']).default('upsert'),
    key: z
      .string({ error: 'key is required: the name of the header' })
      .regex(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/, { error: 'not a header name' }),
    value: secret().optional(),
    value_file: z.string().min(1).optional().describe('Read again when it changes.'),
    from_context: z.string().min(1).optional().describe('A key of the metadata of the incoming request.'),
    from_attribute: z
      .string()
      .min(1)
      .optional()
      .describe('What the server authenticator said of the caller.'),
    default_value: secret().optional(),
  })
  .superRefine((value, context) => {
    if (value.action === 'delete') return
    const given = SOURCES.filter((name) => value[name] !== undefined)
    if (given.length !== 1)
      context.addIssue({
        code: 'custom',
        path: given[1] ? [given[1]] : [],
        message: `give exactly one of ${SOURCES.join(', ')}`,
      })
  })

const config = z.strictObject({
  headers: z
    .array(header, { error: 'headers is required: a list of headers to set' })
    .min(1, { error: 'at least one header' })
    .max(MAX_HEADERS),
  additional_auth: refused('an exporter has one authenticator; set its headers here by value_file'),
})
type Config = z.output<typeof config>

export default defineExtension({
  type: 'headers_setter',
  stability: 'alpha',
  summary: 'Sets headers of outgoing requests, also from the requests that the data came in.',
  runsIn: 'shard',
  config,
  telemetry: {},
  authenticates: () => ['client'],
  create: (settings) => new HeadersSetter(settings),
})

interface Step {
  readonly action: 'insert' | 'update' | 'upsert' | 'delete'
  readonly key: string
  readonly value: (context: RequestContext) => string
}

class HeadersSetter implements Component, ClientAuthenticator {
  readonly #steps: readonly Step[]
  readonly #files: CredentialValue[] = []

  constructor({ config, host, logger }: Settings<Config, object>) {
    this.#steps = config.headers.map((one) => {
      const step = { action: one.action, key: one.key.toLowerCase() }
      const { value: given, value_file, from_context, from_attribute } = one
      const fallback = one.default_value?.reveal() ?? ''
      if (value_file !== undefined) {
        const file = new CredentialValue('', value_file, host.clock, logger, refuseLines)
        this.#files.push(file)
        return { ...step, value: () => file.value }
      }
      if (from_context !== undefined) {
        const key = from_context.toLowerCase()
        return { ...step, value: (context) => fromContext(context, key) ?? fallback }
      }
      if (from_attribute !== undefined)
        return { ...step, value: (context) => fromAttribute(context, from_attribute) ?? fallback }
      const fixed = given?.reveal() ?? ''
      return { ...step, value: () => fixed }
    })
  }

  async start(): Promise<void> {
    for (const file of this.#files) await file.start()
  }

  async shutdown(): Promise<void> {
    for (const file of this.#files) file.stop()
  }

  async authorize(headers: Record<string, string>, context: RequestContext): Promise<void> {
    for (const { action, key, value } of this.#steps) {
      const there = Object.hasOwn(headers, key)
      if (action === 'delete') delete headers[key]
      else if (there ? action !== 'insert' : action !== 'update') headers[key] = value(context)
    }
  }
}

function refuseLines(text: string): void {
  if (/[\r\n\0]/.test(text)) throw new RangeError('a header value cannot hold line breaks')
}

function fromContext(context: RequestContext, key: string): string | undefined {
  const values = context.metadata.get(key)
  if (values === undefined || values.length === 0) return undefined
  if (values.length === 1) return values[0]
  throw new DownstreamError(`headers_setter: ${values.length} values of "${key}" came with the data`)
}

/** A list is written as JSON. */
function fromAttribute(context: RequestContext, name: string): string | undefined {
  const value = context.auth?.get(name)
  return value === undefined || typeof value === 'string' ? value : JSON.stringify(value)
}
