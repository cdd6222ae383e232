/** Receiver `webhook`: what is posted to it as JSON becomes a log record. 503 says that it cannot be taken now. */
import { createServer, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import {
  buildLogs,
  defineReceiver,
  endpoint,
  isRetryable,
  type JsValue,
  opaque,
  size,
  z,
} from 'weir-collector'

export default defineReceiver({
  type: 'webhook',
  apiVersion: '^1',
  summary: 'Takes JSON that is posted to it as log records.',
  signals: ['logs'],
  config: z.strictObject({
    endpoint: endpoint().default('localhost:8088'),
    service: z.string().default('webhook'),
    token: opaque().optional(), // Wanted as `authorization: Bearer ...` when it is set.
    max_body: size().prefault('1MiB'),
  }),
  listeners: (config) => [{ path: ['endpoint'], endpoint: config.endpoint }],
  create({ id, config, host, next }) {
    const server = createServer({ requestTimeout: 10_000 }, async (request, response) => {
      response.statusCode = await answer(request).catch(statusOf)
      response.end()
    })
    async function answer(request: IncomingMessage): Promise<number> {
      const { authorization, 'content-length': length = '' } = request.headers
      if (request.method !== 'POST') return 405
      if (config.token !== undefined && authorization !== `Bearer ${config.token.reveal()}`) return 401
      if (!/^\d+$/.test(length)) return 411 // A body of unknown length could be any length.
      if (Number(length) > config.max_body) return 413
      const body: JsValue = JSON.parse(await text(request))
      const resource = { 'service.name': config.service }
      await next.logs?.consume(buildLogs({ resource, logs: [{ body }] }))
      return 202
    }
    let listener: Awaited<ReturnType<typeof host.listen>> | undefined
    return {
      async start() {
        const place = { name: `receivers/${id}`, endpoint: config.endpoint }
        listener = await host.listen(place, (socket) => server.emit('connection', socket))
      },
      async shutdown() {
        await listener?.close()
        server.closeAllConnections()
      },
    }
  },
})

function statusOf(error: unknown): number {
  return error instanceof SyntaxError ? 400 : isRetryable(error) ? 503 : 500
}
