/**
 * What authenticator extensions are to the others. A receiver asks one who is calling before it reads a body; an exporter asks
 * one for credentials before it sends. Both find it by `host.extension(auth.authenticator)`.
 */
import type { RequestContext } from '../otlp/batch.ts'

/**
 * What is known of the caller, for `from_context: auth.x` and `from_attribute`. Under `raw` there may be what the caller
 * sent, for who passes it on; it is written into no log.
 */
export type AuthData = ReadonlyMap<string, string | readonly string[]>

export interface ServerAuthenticator {
  /**
   * Keys in lower case. Rejects with UnauthenticatedError, or with RefusedError when there is no time to check now;
   * anything else it rejects with reads as UnauthenticatedError.
   */
  authenticate(headers: ReadonlyMap<string, readonly string[]>): Promise<AuthData>
  /** What WWW-Authenticate says to those who are refused. */
  readonly challenge?: string | undefined
}

export function isServerAuthenticator(value: unknown): value is ServerAuthenticator {
  return (
    typeof value === 'object' &&
    value !== null &&
    'authenticate' in value &&
    typeof value.authenticate === 'function'
  )
}

export interface ClientAuthenticator {
  /**
   * Puts the credentials for one request among its headers, which hold what is sent so far. Keys in lower case. What it
   * rejects with fails the attempt.
   */
  authorize(headers: Record<string, string>, context: RequestContext): Promise<void>
  /** The server did not accept what authorize() gave. True: it will give something else, so the request is worth a second try. */
  rejected?(headers: Readonly<Record<string, string>>): boolean
  /** The credentials are never sent over a gRPC connection without TLS. */
  readonly needsTls?: boolean | undefined
}

export function isClientAuthenticator(value: unknown): value is ClientAuthenticator {
  return (
    typeof value === 'object' &&
    value !== null &&
    'authorize' in value &&
    typeof value.authorize === 'function'
  )
}

/** The sides that an extension can authenticate on, told by its config. */
export type AuthSide = 'server' | 'client'
