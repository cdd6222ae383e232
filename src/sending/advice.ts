/** What the log advises where data is refused or dropped. */
import { isRetryable, ShutdownError, TooLargeError } from '../errors.ts'

export function refusalAdvice(error: Error): string {
  if (error instanceof TooLargeError) return 'raise sending_queue.queue_size or make the batches smaller'
  if (error instanceof ShutdownError) return 'none needed: the sender keeps it and sends it again'
  return 'the backend is slower than the input: raise sending_queue.queue_size or num_consumers'
}

export function dropAdvice(error: Error, retries: boolean, stopped: boolean): string {
  if (!isRetryable(error)) return 'the destination will not take this data: see its error'
  if (stopped)
    return 'the process stopped before it could be sent: a longer shutdown time or a faster backend helps'
  if (retries)
    return 'retries were used up: raise retry_on_failure.max_elapsed_time, or look at the destination'
  return 'retry_on_failure is off: turn it on'
}
