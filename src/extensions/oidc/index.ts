/**
 * `oidc` extension: callers prove who they are by a signed token (JWT) of an OpenID Connect provider.
 *
 *     extensions:
 *       oidc:
 *         providers:
 *           - { issuer_url: https://login.example/realms/telemetry, audience: weir, username_claim: email }
 *
 * The provider that a token names by its `iss` checks it: signature by the provider's keys, issuer, audience, expiry. Known of
 * the caller are then `subject`, `membership` (groups), `raw` and `claims.<name>`.
 */
import type { AuthData, ServerAuthenticator } from '../../component/auth.ts'
import { type Component, defineExtension, type Settings } from '../../component/define.ts'
import { counter, gauge } from '../../component/telemetry.ts'
import { UnauthenticatedError } from '../../errors.ts'
import { type Config, config, providersOf } from './config.ts'
import { Provider } from './provider.ts'
import { MAX_TOKEN_CHARS, TokenError, unverifiedIssuer } from './token.ts'

const telemetry = {
  refused: counter('extension_auth_refused', '{request}', 'Requests whose credentials were refused.'),
  fetches: counter(
    'extension_oidc_fetches',
    '{request}',
    'Requests for the keys of a provider, by outcome.',
    ['outcome'],
  ),
  remembered: gauge('extension_auth_remembered', '{credential}', 'Checked credentials that are remembered.'),
}

export default defineExtension({
  type: 'oidc',
  stability: 'beta',
  summary: 'Callers prove who they are by a token of an OpenID Connect provider.',
  runsIn: 'shard',
  config,
  telemetry,
  authenticates: () => ['server'],
  create: (settings) => new Oidc(settings),
})

class Oidc implements Component, ServerAuthenticator {
  readonly challenge = 'Bearer realm="weir"'
  readonly #settings: Settings<Config, typeof telemetry>
  readonly #attribute: string
  readonly #providers: readonly Provider[]

  constructor(settings: Settings<Config, typeof telemetry>) {
    this.#settings = settings
    const { config, host, logger } = settings
    this.#attribute = config.attribute === '' ? 'authorization' : config.attribute.toLowerCase()
    const fetched = (outcome: 'success' | 'failure') => settings.telemetry.fetches.with({ outcome }).add(1)
    const remembered = (change: number) => settings.telemetry.remembered.add(change)
    const counts = { fetched, remembered }
    this.#providers = providersOf(config).map((provider) => new Provider(provider, host, logger, counts))
  }

  async start(): Promise<void> {
    for (const provider of this.#providers) await provider.start()
  }

  async shutdown(): Promise<void> {
    for (const provider of this.#providers) await provider.shutdown()
  }

  async authenticate(headers: ReadonlyMap<string, readonly string[]>): Promise<AuthData> {
    try {
      const [, token, ...more] = headers.get(this.#attribute)?.[0]?.split(' ') ?? []
      if (!token || more.length > 0 || token.length > MAX_TOKEN_CHARS)
        throw new TokenError(`no token in the header ${this.#attribute}`)
      return await this.#providerOf(token).verify(token)
    } catch (cause) {
      this.#settings.telemetry.refused.add(1)
      const message = cause instanceof TokenError ? cause.message : 'the token cannot be checked'
      this.#settings.logger.debug('token refused', { error: cause })
      throw new UnauthenticatedError(message, { cause })
    }
  }

  #providerOf(token: string): Provider {
    const [only] = this.#providers
    if (only && this.#providers.length === 1) return only
    const issuer = unverifiedIssuer(token)
    const found = this.#providers.find((provider) => provider.issuer === issuer)
    if (!found) throw new TokenError('no provider of this issuer is configured')
    return found
  }
}
