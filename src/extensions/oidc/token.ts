/** What is asked of a token beyond its signature, and what it says of the caller. */
import type { AuthData } from '../../component/auth.ts'
import type { ProviderConfig } from './config.ts'

export const MAX_TOKEN_CHARS = 16 * 1024
/** Clocks differ: a token may be used this long before its nbf. Its exp is exact. */
const EARLY_SECONDS = 300

/** The text goes to the caller: it says nothing of the configuration. */
export class TokenError extends Error {}

export type Claims = Readonly<Record<string, unknown>>

/** Names the provider to ask; nothing of it is believed. */
export function unverifiedIssuer(token: string): unknown {
  const payload = token.split('.')[1] ?? ''
  return parseClaims(Buffer.from(payload, 'base64url'))['iss']
}

export function parseClaims(bytes: Uint8Array): Claims {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'))
    if (typeof parsed === 'object' && parsed !== null) return parsed as Claims // An object, as just checked.
  } catch {
    // Told below.
  }
  throw new TokenError('the token holds no claims')
}

/** Throws TokenError when the token is not for us, or not now. */
export function checkClaims(claims: Claims, provider: ProviderConfig, nowMs: number): void {
  const nowSeconds = nowMs / 1000
  if (!provider.ignore_issuer && claims['iss'] !== provider.issuer_url)
    throw new TokenError('the token is of another issuer')
  if (!provider.ignore_audience && ![claims['aud']].flat().includes(provider.audience))
    throw new TokenError('the token is for another audience')
  if (typeof claims['exp'] !== 'number' || claims['exp'] <= nowSeconds)
    throw new TokenError('the token has expired')
  const from = claims['nbf']
  if (from !== undefined && !(typeof from === 'number' && from <= nowSeconds + EARLY_SECONDS))
    throw new TokenError('the token is not valid yet')
}

export function authData(claims: Claims, provider: ProviderConfig, raw: string): AuthData {
  const data = new Map<string, string | readonly string[]>()
  for (const [name, value] of Object.entries(claims)) {
    const text = Array.isArray(value) ? value.map(textOf) : textOf(value)
    data.set(`claims.${name}`, text)
  }
  const subject = claims[provider.username_claim === '' ? 'sub' : provider.username_claim] ?? ''
  if (typeof subject !== 'string' || (provider.username_claim !== '' && subject === ''))
    throw new TokenError('the token names no user')
  data.set('subject', subject)
  data.set('membership', groupsOf(claims, provider.groups_claim))
  data.set('raw', raw)
  return data
}

function groupsOf(claims: Claims, name: string): readonly string[] {
  if (name === '') return []
  const groups = claims[name]
  if (groups === undefined) throw new TokenError('the token names no groups')
  if (typeof groups === 'string') return [groups]
  return Array.isArray(groups) ? groups.map(textOf) : []
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}
