/**
 * `nop` receiver: receives nothing. For configurations that need a receiver to be valid.
 *
 *     receivers:
 *       nop:
 */
import { z } from 'zod'
import { defineReceiver } from '../component/define.ts'

const config = z.strictObject({})

export default defineReceiver({
  type: 'nop',
  stability: 'stable',
  summary: 'Receives nothing.',
  signals: ['traces', 'metrics', 'logs'],
  config,
  telemetry: {},
  create() {
    return {}
  },
})
