/**
 * Builds a component as the service would, around a recording sink: config checked by its own schema, real counters, a
 * scripted clock. `await using` shuts it down.
 *
 *     await using resource = createProcessor(definition, { attributes: [...] })
 *     await resource.consume(batch)
 *     expect(resource.sink.take()).toEqual([...])
 */
import type {
  AnyExporter,
  AnyProcessor,
  AnyReceiver,
  Component,
  Consumer,
} from '../../src/component/define.ts'
import { type Logger, silentLogger } from '../../src/component/logger.ts'
import type { Batch, Signal } from '../../src/otlp/batch.ts'
import { Sink } from '../../src/testing/sink.ts'
import { TestHost } from './host.ts'
import { TestMeter } from './meter.ts'

export { Sink }

export interface TestOptions {
  readonly id?: string
  readonly signal?: Signal
  readonly host?: TestHost
  readonly logger?: Logger
  readonly next?: Consumer
  readonly holdsCaller?: boolean
}

function base(type: string, config: unknown, options: TestOptions) {
  const host = options.host ?? new TestHost()
  const meter = new TestMeter()
  const sink = new Sink()
  return { id: options.id ?? type, config, host, meter, sink, logger: options.logger ?? silentLogger }
}

export function createProcessor(definition: AnyProcessor, rawConfig: unknown, options: TestOptions = {}) {
  const made = base(definition.type, definition.config.parse(rawConfig ?? {}), options)
  const processor: Consumer & Component = definition.create({
    ...made,
    telemetry: made.meter.instruments(definition.telemetry, { processor: made.id }),
    signal: options.signal ?? 'traces',
    pipeline: options.signal ?? 'traces',
    next: options.next ?? made.sink,
    holdsCaller: options.holdsCaller ?? false,
  })
  return {
    ...made,
    processor,
    clock: made.host.clock,
    consume: (batch: Batch) => processor.consume(batch),
    start: async () => processor.start?.(),
    [Symbol.asyncDispose]: async () => processor.shutdown?.(AbortSignal.timeout(10_000)),
  }
}

export function createExporter(definition: AnyExporter, rawConfig: unknown, options: TestOptions = {}) {
  const made = base(definition.type, definition.config.parse(rawConfig ?? {}), options)
  const exporter = definition.create({
    ...made,
    telemetry: made.meter.instruments(definition.telemetry, { exporter: made.id }),
    signal: options.signal ?? 'traces',
  })
  return {
    ...made,
    exporter,
    clock: made.host.clock,
    consume: (batch: Batch, attempt = AbortSignal.timeout(30_000)) => exporter.consume(batch, attempt),
    start: async () => exporter.start?.(),
    [Symbol.asyncDispose]: async () => exporter.shutdown?.(AbortSignal.timeout(10_000)),
  }
}

export function createReceiver(definition: AnyReceiver, rawConfig: unknown, options: TestOptions = {}) {
  const made = base(definition.type, definition.config.parse(rawConfig ?? {}), options)
  const next = options.next ?? made.sink
  const receiver = definition.create({
    ...made,
    telemetry: made.meter.instruments(definition.telemetry, { receiver: made.id }),
    next: { traces: next, metrics: next, logs: next },
  })
  return {
    ...made,
    receiver,
    clock: made.host.clock,
    start: async () => receiver.start?.(),
    [Symbol.asyncDispose]: async () => receiver.shutdown?.(AbortSignal.timeout(10_000)),
  }
}
