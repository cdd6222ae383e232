/**
 * Processor `redact_pii`: takes personal data out of spans and log records. Attributes with one of the `keys` go away; e-mail
 * addresses and card numbers in texts become `[redacted]`.
 */
import { counter, defineProcessor, type JsValue, z } from 'weir-collector'

const EMAIL = /[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}/g
const CARD = /\b\d(?:[ -]?\d){12,18}\b/g

export default defineProcessor({
  type: 'redact_pii',
  apiVersion: '^1',
  summary: 'Takes e-mail addresses, card numbers and named attributes out of spans and log records.',
  signals: ['traces', 'logs'],
  config: z.strictObject({
    keys: z.array(z.string().min(1)).default([]),
    replacement: z.string().default('[redacted]'),
  }),
  telemetry: {
    redacted: counter('processor_redact_pii_values', '{value}', 'Values that were removed or changed.'),
  },
  edit({ config, telemetry }) {
    const clean = (text: string) =>
      text.replaceAll(EMAIL, config.replacement).replaceAll(CARD, config.replacement)
    const cleanAll = (attributes: Iterable<[string, JsValue]> & Editable) => {
      for (const key of config.keys) if (attributes.delete(key)) telemetry.redacted.add(1)
      for (const [key, value] of attributes) {
        if (typeof value !== 'string' || clean(value) === value) continue
        attributes.set(key, clean(value))
        telemetry.redacted.add(1)
      }
    }
    return {
      span(span) {
        cleanAll(span.attributes)
        for (const event of span.events()) cleanAll(event.attributes)
      },
      logRecord(record) {
        cleanAll(record.attributes)
        const { body } = record
        if (typeof body === 'string' && clean(body) !== body) {
          record.body = clean(body)
          telemetry.redacted.add(1)
        }
      },
    }
  },
})

interface Editable {
  set(key: string, value: string): unknown
  delete(key: string): boolean
}
