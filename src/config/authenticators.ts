/**
 * What `auth.authenticator` names: an extension that is configured, is among service.extensions, and can stand on that side. So
 * nobody believes that a door is locked which is not, and a mistake is told with its place before anything starts.
 */
import type { z } from 'zod'
import type { AuthSide } from '../component/auth.ts'
import type { Sections } from './check.ts'
import { hint } from './nearest.ts'
import { type Entry, find, type Path, toPlain } from './node.ts'
import { children, metaOf } from './schema-walk.ts'
import type { PipelineConfig } from './types.ts'

/** In the meta of a field that holds the id of an authenticator. */
export interface AuthenticatorMeta {
  readonly authenticator: AuthSide
  /** A client over gRPC, which sends credentials over TLS only. */
  readonly grpc?: boolean
}

export interface AuthenticatorCheck {
  readonly root: Entry
  readonly sections: Sections
  readonly pipelines: readonly PipelineConfig[]
  /** Ids of service.extensions. */
  readonly extensions: readonly string[]
  readonly tell: (path: Path, message: string) => void
}

const MAX_DEPTH = 100

export function checkAuthenticators(check: AuthenticatorCheck): void {
  const { pipelines, sections, root } = check
  for (const section of ['receivers', 'exporters'] as const) {
    const used = new Set(pipelines.flatMap((pipeline) => pipeline[section]))
    for (const { id, definition, config } of sections[section].values()) {
      const node = find(root, [section, id]).node
      if (!used.has(id) || config === undefined || !node) continue
      visit(check, [definition.config], toPlain(node), [section, id], [])
    }
  }
}

function visit(
  check: AuthenticatorCheck,
  schemas: readonly z.ZodType[],
  value: unknown,
  path: Path,
  above: readonly unknown[],
): void {
  if (path.length > MAX_DEPTH) return
  if (typeof value === 'string') {
    const meta = schemas.map(metaOf).find((one) => one['authenticator'] !== undefined)
    if (meta) checkOne(check, meta as unknown as AuthenticatorMeta, value, path, above.at(-2))
    return
  }
  if (typeof value !== 'object' || value === null) return
  for (const step of Array.isArray(value) ? value.keys() : Object.keys(value)) {
    const below = schemas.flatMap((schema) => children(schema, step))
    // An own key of the value, from the line above.
    const child: unknown = (value as Record<string | number, unknown>)[step]
    if (below.length > 0) visit(check, below, child, [...path, step], [...above, value])
  }
}

function checkOne(
  { sections, extensions, tell }: AuthenticatorCheck,
  { authenticator: side, grpc }: AuthenticatorMeta,
  id: string,
  path: Path,
  client: unknown,
): void {
  const known = sections.configured.extensions
  if (!known.has(id)) {
    tell(path, `references extension "${id}" which is not configured${hint(id, known, 'configured')}`)
    return
  }
  const extension = sections.extensions.get(id)
  if (!extension || extension.config === undefined) return // What is wrong with it is told already.
  const { definition, config } = extension
  const sides = definition.authenticates?.(config) ?? []
  if (!sides.includes(side)) {
    const use = side === 'server' ? 'lets nobody in' : 'has no credentials to send'
    const right =
      sides[0] === undefined ? 'is no authenticator' : `is an authenticator for ${WORDS[sides[0]]} only`
    tell(path, `extension "${id}" ${right}: for ${WORDS[side]} it ${use}`)
  } else if (!extensions.includes(id)) {
    tell(path, `extension "${id}" is not started: add it to service.extensions`)
  } else if (side === 'client' && grpc && definition.needsTls && isPlaintext(client)) {
    tell(path, `"${id}" sends credentials, which gRPC allows over TLS only: configure tls without insecure`)
  }
}

const WORDS = { server: 'receivers', client: 'exporters' } as const

/** As the client will connect: `insecure` counts unless a CA is given or the endpoint says https. */
function isPlaintext(client: unknown): boolean {
  if (typeof client !== 'object' || client === null) return false
  const { tls, endpoint } = client as { tls?: unknown; endpoint?: unknown } // Read only to be looked at.
  if (String(endpoint).startsWith('https://') || typeof tls !== 'object' || tls === null) return false
  const { insecure, ca_file, ca_pem } = tls as Record<string, unknown>
  return insecure === true && !ca_file && !ca_pem
}
