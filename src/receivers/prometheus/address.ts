/** Addresses of targets: `host`, `host:port`, `[::1]:port`. */

/** Why this is no address; undefined when it is one. */
export function addressProblem(address: string): string | undefined {
  if (address.includes('/')) return `"${address}" is not a valid hostname`
  const match = /^(\[[0-9a-fA-F:.%a-z]+\]|[^:[\]\s@?#]+)(?::(.*))?$/.exec(address)
  if (!match) return `"${address}" is no address such as host:9100`
  const port = match[2]
  if (port === undefined) return undefined
  if (/^\d{1,5}-\d{1,5}$/.test(port))
    return `"${address}" has a range of ports: every target needs an entry of its own`
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65535) return `"${address}" has no valid port`
  return undefined
}
