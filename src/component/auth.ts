/**
 * What an authenticator extension is to the receivers: it looks at the headers of a request, before its body is read, and says
 * who is calling, or throws UnauthenticatedError. A receiver finds it by `host.extension(auth.authenticator)`.
 */

/** What is known of the caller, for `from_context: auth.x` and the like. Without secrets. */
export type AuthData = ReadonlyMap<string, string | readonly string[]>

export interface ServerAuthenticator {
  /** Keys in lower case. Rejects with UnauthenticatedError; anything else it rejects with reads as the same. */
  authenticate(headers: ReadonlyMap<string, readonly string[]>): Promise<AuthData>
}

export function isServerAuthenticator(value: unknown): value is ServerAuthenticator {
  return (
    typeof value === 'object' &&
    value !== null &&
    'authenticate' in value &&
    typeof value.authenticate === 'function'
  )
}

/** What an authenticator extension is to the exporters: the credentials for one request, as headers. */
export interface ClientAuthenticator {
  /** Keys in lower case. What it rejects with fails the attempt. */
  headers(): Promise<Readonly<Record<string, string>>>
}

export function isClientAuthenticator(value: unknown): value is ClientAuthenticator {
  return (
    typeof value === 'object' && value !== null && 'headers' in value && typeof value.headers === 'function'
  )
}
