import { expect, test } from 'vitest'
import { usesProxyOfEnvironment } from './proxy.ts'

test('the proxy of the environment is used, but not for this machine', () => {
  const f = (hostname: string, env: Record<string, string>, want: boolean) =>
    expect(usesProxyOfEnvironment(hostname, env), hostname).toBe(want)
  f('backend', {}, false)
  f('backend', { HTTPS_PROXY: 'http://proxy:3128' }, true)
  f('backend', { http_proxy: 'http://proxy:3128' }, true)
  f('backend', { http_proxy: '' }, false)
  for (const here of ['localhost', '127.0.0.1', '127.1.2.3', '[::1]', '::1', 'x.localhost'])
    f(here, { HTTP_PROXY: 'http://proxy:3128' }, false)
})
