/** Tells the service when attempts of an exporter begin to fail in a row, and when they succeed again. */
import type { Host } from '../component/host.ts'

/** Attempts that fail in a row until the component counts as degraded. */
const FAILURES_UNTIL_DEGRADED = 3

export class Health {
  readonly #host: Host
  #failuresInRow = 0

  constructor(host: Host) {
    this.#host = host
  }

  /** After each attempt. */
  note(error: Error | undefined): void {
    if (!error) {
      if (this.#failuresInRow >= FAILURES_UNTIL_DEGRADED) this.#host.reportStatus('ok')
      this.#failuresInRow = 0
    } else if (++this.#failuresInRow === FAILURES_UNTIL_DEGRADED) {
      this.#host.reportStatus('recoverable_error', error)
    }
  }
}
