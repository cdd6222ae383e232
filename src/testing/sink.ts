/** The end of a pipeline in a test: it records what reaches it. `fail` makes calls reject. */
import type { Consumer } from '../component/define.ts'
import type { Batch } from '../otlp/batch.ts'

export class Sink implements Consumer {
  readonly batches: Batch[] = []
  fail: ((batch: Batch) => Error | undefined) | undefined
  async consume(batch: Batch): Promise<void> {
    const error = this.fail?.(batch)
    if (error) throw error
    this.batches.push(batch)
  }
  take(): Batch[] {
    return this.batches.splice(0)
  }
  get itemCount(): number {
    return this.batches.reduce((sum, batch) => sum + batch.itemCount, 0)
  }
}
