/**
 * Exporter `slack_errors`: posts spans with errors to a Slack webhook, one message per batch. Queue, retries and the time limit are those of
 * every exporter; put it behind `batch`, so that a storm of errors is a few messages.
 */
import * as weir from 'weir-collector'

const config = weir.z.strictObject({
  webhook_url: weir.opaque(),
  /** Spans that a message names; the others are a number. */
  most_spans: weir.z.int().min(1).max(40).default(10),
  timeout: weir.timeoutField('5s'),
  retry_on_failure: weir.retryField(),
  sending_queue: weir.queueField(),
})

export default weir.defineExporter({
  type: 'slack_errors',
  apiVersion: '^1',
  summary: 'Posts spans with errors to a Slack webhook.',
  signals: ['traces'],
  config,
  telemetry: {
    messages: weir.counter('exporter_slack_errors_messages', '{message}', 'Messages that Slack has taken.'),
  },
  sending: (settings) => weir.sendingSettings(settings),
  create: ({ config, telemetry }) => ({
    async consume(batch, attempt) {
      const lines: string[] = []
      let errors = 0
      for (const span of weir.editBatch(batch).spans()) {
        if (!span.isError || ++errors > config.most_spans) continue
        const service = span.resource.attributes.text('service.name') ?? 'unknown service'
        lines.push(
          `*${escaped(service)}* ${escaped(span.name)}: ${escaped(span.status.message)} \`${span.traceId}\``,
        )
      }
      if (errors === 0) return
      if (errors > lines.length) lines.push(`and ${errors - lines.length} more`)
      const answer = await post(config.webhook_url.reveal(), lines.join('\n'), attempt)
      await answer.body?.cancel()
      const retryAfterMs = Number(answer.headers.get('retry-after') ?? 1) * 1000
      const what = `Slack answered ${answer.status}`
      if (answer.status === 429 || answer.status >= 500) throw new weir.RetryableError(what, { retryAfterMs })
      if (!answer.ok) throw new weir.DownstreamError(what)
      telemetry.messages.add(1)
    },
  }),
})

function post(url: string, text: string, signal: AbortSignal): Promise<Response> {
  const headers = { 'content-type': 'application/json' }
  return fetch(url, { method: 'POST', headers, body: JSON.stringify({ text }), signal }).catch((cause) => {
    throw new weir.RetryableError('Slack cannot be reached', { cause })
  })
}

const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
