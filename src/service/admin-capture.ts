/** `POST /-/capture`: what it asks for, against what the configuration allows. */
import { parseDuration } from '../config/fields.ts'
import type { ServiceConfig } from '../config/types.ts'
import { toError } from '../errors.ts'
import type { AdminAnswer } from './admin-server.ts'
import type { Captures } from './capture.ts'

const DEFAULT_DURATION = '60s'
const DEFAULT_BYTES = 100e6

/**
 * Query: `pipeline` (default `traces`), `duration` (60s), `max_mb` (100). Answers when the capture has
 * ended.
 */
export async function answerCapture(
  captures: Captures,
  { service }: ServiceConfig,
  query: URLSearchParams,
  stop: AbortSignal,
): Promise<AdminAnswer> {
  const settings = service.admin?.capture
  if (!settings) return refusal(404, 'captures need service.admin.capture.directory in the configuration')
  for (const key of query.keys())
    if (!['pipeline', 'duration', 'max_mb'].includes(key)) return refusal(400, `unknown parameter "${key}"`)
  const pipeline = query.get('pipeline') ?? 'traces'
  const ids = service.pipelines.map(({ id }) => id)
  if (!ids.includes(pipeline))
    return refusal(404, `there is no pipeline "${pipeline}"; there are: ${ids.join(', ')}`)
  const durationMs = parseDuration(query.get('duration') ?? DEFAULT_DURATION)
  if (durationMs === undefined || !(durationMs >= 1) || durationMs > settings.max_duration)
    return refusal(400, `duration: expected 1ms to ${settings.max_duration / 1000}s`)
  const mostBytes = settings.max_size_mib * 2 ** 20
  const megabytes = query.get('max_mb')
  const limitBytes = megabytes === null ? Math.min(DEFAULT_BYTES, mostBytes) : Number(megabytes) * 1e6
  if (!(limitBytes > 0) || limitBytes > mostBytes)
    return refusal(400, `max_mb: expected a number above 0, at most ${settings.max_size_mib} MiB`)
  if (captures.running) return refusal(409, 'a capture is under way')
  try {
    return { status: 200, body: await captures.run(settings, { pipeline, durationMs, limitBytes }, stop) }
  } catch (error) {
    return refusal(500, `the capture could not be written: ${toError(error).message}`)
  }
}

function refusal(status: number, error: string): AdminAnswer {
  return { status, body: { error } }
}
