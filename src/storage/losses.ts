/** What was found damaged when a log was opened, as metrics and log lines. */
import type { Logger } from '../component/logger.ts'
import type { Losses } from './recovery.ts'
import type { StorageInstruments } from './telemetry.ts'

export function tellLosses(
  { losses, places }: { readonly losses: Losses; readonly places: readonly unknown[] },
  options: { readonly log: string; readonly logger: Logger; readonly telemetry: StorageInstruments },
): void {
  const { telemetry, logger, log } = options
  telemetry.recovered.with({ log }).add(places.length)
  const { lostCorrupt, lostTorn, lostMissing, corruptBytes, tornBytes } = losses
  for (const [reason, count] of Object.entries({
    corrupt: lostCorrupt,
    torn: lostTorn,
    missing: lostMissing,
  }))
    if (count > 0) telemetry.lost.with({ log, reason }).add(count)
  for (const [reason, count] of Object.entries({ damage: corruptBytes, torn: tornBytes }))
    if (count > 0) telemetry.corruptBytes.with({ log, reason }).add(count)
  if (corruptBytes + lostCorrupt + lostMissing > 0) {
    logger.error('the storage is damaged: what could not be read is lost', { log, ...losses })
  } else if (tornBytes > 0) {
    logger.warn('the last write before the crash was cut off', { log, ...losses })
  }
}
