/**
 * What an exporter throws when one attempt ended differently for different parts of the batch: delivered,
 * worth another try, or refused for good. The shell (src/sending) counts each part and sends only `failed`
 * again.
 *
 * Items neither in `failed` nor counted in `droppedItems` were delivered.
 */
import { RetryableError } from '../errors.ts'
import type { Batch } from '../otlp/batch.ts'

export class PartialError extends RetryableError {
  static override code = 'PARTIAL'
  /** What may be sent again; undefined when nothing of it may. */
  readonly failed: Batch | undefined
  /** Items that the backend refused for good. */
  readonly droppedItems: number
  override get retryable(): boolean {
    return this.failed !== undefined
  }
  constructor(
    message: string,
    options: {
      failed: Batch | undefined
      droppedItems?: number
      cause?: unknown
      retryAfterMs?: number | undefined
    },
  ) {
    super(message, options)
    this.failed = options.failed
    this.droppedItems = options.droppedItems ?? 0
  }
}
