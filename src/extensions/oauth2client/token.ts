/** The answer of a token endpoint: JSON, or a form as some servers still send. */
import type { HttpResponse } from '../../net/http-client.ts'

export interface Token {
  /** The whole value of the Authorization header. */
  readonly header: string
  /** On the monotonic clock. */
  readonly renewMs: number
  readonly expiresMs: number
}

/** A token that is renewed before each use would storm the server: it is used for this share of its life at least. */
const LEAST_SHARE = 0.5
const MAX_TOKEN_CHARS = 64 * 1024

/** Throws when there is no token in it; the error holds nothing that the server sent but its error code. */
export function parseToken(response: HttpResponse, nowMs: number, bufferMs: number): Token {
  const { status } = response
  const fields = fieldsOf(response)
  if (status < 200 || status > 299) {
    const code = fields?.['error']
    const known = typeof code === 'string' && /^[a-z_]{1,60}$/.test(code) ? ` (${code})` : ''
    throw new RangeError(`the token endpoint answered ${status}${known}`)
  }
  const token = fields?.['access_token']
  if (
    typeof token !== 'string' ||
    token === '' ||
    token.length > MAX_TOKEN_CHARS ||
    /[^\x21-\x7e]/.test(token)
  )
    throw new RangeError('the token endpoint answered without an access_token')
  const lifeMs = Number(fields?.['expires_in'] ?? 0) * 1000
  const lasts = Number.isFinite(lifeMs) && lifeMs > 0
  const expiresMs = lasts ? nowMs + lifeMs : Number.POSITIVE_INFINITY
  const renewMs = lasts ? nowMs + Math.max(lifeMs - bufferMs, lifeMs * LEAST_SHARE) : expiresMs
  return { header: `${scheme(fields?.['token_type'])} ${token}`, renewMs, expiresMs }
}

function fieldsOf(response: HttpResponse): Readonly<Record<string, unknown>> | undefined {
  if (response.truncated) return undefined
  const text = Buffer.from(response.body).toString('utf8')
  const type = (response.headers.get('content-type') ?? '').split(';', 1)[0]?.trim().toLowerCase()
  if (type === 'application/x-www-form-urlencoded' || type === 'text/plain')
    return Object.fromEntries(new URLSearchParams(text))
  try {
    const parsed: unknown = JSON.parse(text)
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : undefined // Checked just before.
  } catch {
    return undefined
  }
}

function scheme(type: unknown): string {
  if (typeof type !== 'string' || !/^[A-Za-z][A-Za-z0-9_-]{0,30}$/.test(type)) return 'Bearer'
  return type.toLowerCase() === 'bearer' ? 'Bearer' : type
}
