/**
 * `prometheus` exporter: holds the newest point of every series for Prometheus to scrape at `/metrics`.
 *
 *     exporters:
 *       prometheus:
 *         endpoint: 0.0.0.0:8889
 *         namespace: shop
 *
 * All series of a service lie on one shard, which alone changes them. Any shard may get the scrape; it asks all of
 * them and joins their families.
 */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { isServerAuthenticator, type ServerAuthenticator } from '../../component/auth.ts'
import type { Timer } from '../../component/clock.ts'
import { defineExporter } from '../../component/define.ts'
import type { Host, Listener } from '../../component/host.ts'
import type { Logger } from '../../component/logger.ts'
import { counter, gauge } from '../../component/telemetry.ts'
import { ConfigError } from '../../errors.ts'
import { type Exchange, HttpServer } from '../../net/http-server.ts'
import { createServerTls, type ServerTls } from '../../net/tls-server.ts'
import { PLAIN } from '../../sending/plain.ts'
import { Accumulator, type DropReason } from './accumulate.ts'
import { baseOptions, type Config, config } from './config.ts'
import { FamilyStore } from './families.ts'
import { writePart } from './join.ts'
import { decodeQuestion, Scrapes } from './scrape.ts'

const telemetry = {
  series: gauge('exporter_prometheus_series', '{series}', 'Series that are held.'),
  limit: gauge('exporter_prometheus_series_limit', '{series}', 'Series that may be held.', [], 'max'),
  dropped: counter(
    'exporter_prometheus_dropped_data_points',
    '{datapoint}',
    'Data points that could not be held, by reason.',
    ['reason'],
  ),
}

/** What these reasons mean is worth a line at their level; the logger throttles repeats. */
const LOGGED: Readonly<Record<DropReason, 'error' | 'warn' | 'debug'>> = {
  type_conflict: 'error',
  cardinality: 'error',
  duplicate: 'warn',
  misaligned: 'warn',
  temporality: 'debug',
  name: 'debug',
  scale: 'debug',
}

const EXPLAINED: Readonly<Record<DropReason, string>> = {
  type_conflict: 'metric name is in use with another type; data points dropped',
  cardinality: 'max_series is reached; data points of new series dropped',
  duplicate: 'series is already exported by another metric or scope; data point dropped',
  misaligned: 'delta histogram overlaps the one before; data point dropped',
  temporality: 'temporality cannot be exported; data points dropped',
  name: 'nothing is left of the metric name; data points dropped',
  scale: 'exponential histogram is too coarse; data point dropped',
}

export default defineExporter({
  type: 'prometheus',
  stability: 'beta',
  summary: 'Holds metrics for Prometheus to scrape, as text or OpenMetrics.',
  signals: ['metrics'],
  affinity: 'series',
  config,
  telemetry,
  sending: ({ sending_queue }) => ({ timeoutMs: 0, retry: PLAIN.retry, queue: sending_queue, local: true }),
  listeners: ({ endpoint, transport }) => [{ path: ['endpoint'], endpoint, transport }],
  create({ id, config, telemetry, logger, host }) {
    const store = new FamilyStore(host.budget('series', config.max_series))
    const nowMs = () => host.clock.monotonicMs()
    const drops = new Map<DropReason, number>()
    const accumulator = new Accumulator({
      store,
      base: baseOptions(config),
      namespace: config.namespace,
      keepExemplars: config.enable_open_metrics,
      nowMs,
      wallMs: () => host.clock.wallMs(),
      onDropped(reason, metric, points, detail) {
        telemetry.dropped.with({ reason }).add(points)
        const known = drops.get(reason) ?? 0
        drops.set(reason, known + points)
        if (known > 0 && LOGGED[reason] !== 'debug') return // One line a batch and reason.
        const level = LOGGED[reason]
        if (level === 'debug' && !logger.debugEnabled) return
        logger[level](EXPLAINED[reason], { metric, points, ...(detail === undefined ? {} : { detail }) })
      },
      onHelpConflict(family, dropped) {
        const fields = { metric: family.name, kept: family.help, dropped }
        logger.info('metric has another description; the first one stays', fields)
      },
    })
    const expire = () => {
      store.expire(nowMs() - config.metric_expiration)
      telemetry.series.set(store.seriesCount)
    }
    const server = new ScrapeServer(id, config, host, logger)
    let sweep: Timer | undefined
    host.answer((question) => {
      expire()
      return writePart(store, decodeQuestion(question))
    })
    return {
      async start() {
        telemetry.limit.set(config.max_series)
        sweep = host.clock.every(config.metric_expiration, expire)
        await server.start()
      },
      async shutdown(deadline) {
        sweep?.cancel()
        await server.shutdown(deadline)
        store.clear()
      },
      async consume(batch) {
        drops.clear()
        accumulator.add(batch.chunks)
        telemetry.series.set(store.seriesCount)
      },
    }
  },
})

