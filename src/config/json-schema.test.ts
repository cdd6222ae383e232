import { expect, test } from 'vitest'
import { testRegistry } from '../../test/conformance/config/registry.ts'
import { configSchema } from './json-schema.ts'

// Read as plain JSON, as an editor would.
// biome-ignore lint/suspicious/noExplicitAny: a schema is whatever JSON Schema allows.
const schema: any = JSON.parse(JSON.stringify(configSchema(testRegistry)))

test('every component is there as type and type/name, old names marked', () => {
  const patterns = schema.properties.exporters.patternProperties
  const matching = (id: string) => Object.keys(patterns).filter((pattern) => new RegExp(pattern).test(id))
  expect(matching('otlp_grpc')).toHaveLength(1)
  expect(matching('otlp_grpc/two')).toHaveLength(1)
  expect(matching('otlp / two')).toHaveLength(1)
  expect(matching('otlp_grpcx')).toHaveLength(0)
  expect(patterns[matching('otlp')[0] ?? ''].deprecated).toBe(true)
  expect(schema.properties.exporters.additionalProperties).toBe(false)
})

test('refused fields are left out, harmless ones say so, defaults and secrets show', () => {
  const exporter = schema.properties.exporters.patternProperties['^\\s*otlp_grpc\\s*(/.+)?$']
  expect(Object.keys(exporter.properties)).not.toContain('wait_for_ready')
  expect(exporter.properties.token).toMatchObject({ type: 'string', writeOnly: true })
  expect(exporter.properties.compression.default).toBe('gzip')
  expect(exporter.additionalProperties).toBe(false)
  const sampling = schema.properties.processors.patternProperties['^\\s*tail_sampling\\s*(/.+)?$']
  expect(sampling.properties.expected_new_traces_per_sec).toMatchObject({
    deprecated: true,
    description: 'Ignored: the store grows as it needs to.',
  })
  const batch = schema.properties.processors.patternProperties['^\\s*batch\\s*(/.+)?$']
  expect(batch.properties.timeout).toMatchObject({ type: ['string', 'integer', 'null'], default: '200ms' })
  expect(batch.type).toEqual(['object', 'null'])
  expect(JSON.stringify(schema)).not.toMatch(/"(status|why|secret)":/)
})

test('an expression stands for a number, and service is constrained', () => {
  expect(schema.properties.service.properties.shards.anyOf[1]).toEqual({
    type: 'string',
    pattern: '\\$\\{[^}]+\\}',
  })
  expect(schema.properties.service.additionalProperties).toBe(false)
  expect(schema.properties.service.properties.shutdown_timeout.default).toBe('30s')
})
