/** Finds the authenticator that a client block names under `auth`. */
import { type ClientAuthenticator, isClientAuthenticator } from '../component/auth.ts'
import type { Host } from '../component/host.ts'
import { ConfigError } from '../errors.ts'

/** Called at start, when the extensions run. Throws ConfigError when there is none of that id. */
export function clientAuthenticator(
  auth: { readonly authenticator: string } | null | undefined,
  host: Host,
): ClientAuthenticator | undefined {
  if (!auth) return undefined
  const extension = host.extension(auth.authenticator)
  if (isClientAuthenticator(extension)) return extension
  const message =
    extension === undefined
      ? `"${auth.authenticator}" is not among service.extensions`
      : `"${auth.authenticator}" is no authenticator for clients`
  throw new ConfigError([{ file: 'exporter', line: 0, column: 0, path: 'auth.authenticator', message }])
}
