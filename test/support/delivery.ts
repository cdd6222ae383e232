/**
 * A delivery as a receiver with a log holds it, in a test: what became of it, and what was noted in its log.
 *
 *     const request = track()
 *     await request.consume(processor, batch)
 *     expect(request.state).toBe('held')
 */
import type { Consumer } from '../../src/component/define.ts'
import type { Batch } from '../../src/otlp/batch.ts'
import { type Decisions, Delivery, type Journal, NO_DECISIONS } from '../../src/otlp/delivery.ts'

export class TestJournal implements Journal {
  readonly name: string
  readonly notes: Decisions[] = []
  /** While set, notes are not written: they wait for it. */
  held: Promise<void> | undefined

  constructor(name = 'test') {
    this.name = name
  }

  async note(decisions: Decisions): Promise<void> {
    await this.held
    this.notes.push(decisions)
  }
}

export function track(
  journal: Journal = new TestJournal(),
  decided: readonly Decisions[] = NO_DECISIONS,
  recoveredAge?: number,
) {
  const request = {
    state: 'held' as 'held' | 'done' | Error,
    delivery: new Delivery(journal, { decided, recoveredAge }, (error) => {
      request.state = error === undefined ? 'done' : (error as Error) // Stages reject with errors.
    }),
    of: (batch: Batch): Batch => batch.withContext({ ...batch.context, delivery: request.delivery }),
    /** As the receiver does it: the delivery is held until the batch is taken. */
    async consume(consumer: Consumer, batch: Batch): Promise<void> {
      try {
        await consumer.consume(request.of(batch))
        request.delivery.settle()
      } catch (error) {
        request.delivery.settle(error)
      }
    },
  }
  return request
}
