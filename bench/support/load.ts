/** Runs one plan in a driver process of its own and gives its result. */
import type { LoadPlan, LoadResult } from '../load/plan.ts'
import { Helper } from './helper.ts'

export async function runLoad(plan: LoadPlan): Promise<LoadResult> {
  const driver = new Helper('driver.ts')
  try {
    return await driver.ask<LoadResult>(JSON.stringify(plan))
  } finally {
    driver.stop()
  }
}
