/**
 * Export*ServiceResponse, alike for all signals: `partial_success` = 1 { rejected_* = 1 int64, error_message = 2 }. Without
 * partial success the submessage is written empty, as the Go collector writes it.
 */
import type { PartialSuccess } from '../../errors.ts'
import type { Signal } from '../../otlp/batch.ts'
import { WireWriter } from '../../otlp/wire.ts'

export const OK_PROTOBUF: Uint8Array = Buffer.from([0x0a, 0x00])
export const OK_JSON: Uint8Array = Buffer.from('{"partialSuccess":{}}')

const REJECTED_KEY: Readonly<Record<Signal, string>> = {
  traces: 'rejectedSpans',
  metrics: 'rejectedDataPoints',
  logs: 'rejectedLogRecords',
}
/** Longer texts are cut, so that the response stays far below any client's limit. */
const MAX_MESSAGE_CHARACTERS = 4096

export function encodePartial(partial: PartialSuccess): Uint8Array {
  const writer = new WireWriter(64).begin(1)
  if (partial.rejectedItems > 0) writer.uintField(1, partial.rejectedItems)
  const message = partial.message.slice(0, MAX_MESSAGE_CHARACTERS)
  if (message !== '') writer.string(2, message)
  return writer.end().finish()
}

export function partialJson(signal: Signal, partial: PartialSuccess): string {
  return JSON.stringify({
    partialSuccess: {
      [REJECTED_KEY[signal]]: String(partial.rejectedItems),
      errorMessage: partial.message.slice(0, MAX_MESSAGE_CHARACTERS),
    },
  })
}
