// What a shard's thread runs in a checkout. Plain JavaScript, as weir.mjs: with the compile cache on before the first
// TypeScript is imported, a thread does without Node's type stripper, which takes 12 MB of it.
import { enableCompileCache } from 'node:module'

enableCompileCache()
await import('./shard.ts')
