/** Which destinations are reached through a proxy that the environment names: never those on this machine. */

const LOOPBACK = /^(localhost|.*\.localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/i

export function isLoopback(hostname: string): boolean {
  return LOOPBACK.test(hostname)
}

/** True when HTTP_PROXY or HTTPS_PROXY, in either case, is set and this host is not on this machine. */
export function usesProxyOfEnvironment(hostname: string, env: NodeJS.ProcessEnv = process.env): boolean {
  const set = env['http_proxy'] || env['HTTP_PROXY'] || env['https_proxy'] || env['HTTPS_PROXY']
  return Boolean(set) && !isLoopback(hostname)
}
