/** The built-in components and a processor that ends its thread when it sees a span called `crash`. */
import { z } from 'zod'
import { defineProcessor, type Registry } from '../../src/component/define.ts'
import { registry as loadBuiltIn } from '../../src/components.ts'

const crash = defineProcessor({
  type: 'crash',
  stability: 'development',
  summary: 'Ends its thread on demand.',
  signals: ['traces'],
  capabilities: { mutatesData: false },
  config: z.strictObject({}),
  telemetry: {},
  create: ({ next }) => ({
    consume(batch) {
      if (!Buffer.from(batch.bytes()).includes('crash')) return next.consume(batch)
      setImmediate(() => {
        throw new Error('crashed on demand')
      })
      return new Promise(() => {})
    },
  }),
})

const builtIn = await loadBuiltIn()
export const registry: Registry = { ...builtIn, processors: [...builtIn.processors, crash] }
