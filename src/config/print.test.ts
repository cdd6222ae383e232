import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { testRegistry } from '../../test/conformance/config/registry.ts'
import { gateWarnings } from './feature-gates.ts'
import { featureGateTable, format, listComponents, redactTree } from './print.ts'
import { isSecretName } from './redact.ts'

describe('redaction', () => {
  test('secrets by schema, by name, in headers and in URLs do not print', () => {
    const tree = {
      exporters: {
        otlp: {
          endpoint: 'https://user:hunter2@host/path',
          token: 'hunter2',
          tenant: 'caxton',
          headers: { 'x-scope': 'hunter2', list: ['hunter2'] },
          auth: { password: 'hunter2', client_secret: 'hunter2', password_file: '/run/pw', username: 'me' },
          apiKey: 'hunter2',
        },
        unheard_of: { anything: 'hunter2' },
      },
      odd: 'hunter2',
      service: { telemetry: { resource: { a: 'b' } } },
    }
    const printed = redactTree(tree, testRegistry)
    expect(JSON.stringify(printed)).not.toContain('hunter2')
    expect(printed).toMatchObject({
      exporters: {
        otlp: {
          endpoint: 'https://user:[redacted]@host/path',
          tenant: 'caxton',
          headers: { 'x-scope': '[redacted]' },
          auth: { password_file: '/run/pw', username: 'me' },
        },
        unheard_of: '[redacted]',
      },
      service: { telemetry: { resource: { a: 'b' } } },
    })
    expect(tree.exporters.otlp.token).toBe('hunter2')
  })

  test('names of secrets', () => {
    const f = (name: string, want: boolean) => expect([name, isSecretName(name)]).toEqual([name, want])
    f('password', true)
    f('Authorization', true)
    f('api_key', true)
    f('apiKey', true)
    f('x-api-key', true)
    f('access_token', true)
    f('clientSecret', true)
    f('bearer_token', true)
    f('password_file', false)
    f('key', false)
    f('tokens_per_second', false)
    f('bypass', false)
    f('endpoint', false)
  })
})

test('both formats hold the same', () => {
  const value = { a: [1, '007'], b: { c: null, d: 'yes: no' } }
  expect(parse(format(value, 'yaml'))).toEqual(value)
  expect(JSON.parse(format(value, 'json'))).toEqual(value)
})

test('components are listed with kind, signals, old names and stability', () => {
  expect(listComponents(testRegistry, '1.2.3')).toMatchObject({
    buildinfo: { version: '1.2.3' },
    exporters: [
      { name: 'otlp_grpc', kind: 'exporter', deprecated_names: ['otlp'], stability: 'stable' },
      {},
      {},
    ],
    connectors: [{}, { name: 'count', signals: ['traces to metrics', 'logs to metrics'] }],
  })
})

test('feature gates: unknown ones and those that cannot be had are warned about, the rest is silent', () => {
  const f = (list: string[], want: RegExp[]) => {
    const said = gateWarnings(list).map((one) => `${one.path}: ${one.message}`)
    expect(said).toHaveLength(want.length)
    for (const [index, pattern] of want.entries()) expect(said[index]).toMatch(pattern)
  }
  f([], [])
  f(['service.partialReload,-service.profilesSupport', '+service.partialReload'], [])
  f(['service.profilesSuport'], [/unknown feature gate, ignored; did you mean "service.profilesSupport"/])
  f(['+service.profilesSupport,-service.partialReload'], [/always off/, /always on/])
  expect(featureGateTable('service.profilesSupport')).toMatch(/^ID .*\nservice.profilesSupport +false +alpha/)
  expect(featureGateTable('nope')).toBeUndefined()
})
