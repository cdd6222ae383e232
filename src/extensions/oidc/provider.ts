/**
 * One provider: its keys, and the tokens it has signed. Keys are fetched at the start (discovery, then the JWK set), again when a
 * token names a key that is not known, and when they are old; never more often than once in some seconds, whatever callers
 * send. Checked tokens are remembered until they expire, by a digest.
 */
import { compactVerify, createLocalJWKSet, errors, type JSONWebKeySet } from 'jose'
import { LRUCache } from 'lru-cache'
import type { AuthData } from '../../component/auth.ts'
import type { Host } from '../../component/host.ts'
import type { Logger } from '../../component/logger.ts'
import { RetryableError, toError } from '../../errors.ts'
import { plainHttpConfig } from '../../net/client-fields.ts'
import { HttpClient } from '../../net/http-client.ts'
import { clientTlsFields } from '../../net/tls.ts'
import { digest } from '../digest.ts'
import { WatchedFile } from '../watched-file.ts'
import type { ProviderConfig } from './config.ts'
import { authData, type Claims, checkClaims, parseClaims, TokenError } from './token.ts'

const ALGORITHMS = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
]
const FETCH_MS = 5000
/** Between two fetches that unknown keys ask for. */
const PAUSE_MS = 10_000
const KEYS_OLD_MS = 3600_000
const REMEMBERED = 10_000
const MAX_KEYS = 1000

interface Remembered {
  readonly claims: Claims
  readonly data: AuthData
}

export interface ProviderCounts {
  fetched(outcome: 'success' | 'failure'): void
  /** More or fewer checked tokens are remembered. */
  remembered(change: number): void
}

type KeySet = ReturnType<typeof createLocalJWKSet>

export class Provider {
  readonly issuer: string
  readonly #config: ProviderConfig
  readonly #host: Host
  readonly #logger: Logger
  readonly #counts: ProviderCounts
  readonly #client: HttpClient | undefined
  readonly #file: WatchedFile | undefined
  readonly #remembered = new LRUCache<string, Remembered>({ max: REMEMBERED })
  #algorithms: string[] = ALGORITHMS
  #keysUrl: URL | undefined
  #keys: KeySet | undefined
  #fetchedMs = Number.NEGATIVE_INFINITY
  #fetching: Promise<void> | undefined

  constructor(config: ProviderConfig, host: Host, logger: Logger, counts: ProviderCounts) {
    this.issuer = config.issuer_url
    this.#config = config
    this.#host = host
    this.#logger = logger
    this.#counts = counts
    const path = config.public_keys_file
    if (path === '') {
      const tls = clientTlsFields.parse({ ca_file: config.issuer_ca_path })
      this.#client = new HttpClient(plainHttpConfig(tls), host)
    } else {
      const onContent = (text: string) => this.#takeKeys(JSON.parse(text))
      this.#file = new WatchedFile({ path, clock: host.clock, logger, onContent })
    }
  }

