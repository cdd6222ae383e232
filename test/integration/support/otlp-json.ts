/**
 * Reads OTLP/JSON into the plain form of test/support/otlp.ts, by the message definitions; knows nothing of
 * src/otlp.
 */
import protobuf from 'protobufjs'
import { SIGNALS, type Signal } from '../../../src/otlp/batch.ts'
import { messageType, type Plain, REQUESTS } from '../../support/otlp.ts'

const HEX_FIELDS = new Set(['traceId', 'spanId', 'parentSpanId'])
/** Not in the protocol, yet written by a client: the JavaScript SDK. Receivers ignore such keys. */
const EXTRA_KEYS = new Set(['Resource.schemaUrl'])
const FIRST_KEYS: Record<Signal, string> = {
  traces: 'resourceSpans',
  metrics: 'resourceMetrics',
  logs: 'resourceLogs',
}

export interface SignalRequest {
  readonly signal: Signal
  readonly object: Plain
}

/** One request of a known signal. */
export function parseRequest(signal: Signal, text: string): Plain {
  return messageOf(messageType(REQUESTS[signal]), JSON.parse(text))
}

/** Lines as the file exporters write them, of any signal. */
export function parseLines(text: string): SignalRequest[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const parsed = JSON.parse(line)
      const signal = SIGNALS.find((name) => FIRST_KEYS[name] in parsed)
      if (signal === undefined) throw new SyntaxError(`of no signal: ${line.slice(0, 200)}`)
      return { signal, object: messageOf(messageType(REQUESTS[signal]), parsed) }
    })
}

function messageOf(type: protobuf.Type, json: Plain): Plain {
  const object: Plain = {}
  for (const [key, value] of Object.entries(json)) {
    const field = type.fields[key]
    if (value === null || EXTRA_KEYS.has(`${type.name}.${key}`)) continue
    if (field === undefined) throw new SyntaxError(`${type.name} has no field ${key}`)
    object[key] = field.repeated
      ? (value as Plain[]).map((entry) => fieldValue(field, entry))
      : fieldValue(field, value)
  }
  return object
}

function fieldValue(field: protobuf.Field, value: Plain): Plain {
  field.resolve()
  if (field.resolvedType instanceof protobuf.Type) return messageOf(field.resolvedType, value)
  if (field.type === 'bytes') {
    const encoding = HEX_FIELDS.has(field.name) ? 'hex' : 'base64'
    const bytes = Buffer.from(value, encoding)
    if (bytes.toString(encoding) !== (encoding === 'hex' ? value.toLowerCase() : value))
      throw new SyntaxError(`${field.name} is not ${encoding}: ${value}`)
    return bytes
  }
  if (/64$/.test(field.type)) {
    if (typeof value === 'number' && !Number.isSafeInteger(value))
      throw new SyntaxError(`${field.name} may have lost digits: ${value}`)
    return String(value)
  }
  if (field.type === 'double') return Number(value)
  return value
}
