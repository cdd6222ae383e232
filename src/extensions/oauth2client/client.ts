/** Fetches, keeps and renews the token. */
import type { z } from 'zod'
import type { ClientAuthenticator } from '../../component/auth.ts'
import type { Component, Settings } from '../../component/define.ts'
import { RetryableError, toError } from '../../errors.ts'
import { plainHttpConfig } from '../../net/client-fields.ts'
import { HttpClient, type HttpResponse } from '../../net/http-client.ts'
import { CredentialValue } from '../credential-value.ts'
import type { config } from './config.ts'
import type { telemetry } from './index.ts'
import { parseToken, type Token } from './token.ts'

type Config = z.output<typeof config>

const LONGEST_MS = 60_000
/** After a failure callers get the same answer for this long, so that a token server that is down is not stormed. */
const PAUSE_MS = 1000

export class OAuth2Client implements Component, ClientAuthenticator {
  readonly needsTls = true
  readonly #settings: Settings<Config, typeof telemetry>
  readonly #client: HttpClient
  readonly #url: URL
  readonly #id: CredentialValue
  readonly #secret: CredentialValue
  #token: Token | undefined
  #fetching: Promise<Token> | undefined
  #failed: { readonly error: Error; readonly untilMs: number } | undefined
  /** Where the server wants the client's credentials; undefined until it has taken them once. */
  #inBody: boolean | undefined

  constructor(settings: Settings<Config, typeof telemetry>) {
    const { config, host, logger } = settings
    this.#settings = settings
    this.#client = new HttpClient(plainHttpConfig(config.tls), host)
    this.#url = new URL(config.token_url)
    this.#id = new CredentialValue(config.client_id, config.client_id_file, host.clock, logger)
    const secret = config.client_secret?.reveal() ?? ''
    this.#secret = new CredentialValue(secret, config.client_secret_file, host.clock, logger)
  }

  async start(): Promise<void> {
    this.#client.start()
    await this.#id.start()
    await this.#secret.start()
  }

  async shutdown(): Promise<void> {
    this.#id.stop()
    this.#secret.stop()
    await this.#client.shutdown()
  }

  async authorize(headers: Record<string, string>): Promise<void> {
    const token = await this.#current()
    headers['authorization'] = token.header
  }

  /** A token that was refused is dropped, unless another took its place meanwhile. */
  rejected(headers: Readonly<Record<string, string>>): boolean {
    if (this.#token?.header === headers['authorization']) this.#token = undefined
    return true
  }

  #current(): Promise<Token> {
    const nowMs = this.#settings.host.clock.monotonicMs()
    if (this.#token && nowMs < this.#token.renewMs) return Promise.resolve(this.#token)
    if (this.#failed && nowMs < this.#failed.untilMs && !this.#fetching) {
      const token = this.#token
      return token && nowMs < token.expiresMs ? Promise.resolve(token) : Promise.reject(this.#failed.error)
    }
    this.#fetching ??= this.#fetch().finally(() => {
      this.#fetching = undefined
    })
    return this.#fetching
  }

  /** A token that still holds is used on when there is no new one. */
  async #fetch(): Promise<Token> {
    const { telemetry, logger, host } = this.#settings
    try {
      await this.#id.refresh()
      await this.#secret.refresh()
      const token = await this.#ask()
      this.#token = token
      this.#failed = undefined
      return token
    } catch (cause) {
      telemetry.failures.add(1)
      const error = new RetryableError(`no token: ${toError(cause).message}`, { cause })
      const nowMs = host.clock.monotonicMs()
      this.#failed = { error, untilMs: nowMs + PAUSE_MS }
      const old = this.#token
      if (!old || nowMs >= old.expiresMs) throw error
      logger.warn('no new token; the old one is used until it expires', { error })
      return old
    }
  }

  /** First in the Authorization header, then, if the server does not take that, in the body. */
  async #ask(): Promise<Token> {
    const inBody = this.#inBody ?? false
    let response = await this.#post(inBody)
    let used = inBody
    if (this.#inBody === undefined && response.status >= 400 && response.status < 500) {
      used = true
      response = await this.#post(used)
    }
    const { clock } = this.#settings.host
    const token = parseToken(response, clock.monotonicMs(), this.#settings.config.expiry_buffer)
    this.#inBody = used
    return token
  }

  async #post(inBody: boolean): Promise<HttpResponse> {
    const { config, telemetry } = this.#settings
    telemetry.requests.add(1)
    const form = new URLSearchParams({ grant_type: 'client_credentials' })
    const scopes = config.scopes ?? []
    if (scopes.length > 0) form.set('scope', scopes.join(' '))
    for (const { name, value } of config.endpoint_params) form.append(name, value.reveal())
    const headers: Record<string, string> = {
      'content-type': 'application/x-www-form-urlencoded',
      accept: 'application/json',
    }
    if (inBody) {
      form.set('client_id', this.#id.value)
      form.set('client_secret', this.#secret.value)
    } else {
      const credentials = `${formEncode(this.#id.value)}:${formEncode(this.#secret.value)}`
      headers['authorization'] = `Basic ${Buffer.from(credentials).toString('base64')}`
    }
    const limit = AbortSignal.timeout(config.timeout > 0 ? Math.ceil(config.timeout) : LONGEST_MS)
    return await this.#client.post(this.#url, headers, [Buffer.from(form.toString())], limit)
  }
}

/** As a value of a form (RFC 6749, section 2.3.1). */
function formEncode(text: string): string {
  return new URLSearchParams({ v: text }).toString().slice(2)
}
