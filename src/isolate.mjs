// Entry of a thread of the isolation pool in a checkout. Plain JavaScript, so that the compile cache is on before the first
// TypeScript is imported.
import { enableCompileCache } from 'node:module'

enableCompileCache()
export const { run, ready, probe } = await import('./isolate.ts')