  async start(): Promise<void> {
    await this.#file?.start()
    if (!this.#client) return
    this.#client.start()
    await this.#fetch()
  }

  async shutdown(): Promise<void> {
    this.#file?.stop()
    this.#counts.remembered(-this.#remembered.size)
    this.#remembered.clear()
    await this.#client?.shutdown()
  }

  /** Rejects with TokenError when the token is not good. */
  async verify(token: string): Promise<AuthData> {
    const nowMs = this.#host.clock.wallMs()
    const key = digest(token).toString('latin1')
    const seen = this.#remembered.get(key)
    if (seen) {
      checkClaims(seen.claims, this.#config, nowMs)
      return seen.data
    }
    if (this.#sinceFetchMs() > KEYS_OLD_MS) void this.#refresh()
    const claims = parseClaims(await this.#verified(token))
    checkClaims(claims, this.#config, nowMs)
    const data = authData(claims, this.#config, token)
    const before = this.#remembered.size
    this.#remembered.set(key, { claims, data })
    this.#counts.remembered(this.#remembered.size - before)
    return data
  }

  async #verified(token: string): Promise<Uint8Array> {
    try {
      return await this.#payload(token)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw refused(error)
    }
    // The provider may have changed its keys since.
    await this.#refresh()
    try {
      return await this.#payload(token)
    } catch (error) {
      throw refused(error)
    }
  }

  async #payload(token: string): Promise<Uint8Array> {
    const keys = this.#keys
    if (!keys) throw new TokenError('the keys of the issuer are not known yet')
    const options = { algorithms: this.#algorithms }
    try {
      return (await compactVerify(token, keys, options)).payload
    } catch (error) {
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
      for await (const key of error) {
        const found = await compactVerify(token, key, options).catch(() => undefined)
        if (found) return found.payload
      }
      throw new TokenError('the signature of the token is wrong')
    }
  }

  #sinceFetchMs(): number {
    return this.#client ? this.#host.clock.monotonicMs() - this.#fetchedMs : 0
  }

  /** One fetch at a time, and a pause after each; what fails leaves the keys as they are. Never rejects. */
  async #refresh(): Promise<void> {
    if (!this.#client || (!this.#fetching && this.#sinceFetchMs() < PAUSE_MS)) return
    this.#fetching ??= this.#fetch()
      .catch((error: unknown) =>
        this.#logger.warn('keys of the issuer cannot be fetched', { error: toError(error).message }),
      )
      .finally(() => {
        this.#fetching = undefined
      })
    await this.#fetching
  }

  async #fetch(): Promise<void> {
    this.#fetchedMs = this.#host.clock.monotonicMs()
    try {
      if (!this.#keysUrl) await this.#discover()
      if (this.#keysUrl) this.#takeKeys(await this.#getJson(this.#keysUrl))
      this.#counts.fetched('success')
    } catch (cause) {
      this.#counts.fetched('failure')
      const message = `${this.issuer}: ${toError(cause).message}`
      throw new RetryableError(message, { cause })
    }
  }

  async #discover(): Promise<void> {
    const url = new URL(`${this.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`)
    const found = await this.#getJson(url)
    if (!this.#config.ignore_issuer && found['issuer'] !== this.issuer)
      throw new RangeError('the discovery document is of another issuer')
    const keys = URL.parse(String(found['jwks_uri']))
    if (!keys || !/^https?:$/.test(keys.protocol))
      throw new RangeError('the discovery document has no jwks_uri')
    const named = found['id_token_signing_alg_values_supported']
    if (Array.isArray(named)) {
      const both = ALGORITHMS.filter((name) => named.includes(name))
      if (both.length > 0) this.#algorithms = both
    }
    this.#keysUrl = keys
  }

  async #getJson(url: URL): Promise<Readonly<Record<string, unknown>>> {
    const client = this.#client
    if (!client) throw new RangeError('nothing to ask')
    const response = await client.get(url, AbortSignal.timeout(FETCH_MS))
    if (response.status !== 200) throw new RangeError(`${url.pathname} answered ${response.status}`)
    if (response.truncated) throw new RangeError(`${url.pathname} answered too much`)
    return parseClaims(response.body)
  }

  #takeKeys(set: unknown): void {
    if (typeof set !== 'object' || set === null || !('keys' in set) || !Array.isArray(set.keys))
      throw new RangeError('no JWK set')
    const keys = set.keys.slice(0, MAX_KEYS)
    if (!keys.some((key) => ['RSA', 'EC', 'OKP'].includes(key?.kty)))
      throw new RangeError('no key that can be used')
    this.#keys = createLocalJWKSet({ keys } as JSONWebKeySet) // jose checks each key when it is used.
    this.#counts.remembered(-this.#remembered.size)
    this.#remembered.clear() // A key that is gone may have signed them.
  }
}

function refused(error: unknown): Error {
  if (error instanceof TokenError) return error
  if (error instanceof errors.JWSSignatureVerificationFailed)
    return new TokenError('the signature of the token is wrong')
  if (error instanceof errors.JOSEAlgNotAllowed)
    return new TokenError('the algorithm of the token is not allowed')
  if (error instanceof errors.JWKSNoMatchingKey)
    return new TokenError('no key of the issuer has signed the token')
  if (error instanceof errors.JOSEError) return new TokenError('the token is malformed')
  return toError(error)
}
