/** An exporter where all data of the process meets, on the first shard. It appends the names of the spans to a file, and queues nothing. */
import { appendFileSync } from 'node:fs'
import { defineExporter, editBatch, z } from 'weir-collector'

export default defineExporter({
  type: 'gathering',
  signals: ['traces'],
  affinity: 'process',
  config: z.strictObject({ path: z.string() }),
  create: ({ config }) => ({
    async consume(batch) {
      for (const span of editBatch(batch).spans()) appendFileSync(config.path, `${span.name}\n`)
    },
  }),
})
