/** Builds and starts an extension as the service would: config checked by its own schema, real counters, a scripted clock. */
import type { AnyExtension, Component } from '../../src/component/define.ts'
import { silentLogger } from '../../src/component/logger.ts'
import { TestHost } from './host.ts'
import { TestMeter } from './meter.ts'

export async function createExtension(definition: AnyExtension, rawConfig: unknown) {
  const meter = new TestMeter()
  const host = new TestHost()
  const extension: Component = definition.create({
    id: definition.type,
    config: definition.config.parse(rawConfig),
    host,
    logger: silentLogger,
    telemetry: meter.instruments(definition.telemetry, {}),
    service: { notReadyReason: () => undefined, startedAtMs: 0, statuses: () => new Map() },
  })
  await extension.start?.()
  return {
    extension,
    meter,
    host,
    clock: host.clock,
    [Symbol.asyncDispose]: async () => extension.shutdown?.(AbortSignal.timeout(10_000)),
  }
}
