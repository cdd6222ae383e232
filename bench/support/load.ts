/** Runs the driver in a process of its own and gives its result. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import type { LoadPlan, LoadResult } from '../load/driver.ts'

export async function runLoad(plan: LoadPlan): Promise<LoadResult> {
  const driver = join(import.meta.dirname, '../load/driver.ts')
  const child = spawn(process.execPath, [driver, JSON.stringify(plan)], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  let errors = ''
  child.stdout.on('data', (data) => {
    output += String(data)
  })
  child.stderr.on('data', (data) => {
    errors += String(data)
  })
  const code = await new Promise<number | null>((resolve) => void child.on('close', resolve))
  if (code !== 0) throw new Error(`the driver failed: ${errors}`)
  return JSON.parse(output) as LoadResult
}