/** The listener of one shard. */
class ScrapeServer {
  readonly #id: string
  readonly #config: Config
  readonly #host: Host
  readonly #logger: Logger
  #server: HttpServer | undefined
  #tls: ServerTls | undefined
  #listener: Listener | undefined
  #authenticator: ServerAuthenticator | undefined

  constructor(id: string, config: Config, host: Host, logger: Logger) {
    this.#id = id
    this.#config = config
    this.#host = host
    this.#logger = logger
  }

  async start(): Promise<void> {
    const config = this.#config
    const host = this.#host
    const logger = this.#logger
    this.#authenticator = this.#findAuthenticator()
    const scrapes = new Scrapes({
      host,
      openMetrics: config.enable_open_metrics,
      timestamps: config.send_timestamps,
      onConflict: (metric) => logger.error('shards know a metric by different types', { metric }),
    })
    const server = new HttpServer({
      clock: host.clock,
      maxConnections: config.max_connections,
      readTimeoutMs: config.read_timeout,
      readHeaderTimeoutMs: config.read_header_timeout,
      writeTimeoutMs: config.write_timeout,
      idleTimeoutMs: config.idle_timeout,
      keepAlives: config.keep_alives_enabled,
      responseHeaders: config.response_headers ?? {},
      cors: config.cors,
      handle: async (exchange) => {
        if (await this.#admits(exchange)) await scrapes.handle(exchange.request, exchange.response)
      },
      onError: (error) => logger.warn('scrape failed', { error }),
    })
    this.#server = server
    if (config.tls)
      this.#tls = createServerTls(config.tls, {
        alpn: ['http/1.1'],
        nowMs: () => host.clock.monotonicMs(),
        onSecure: (socket) => server.accept(socket),
        onProblem: (message, error) => logger.warn(message, { error: error.message }),
      })
    const tls = this.#tls
    const { endpoint, transport, max_connections: most } = config
    const onConnection = (socket: Socket): void => {
      if (tls === undefined) server.accept(socket)
      else if (tls.pending >= most) socket.destroy()
      else tls.accept(socket)
    }
    this.#listener = await host.listen({ name: `exporters/${this.#id}`, endpoint, transport }, onConnection)
    logger.info('listening', { address: this.#listener.address })
  }

  #findAuthenticator(): ServerAuthenticator | undefined {
    const name = this.#config.auth?.authenticator
    if (name === undefined) return undefined
    const found = this.#host.extension(name)
    if (isServerAuthenticator(found)) return found
    const message = `extension "${name}" is not an authenticator, or not in service.extensions`
    const path = `exporters::${this.#id}::auth::authenticator`
    throw new ConfigError([{ file: 'exporter', line: 0, column: 0, path, message }])
  }

  async #admits({ request, response }: Exchange): Promise<boolean> {
    if (this.#authenticator === undefined) return true
    try {
      await this.#authenticator.authenticate(headersOf(request))
      return true
    } catch {
      request.resume()
      response.writeHead(401, { 'Content-Type': 'text/plain; charset=utf-8' }).end('unauthenticated\n')
      return false
    }
  }

  async shutdown(deadline: AbortSignal): Promise<void> {
    // A listener may wait for its connections, so it is closed first and awaited last.
    const closed = this.#listener?.close()
    this.#listener = undefined
    this.#tls?.close()
    const server = this.#server
    this.#server = undefined
    await server?.shutdown(deadline)
    await closed
  }
}

function headersOf(request: IncomingMessage): Map<string, string[]> {
  const headers = new Map<string, string[]>()
  for (const [key, values] of Object.entries(request.headersDistinct)) if (values) headers.set(key, values)
  return headers
}
