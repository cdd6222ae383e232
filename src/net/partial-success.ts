/**
 * The answer to an OTLP export: Export*ServiceResponse, whose partial_success says what the backend rejected
 * although it answered success. The three signals have the same shape on the wire.
 */
import { FieldCursor, LEN } from '../otlp/wire.ts'

export interface PartialSuccess {
  readonly rejected: bigint
  readonly message: string
}

const PARTIAL_SUCCESS = 1
const REJECTED = 1
const ERROR_MESSAGE = 2
const MAX_MESSAGE = 1000

/** Undefined when everything was taken without a warning. Throws WireError on broken bytes. */
// message ExportTraceServiceResponse { ExportTracePartialSuccess partial_success = 1; }
// message ExportTracePartialSuccess { int64 rejected_spans = 1; string error_message = 2; }
export function readPartialSuccess(bytes: Uint8Array): PartialSuccess | undefined {
  const response = new FieldCursor(bytes)
  const partial = new FieldCursor()
  let rejected = 0n
  let message = ''
  while (response.next()) {
    if (response.number !== PARTIAL_SUCCESS || response.wireType !== LEN) continue
    partial.enter(response)
    while (partial.next()) {
      if (partial.number === REJECTED && partial.wireType !== LEN) rejected = partial.int64()
      else if (partial.number === ERROR_MESSAGE) message = partial.string()
    }
  }
  return found(rejected, message)
}

/** The same from OTLP/JSON. Throws SyntaxError when it is no JSON. */
export function parsePartialSuccess(text: string): PartialSuccess | undefined {
  const body: unknown = text.trim() === '' ? {} : JSON.parse(text)
  const partial = property(body, 'partialSuccess') ?? property(body, 'partial_success')
  let rejected = 0n
  for (const key of ['rejectedSpans', 'rejectedDataPoints', 'rejectedLogRecords']) {
    const value = property(partial, key)
    if (/^-?\d{1,19}$/.test(String(value))) rejected = BigInt(String(value))
  }
  const message = property(partial, 'errorMessage')
  return found(rejected, typeof message === 'string' ? message : '')
}

function found(rejected: bigint, message: string): PartialSuccess | undefined {
  if (rejected === 0n && message === '') return undefined
  return { rejected, message: message.slice(0, MAX_MESSAGE) }
}

function property(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined
  return Object.getOwnPropertyDescriptor(value, key)?.value
}
