/**
 * `nop` exporter: takes everything and keeps nothing. For pipelines that exist for their processors, and for benches.
 *
 *     exporters:
 *       nop:
 */
import { z } from 'zod'
import { defineExporter } from '../component/define.ts'

const config = z.strictObject({})

export default defineExporter({
  type: 'nop',
  stability: 'stable',
  summary: 'Takes everything and keeps nothing.',
  signals: ['traces', 'metrics', 'logs'],
  config,
  telemetry: {},
  create() {
    return { releases: true, consume: async () => {} }
  },
})
