/** The components that `weir new` writes: small, and each does something that can be seen. */
import type { Names, NewKind } from './index.ts'

export function componentText(kind: NewKind, names: Names): string {
  return TEXTS[kind](names)
}

const TEXTS: Readonly<Record<NewKind, (names: Names) => string>> = {
  processor: ({
    type,
  }) => `/** Processor \`${type}\`: sets an attribute on every span, log record and data point. */
import { counter, defineProcessor, z } from 'weir-collector'

export default defineProcessor({
  type: '${type}',
  apiVersion: '^1',
  summary: 'Sets an attribute on every item.',
  config: z.strictObject({
    key: z.string().min(1).default('team').meta({ description: 'Name of the attribute.' }),
    value: z.string().meta({ description: 'Its value.' }),
  }),
  telemetry: { marked: counter('processor_${type}_items', '{item}', 'Items that got the attribute.') },
  edit({ config, telemetry }) {
    const mark = (item: { readonly attributes: { set(key: string, value: string): unknown } }) => {
      item.attributes.set(config.key, config.value)
      telemetry.marked.add(1)
    }
    return { span: mark, logRecord: mark, dataPoint: mark }
  },
})
`,
  exporter: ({
    type,
  }) => `/** Exporter \`${type}\`: posts to a URL how many items of which signal there are. */
import * as weir from 'weir-collector'

export default weir.defineExporter({
  type: '${type}',
  apiVersion: '^1',
  summary: 'Posts the number of items to a URL.',
  config: weir.z.strictObject({
    url: weir.z.url().meta({ description: 'Where to post.' }),
    timeout: weir.timeoutField('5s'),
    retry_on_failure: weir.retryField(),
    sending_queue: weir.queueField(),
  }),
  telemetry: { posted: weir.counter('exporter_${type}_posts', '{post}', 'Posts that were taken.') },
  // The queue, retries and the time limit around consume().
  sending: (config) => weir.sendingSettings(config),
  create: ({ config, telemetry }) => ({
    async consume(batch, attempt) {
      const answer = await fetch(config.url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ signal: batch.signal, items: batch.itemCount }),
        signal: attempt,
      }).catch((cause) => {
        throw new weir.RetryableError('it cannot be reached', { cause })
      })
      await answer.body?.cancel()
      // What may work later is tried again; anything else fails for good.
      if (answer.status >= 500) throw new weir.RetryableError(\`it answered \${answer.status}\`)
      if (!answer.ok) throw new weir.DownstreamError(\`it answered \${answer.status}\`)
      telemetry.posted.add(1)
    },
  }),
})
`,
  receiver: ({ type }) => `/** Receiver \`${type}\`: makes a log record every now and then. */
import { buildLogs, counter, defineReceiver, duration, z } from 'weir-collector'

export default defineReceiver({
  type: '${type}',
  apiVersion: '^1',
  summary: 'Makes a log record every now and then.',
  signals: ['logs'],
  config: z.strictObject({
    interval: duration().prefault('10s').meta({ description: 'Time between two records.' }),
    text: z.string().default('alive').meta({ description: 'Body of the records.' }),
  }),
  telemetry: { failed: counter('receiver_${type}_failed', '{record}', 'Records that the pipeline did not take.') },
  create({ id, config, next, telemetry, host, every }) {
    const send = async () => {
      const timeUnixNano = BigInt(host.clock.wallMs()) * 1_000_000n
      const batch = buildLogs({
        resource: { 'service.name': id },
        logs: [{ body: config.text, severityNumber: 9, timeUnixNano }],
      })
      // The promise is the answer of the pipeline: a rejection says that it did not take the data.
      await next.logs?.consume(batch).catch(() => telemetry.failed.add(1))
    }
    return {
      async start() {
        every(config.interval, send) // Stops by itself when the receiver does.
      },
    }
  },
})
`,
  connector: ({ type }) => `/** Connector \`${type}\`: a log record for every span with an error. */
import { buildLogs, defineConnector, editBatch, z } from 'weir-collector'

export default defineConnector({
  type: '${type}',
  apiVersion: '^1',
  summary: 'Makes a log record of every span with an error.',
  routes: [{ from: 'traces', to: 'logs' }],
  config: z.strictObject({
    severity: z.int().min(1).max(24).default(17).meta({ description: 'Severity number of the records.' }),
  }),
  create: ({ config, all }) => ({
    async consume(batch) {
      const logs = []
      for (const span of editBatch(batch).spans()) {
        if (!span.isError) continue
        // One object is moved from span to span: values are kept, not the span.
        const { name, traceId, spanId, endTimeUnixNano, status } = span
        const service = span.resource.attributes.text('service.name') ?? 'unknown'
        logs.push({
          body: status.message === '' ? \`\${name} failed\` : \`\${name} failed: \${status.message}\`,
          severityNumber: config.severity,
          timeUnixNano: endTimeUnixNano,
          traceId,
          spanId,
          attributes: { 'service.name': service },
        })
      }
      if (logs.length > 0) await all.consume(buildLogs({ logs }))
    },
  }),
})
`,
  extension: ({
    type,
  }) => `/** Extension \`${type}\`: says in the log, every now and then, that the collector lives. */
import { counter, defineExtension, duration, z } from 'weir-collector'

export default defineExtension({
  type: '${type}',
  apiVersion: '^1',
  summary: 'Says every now and then that the collector lives.',
  config: z.strictObject({
    interval: duration().prefault('1m').meta({ description: 'Time between two lines.' }),
  }),
  telemetry: { told: counter('extension_${type}_lines', '{line}', 'Lines that were logged.') },
  create: ({ config, logger, telemetry, every }) => ({
    async start() {
      // Stops by itself when the extension does.
      every(config.interval, () => {
        logger.info('alive')
        telemetry.told.add(1)
      })
    },
  }),
})
`,
}
