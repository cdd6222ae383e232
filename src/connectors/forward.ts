/**
 * `forward` connector: joins pipelines of one signal. What reaches it as an exporter leaves it as a receiver, unchanged.
 *
 *     connectors:
 *       forward:
 *     service:
 *       pipelines:
 *         traces/in: { receivers: [otlp], exporters: [forward] }
 *         traces/out: { receivers: [forward], exporters: [debug] }
 *
 * The acknowledgement is that of the pipelines behind it: it holds nothing.
 */
import { z } from 'zod'
import { defineConnector } from '../component/define.ts'

const config = z.strictObject({})

export default defineConnector({
  type: 'forward',
  stability: 'stable',
  summary: 'Joins pipelines of one signal.',
  routes: [
    { from: 'traces', to: 'traces' },
    { from: 'metrics', to: 'metrics' },
    { from: 'logs', to: 'logs' },
  ],
  config,
  telemetry: {},
  create({ all }) {
    return { consume: (batch) => all.consume(batch) }
  },
})
