/** Runs the driver in a worker thread, so that it has an event loop and a CPU account of its own beside the bench's. */
import { Piscina } from 'piscina'
import type { LoadPlan, LoadResult } from '../load/driver.ts'

/** One driver at a time; its thread is kept warm between loads. */
const pool = new Piscina<LoadPlan, LoadResult>({
  filename: new URL('../load/driver.ts', import.meta.url).href,
  minThreads: 0,
  maxThreads: 1,
  idleTimeout: 60_000,
})

export function runLoad(plan: LoadPlan): Promise<LoadResult> {
  return pool.run(plan)
}

/** Ends the driver's thread: the bench can exit. */
export async function endLoad(): Promise<void> {
  await pool.destroy()
}
