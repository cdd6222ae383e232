/** Entry of a shard's thread: main.ts's counterpart. It builds nothing itself; main drives it by calls. */
import { enableCompileCache } from 'node:module'
import { parentPort, workerData } from 'node:worker_threads'

if (parentPort === null) throw new Error('shard.ts runs in a worker thread only')
enableCompileCache() // Before the imports below, which are most of a shard's start.
const { registry } = await import('./components.ts')
const { ShardService } = await import('./service/shard-service.ts')
new ShardService(workerData, registry, parentPort)
