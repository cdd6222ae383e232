import { parentPort, workerData } from 'node:worker_threads'
import { ShardService } from '../../src/service/shard-service.ts'
import { registry } from './crashing-components.ts'

if (parentPort !== null) new ShardService(workerData, registry, parentPort)
