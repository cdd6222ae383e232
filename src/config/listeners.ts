/**
 * Two listeners that would meet on one port are found before anything starts.
 */
import type { ListenerClaim } from '../component/define.ts'
import { formatPath, type Path } from './node.ts'
import { parseAddress } from './service-schema.ts'

export interface Claim {
  /** Full path of the setting that says where to listen. */
  readonly path: Path
  readonly endpoint: string
  readonly transport?: ListenerClaim['transport']
  readonly tls?: boolean | undefined
}

/**
 * Tells of every claim that is no address, or meets an earlier one. Port 0 takes a free port and meets none.
 */
export function checkListeners(claims: readonly Claim[], error: (path: Path, message: string) => void): void {
  const taken = new Map<string, { claim: Claim; host: string }[]>()
  for (const claim of claims) {
    const spot = spotOf(claim)
    if (!spot) {
      error(claim.path, `"${claim.endpoint}" is not an address such as localhost:4317`)
      continue
    }
    if (spot.port === '0') continue
    const others = taken.get(spot.port) ?? []
    const rival = others.find((other) => overlap(other.host, spot.host))
    if (rival) error(claim.path, `"${claim.endpoint}" is already taken by ${formatPath(rival.claim.path)}`)
    taken.set(spot.port, [...others, { claim, host: spot.host }])
  }
}

/**
 * Warns of every listener that other machines can reach without TLS: whoever is on the way reads and changes what is sent,
 * credentials included.
 */
export function warnOfExposed(claims: readonly Claim[], warn: (path: Path, message: string) => void): void {
  for (const claim of claims) {
    const spot = claim.tls ? undefined : spotOf(claim)
    if (!spot || spot.host === 'unix' || isLoopback(spot.host)) continue
    const what = `"${claim.endpoint}" can be reached from other machines, and without TLS`
    const how = claim.tls === undefined ? 'put a proxy with TLS before it' : 'set tls'
    warn(claim.path, `${what}: ${how}, or listen on localhost if nobody else is to come`)
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}

function spotOf({ endpoint, transport }: Claim): { host: string; port: string } | undefined {
  if (transport === 'unix' || endpoint.startsWith('unix:') || endpoint.startsWith('/')) {
    return { host: 'unix', port: endpoint.replace(/^unix:(\/\/)?/, '') }
  }
  const address = parseAddress(endpoint)
  if (!address) return undefined
  const any = transport === 'tcp4' ? '0.0.0.0' : '::'
  return { host: address.host === '' ? any : address.host.toLowerCase(), port: String(address.port) }
}

function overlap(a: string, b: string): boolean {
  if (a === b || a === '::' || b === '::') return true
  const [one, other] = [families(a), families(b)]
  return one.some((address) => other.some((rival) => meet(address, rival)))
}

function families(host: string): string[] {
  return host === 'localhost' ? ['127.0.0.1', '::1'] : [host]
}

function meet(a: string, b: string): boolean {
  if (a === b) return true
  const isV6 = (host: string) => host.includes(':')
  return (a === '0.0.0.0' && !isV6(b)) || (b === '0.0.0.0' && !isV6(a))
}
