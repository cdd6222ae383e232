import { expect, test } from 'vitest'
import { createExporter } from '../../test/support/create-test.ts'
import { traces } from '../../test/support/otlp.ts'
import definition from './nop.ts'

test('every signal is taken, a config is not', async () => {
  for (const signal of definition.signals) {
    await using nop = createExporter(definition, null, { signal })
    await nop.consume(traces({ spans: ['a'] }))
  }
  expect(() => definition.config.parse({ endpoint: 'x' })).toThrow(/endpoint/)
})
