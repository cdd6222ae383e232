/** Settings of the shell around exporters that have none. */
import type { SendingSettings } from '../component/define.ts'

/** One attempt, no limit, the caller waits. */
export const PLAIN: SendingSettings = {
  timeoutMs: 0,
  retry: {
    enabled: false,
    initialIntervalMs: 0,
    randomizationFactor: 0,
    multiplier: 1,
    maxIntervalMs: 0,
    maxElapsedTimeMs: 0,
  },
  queue: undefined,
}
