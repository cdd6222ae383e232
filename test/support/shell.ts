/** The shell around a scripted exporter, with a scripted clock, real counters and recorded log lines. */
import type { Exporter, SendingSettings } from '../../src/component/define.ts'
import type { LogFields, Logger } from '../../src/component/logger.ts'
import { PartialError } from '../../src/component/partial-error.ts'
import type { Batch } from '../../src/otlp/batch.ts'
import { queueField, retryField, sendingSettings } from '../../src/sending/fields.ts'
import { wrapExporter } from '../../src/sending/shell.ts'
import { detailedTelemetry, sendingTelemetry } from '../../src/sending/telemetry.ts'
import { TestHost } from './host.ts'
import { TestMeter } from './meter.ts'
import { decodeBatch, traces } from './otlp.ts'

/**
 * An exporter that follows a script: each attempt takes the next entry; after the script everything succeeds.
 */
export class Backend implements Exporter {
  readonly attempts: { atMs: number; names: string[] }[] = []
  readonly delivered: string[] = []
  readonly script: (Error | 'hang' | Promise<void> | ((batch: Batch) => Error | undefined))[] = []
  readonly host: TestHost
  aborted = 0
  shutdowns = 0
  always: ((batch: Batch) => Promise<void> | Error | undefined) | undefined
  constructor(host: TestHost) {
    this.host = host
  }
  async consume(batch: Batch, signal: AbortSignal): Promise<void> {
    const names = namesOf(batch)
    this.attempts.push({ atMs: this.host.clock.monotonicMs() - 1000, names })
    const step = this.script.shift() ?? this.always
    signal.addEventListener('abort', () => this.aborted++)
    if (step === 'hang') return new Promise<void>(() => {})
    const result = typeof step === 'function' ? step(batch) : step
    if (result instanceof PartialError) {
      const failed = result.failed ? namesOf(result.failed) : []
      this.delivered.push(...names.filter((name) => !failed.includes(name)).slice(result.droppedItems))
    }
    if (result instanceof Error) throw result
    await result
    this.delivered.push(...names)
  }
  async shutdown(): Promise<void> {
    this.shutdowns++
  }
}

export function namesOf(batch: Batch): string[] {
  const request = decodeBatch(batch)
  return (request.resourceSpans ?? []).flatMap((resource: { scopeSpans: { spans: { name: string }[] }[] }) =>
    resource.scopeSpans.flatMap((scope) => scope.spans.map((span) => span.name)),
  )
}

export class LogRecorder implements Logger {
  readonly lines: { level: string; message: string; fields: LogFields | undefined }[] = []
  readonly debugEnabled = false
  #add = (level: string) => (message: string, fields?: LogFields) =>
    void this.lines.push({ level, message, fields })
  error = this.#add('error')
  warn = this.#add('warn')
  info = this.#add('info')
  debug = this.#add('debug')
  child(): Logger {
    return this
  }
  of(message: string) {
    return this.lines.filter((line) => line.message === message)
  }
}

interface Options {
  readonly queue?: object
  readonly retry?: object
  readonly timeoutMs?: number
  readonly plain?: boolean
  readonly host?: TestHost
  readonly detailed?: boolean
  readonly inOrder?: boolean
}

export function makeShell(options: Options = {}) {
  const host = options.host ?? new TestHost()
  const backend = new Backend(host)
  const meter = new TestMeter()
  const logger = new LogRecorder()
  const queue = queueField().parse(options.queue)
  const sending: SendingSettings = sendingSettings({
    timeout: options.timeoutMs ?? 5000,
    retry_on_failure: retryField().parse(options.retry),
    sending_queue: queue && { ...queue, inOrder: options.inOrder ?? false },
  })
  const shell = wrapExporter(backend, options.plain ? undefined : sending, {
    id: 'otlp',
    signal: 'traces',
    host,
    logger,
    telemetry: meter.instruments(sendingTelemetry('traces'), {}),
    detailed: options.detailed ? meter.instruments(detailedTelemetry, {}) : undefined,
    random: () => 0.5,
  })
  const counts = () => ({
    sent: meter.read('exporter_sent_spans'),
    failed: meter.read('exporter_send_failed_spans'),
    refused: meter.read('exporter_enqueue_failed_spans'),
    held: meter.read('exporter_queue_size', { data_type: 'traces' }),
    inFlight: meter.read('exporter_in_flight_requests', { data_type: 'traces' }),
  })
  return { host, clock: host.clock, backend, meter, logger, shell, counts }
}

export const spans = (...names: string[]) => traces({ spans: names })
export const OFF = { enabled: false }
export const never = () => new AbortController().signal
export const outcome = (promise: Promise<void>) =>
  promise.then(
    () => 'ok',
    (error: Error) => error,
  )
