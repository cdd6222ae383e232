/**
 * `bearertokenauth` extension: a fixed token, asked of callers or sent to backends.
 *
 *     extensions:
 *       bearertokenauth: { token: ${env:TOKEN} }          # or tokens: [...], or filename: /run/secrets/token
 *
 * In a file each line is a token; it wins over `token` and `tokens` and is read again when it changes. Callers may have any of the
 * tokens; sent is the first.
 */
import { z } from 'zod'
import type { AuthData, ClientAuthenticator, ServerAuthenticator } from '../component/auth.ts'
import { type Component, defineExtension, type Settings } from '../component/define.ts'
import { counter } from '../component/telemetry.ts'
import { harmless, refused, type Secret, secret } from '../config/fields.ts'
import { RetryableError, UnauthenticatedError } from '../errors.ts'
import { digest, matchesOne } from './digest.ts'
import { WatchedFile } from './watched-file.ts'

const MAX_TOKENS = 1000
const everySecond = 'the file is looked at every second'

const config = z
  .strictObject({
    header: z
      .string()
      .regex(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/, { error: 'not a header name' })
      .default('Authorization'),
    scheme: z.string().default('Bearer').describe('Written before the token; empty = the token alone.'),
    token: secret().optional(),
    tokens: z.array(secret()).max(MAX_TOKENS).nullish(),
    filename: z.string().default('').describe('One token per line; wins over token and tokens.'),
    retry_on_failure: z
      .strictObject({
        enabled: z.boolean().default(false).describe('The file may appear after the start.'),
        initial_interval: harmless(everySecond),
        max_retries: harmless(everySecond),
        offset: harmless(everySecond),
      })
      .nullish(),
    wait_for_token_file: refused(
      'the start never waits; with retry_on_failure.enabled the file may come later',
    ),
  })
  .superRefine((value, context) => {
    const issue = (path: string, message: string) =>
      context.addIssue({ code: 'custom', path: [path], message })
    const tokens = [...(value.tokens ?? []), ...(value.token ? [value.token] : [])]
    if (value.token && (value.tokens ?? []).length > 0) issue('tokens', 'token and tokens exclude each other')
    if (tokens.length === 0 && value.filename === '') issue('token', 'give token, tokens or filename')
    if (tokens.some((token) => !isToken(token.reveal())))
      issue(value.token ? 'token' : 'tokens', 'a token is one line and not empty')
    if (value.retry_on_failure?.enabled && value.filename === '')
      issue('retry_on_failure', 'retry_on_failure needs filename')
  })
type Config = z.output<typeof config>

const telemetry = {
  refused: counter('extension_auth_refused', '{request}', 'Requests whose credentials were refused.'),
}

export default defineExtension({
  type: 'bearertokenauth',
  stability: 'beta',
  summary: 'A bearer token, asked of callers or sent to backends.',
  runsIn: 'shard',
  config,
  telemetry,
  authenticates: () => ['server', 'client'],
  needsTls: true,
  create: (settings) => new BearerToken(settings),
})

function isToken(text: string): boolean {
  return text !== '' && !/[\r\n\0]/.test(text)
}

class BearerToken implements Component, ServerAuthenticator, ClientAuthenticator {
  readonly needsTls = true
  readonly challenge: string
  readonly #settings: Settings<Config, typeof telemetry>
  readonly #header: string
  readonly #file: WatchedFile | undefined
  /** Whole header values. */
  #values: readonly string[] = []
  #digests: readonly Buffer[] = []

  constructor(settings: Settings<Config, typeof telemetry>) {
    const { config, host, logger } = settings
    this.#settings = settings
    this.#header = config.header.toLowerCase()
    const scheme = config.scheme.replace(/[^!#$%&'*+\-.^_`|~0-9A-Za-z]/g, '')
    this.challenge = `${scheme === '' ? 'Bearer' : scheme} realm="weir"`
    const given: readonly Secret[] = config.token ? [config.token] : (config.tokens ?? [])
    this.#take(given.map((token) => token.reveal()))
    if (config.filename === '') return
    if (given.length > 0) logger.warn('filename is given: the tokens of the configuration are not used')
    this.#file = new WatchedFile({
      path: config.filename,
      clock: host.clock,
      logger,
      mayBeMissing: config.retry_on_failure?.enabled === true,
      onContent: (text) => this.#takeFile(text),
    })
  }

  async start(): Promise<void> {
    if (!this.#file) return
    this.#take([])
    await this.#file.start()
  }

  async shutdown(): Promise<void> {
    this.#file?.stop()
  }

  #takeFile(text: string): void {
    const tokens = text.split('\n').map((line) => line.trim())
    const present = tokens.filter(isToken)
    if (present.length === 0) throw new RangeError('holds no token')
    if (present.length > MAX_TOKENS) throw new RangeError(`holds more than ${MAX_TOKENS} tokens`)
    this.#take(present)
  }

  #take(tokens: readonly string[]): void {
    const { scheme } = this.#settings.config
    this.#values = tokens.map((token) => (scheme === '' ? token : `${scheme} ${token}`))
    this.#digests = this.#values.map((value) => digest(value))
  }

  async authenticate(headers: ReadonlyMap<string, readonly string[]>): Promise<AuthData> {
    const given = headers.get(this.#header)?.[0]
    if (given !== undefined && matchesOne(given, this.#digests)) return NOTHING
    this.#settings.telemetry.refused.add(1)
    throw new UnauthenticatedError(
      given === undefined ? `no ${this.#header} header` : 'scheme or token is wrong',
    )
  }

  async authorize(headers: Record<string, string>): Promise<void> {
    const [value] = this.#values
    if (value === undefined) throw new RetryableError('there is no token yet')
    headers[this.#header] = value
  }

  /** The token may just have been changed in the file. */
  rejected(headers: Readonly<Record<string, string>>): boolean {
    return this.#values[0] !== undefined && headers[this.#header] !== this.#values[0]
  }
}

const NOTHING: AuthData = new Map()
