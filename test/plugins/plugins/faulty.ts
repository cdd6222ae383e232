/** A processor that goes wrong as its config says, on spans; and one that does what it should. */
import { Batch, counter, defineProcessor, RetryableError, z } from 'weir-collector'

const ACTS = [
  'throw',
  'reject',
  'retry',
  'spin',
  'never',
  'heap',
  'buffers',
  'exit',
  'later',
  'value',
  'bytes',
  'signal',
  'mutate',
  'none',
] as const
const kept: unknown[] = []

export const faulty = defineProcessor({
  type: 'faulty',
  config: z.strictObject({ act: z.enum(ACTS) }),
  telemetry: { seen: counter('processor_faulty_seen', '{batch}', 'Batches it has seen.', ['act']) },
  create({ config: { act }, next, telemetry, logger }) {
    return {
      async consume(batch) {
        telemetry.seen.with({ act }).add(1)
        logger.info('about to act', { act })
        switch (act) {
          case 'throw':
            throw new Error('thrown on purpose')
          case 'reject':
            return Promise.reject('rejected with a word')
          case 'retry':
            throw new RetryableError('come back', { retryAfterMs: 2000 })
          case 'spin':
            for (;;) kept.length = 0
          case 'never':
            return new Promise(() => {})
          case 'heap':
            for (;;) kept.push({ text: `${Math.random()}` })
          case 'buffers':
            for (;;) {
              kept.push(Buffer.alloc(8 * 1024 * 1024, 1))
              await new Promise((resolve) => setTimeout(resolve, 20))
            }
          case 'exit':
            return process.exit(3)
          case 'later':
            setTimeout(() => {
              throw new Error('thrown later')
            }, 5)
            return new Promise(() => {})
          case 'value':
            return next.consume({ spans: [] } as unknown as Batch)
          case 'bytes':
            return next.consume(batch.with([Buffer.from('junk, not OTLP')]))
          case 'signal':
            return next.consume(new Batch('logs', []))
          case 'mutate':
            for (const chunk of batch.chunks) chunk.fill(0xff)
            throw new Error('after writing over everything')
          case 'none':
            return next.consume(batch)
        }
      },
    }
  },
})

export const retrying = defineProcessor({
  type: 'retrying',
  onFailure: 'retry',
  edit: () => ({
    span() {
      throw new Error('again, please')
    },
  }),
})

export const marking = defineProcessor({
  type: 'marking',
  edit: () => ({
    span(span) {
      span.attributes.set('marked', true)
    },
  }),
})

export default [faulty, retrying, marking]
