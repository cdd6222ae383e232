/** A shard's thread: main.ts's counterpart. It builds nothing itself; main drives it by calls. */
import { parentPort, workerData } from 'node:worker_threads'
import { componentsOf } from './registry.ts'
import { ShardService } from './service/shard-service.ts'

if (parentPort === null) throw new Error('shard.ts runs in a worker thread only')
new ShardService(workerData, componentsOf, parentPort)
