/** The authenticator that a client block names under `auth`, and how a gRPC client uses it. */
import { type ClientAuthenticator, isClientAuthenticator } from '../component/auth.ts'
import type { Host } from '../component/host.ts'
import type { Secret } from '../config/fields.ts'
import { ConfigError, DownstreamError } from '../errors.ts'
import type { RequestContext } from '../otlp/batch.ts'
import { GRPC } from './grpc.ts'

type AuthConfig = { readonly authenticator: string } | null | undefined
/** Keys in lower case. */
export type RequestHeaders = Readonly<Record<string, string>>

/** Called at start, when the extensions run. Throws ConfigError when there is none of that id. */
export function clientAuthenticator(auth: AuthConfig, host: Host): ClientAuthenticator | undefined {
  if (!auth) return undefined
  const extension = host.extension(auth.authenticator)
  if (isClientAuthenticator(extension)) return extension
  const message =
    extension === undefined
      ? `"${auth.authenticator}" is not among service.extensions`
      : `"${auth.authenticator}" is no authenticator for clients`
  throw authError(message)
}

export function withoutTls(auth: AuthConfig): ConfigError {
  return authError(`"${auth?.authenticator}" sends credentials, which gRPC allows over TLS only`)
}

function authError(message: string): ConfigError {
  return new ConfigError([{ file: 'exporter', line: 0, column: 0, path: 'auth.authenticator', message }])
}

/**
 * Sends one gRPC request with the headers of the config and what the authenticator makes of them. When the server does not accept
 * the credentials and the authenticator has others, it is sent once more.
 */
export async function sendAuthorized(
  auth: ClientAuthenticator | undefined,
  own: readonly { readonly name: string; readonly value: Secret }[],
  context: RequestContext,
  send: (headers: RequestHeaders) => Promise<Uint8Array>,
): Promise<Uint8Array> {
  const headers: Record<string, string> = {}
  for (const { name, value } of own) headers[name.toLowerCase()] = value.reveal()
  if (!auth) return await send(headers)
  const first = { ...headers }
  await auth.authorize(first, context)
  try {
    return await send(first)
  } catch (error) {
    const refused = error instanceof DownstreamError && error.grpcStatus === GRPC.UNAUTHENTICATED
    if (!refused || auth.rejected?.(first) !== true) throw error
  }
  await auth.authorize(headers, context)
  return await send(headers)
}
