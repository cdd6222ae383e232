/** A log of the storage over the shim's disk, with real counters, as often as a test opens it. */

import type { Budget } from '../../../src/component/host.ts'
import { silentLogger } from '../../../src/component/logger.ts'
import type { LogOptions } from '../../../src/storage/log.ts'
import { LogFiles } from '../../../src/storage/log-files.ts'
import { storageTelemetry } from '../../../src/storage/telemetry.ts'
import { TestMeter } from '../../support/meter.ts'
import { traces } from '../../support/otlp.ts'
import type { Disk } from './fs-shim.ts'

export const FOLDER = '/log'
export const LOG = 'exporter_otlp_traces'

export interface LogSettings extends Partial<Omit<LogOptions, 'name'>> {
  readonly shard?: number
  readonly shards?: number
  readonly fsync?: boolean
  readonly segmentBytes?: number
  readonly limit?: Budget
  readonly turn?: Budget
  readonly uptimeMs?: () => number
}

export async function openLog(disk: Disk, settings: LogSettings = {}) {
  const meter = new TestMeter()
  const health: (Error | undefined)[] = []
  const { log, recovered } = await LogFiles.open({
    files: disk.mount(),
    folder: FOLDER,
    log: LOG,
    shard: settings.shard ?? 0,
    shards: settings.shards ?? 1,
    fsync: settings.fsync ?? false,
    segmentBytes: settings.segmentBytes ?? 4096,
    folderMode: 0o750,
    inFlight: settings.inFlight ?? 0,
    notes: settings.notes ?? false,
    limit: settings.limit,
    ...(settings.turn && { turn: settings.turn }),
    uptimeMs: settings.uptimeMs ?? (() => 60_000),
    logger: silentLogger,
    telemetry: meter.instruments(storageTelemetry, {}),
    onHealth: (error) => health.push(error),
  })
  const lost = (reason: string) => meter.read('storage_lost_records', { log: LOG, reason })
  const read = (name: string, labels = {}) => meter.read(name, { log: LOG, ...labels })
  return { log, recovered, meter, health, lost, read }
}

/** A batch of one span with a name, and as many bytes as wanted beside it. */
export function batchOf(name: string, padding = 0) {
  return traces({ spans: [name], resource: { padding: 'x'.repeat(padding) } })
}
