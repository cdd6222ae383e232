/**
 * Components that do to their thread what the name of a span says: `do throw`, `do reject`, `do exit`, `do spin`,
 * `do heap`, `do buffers`; `do kill` ends the process as a crash in native code would. The exporter appends the names of other spans to a file. The extension runs in the main
 * thread and throws there as soon as a file exists.
 */
import { appendFileSync, existsSync } from 'node:fs'
import {
  type Batch,
  type Consumer,
  defineExporter,
  defineExtension,
  defineProcessor,
  editBatch,
  queueField,
  retryField,
  sendingSettings,
  timeoutField,
  z,
} from 'weir-collector'

const kept: unknown[] = []
const pause = new Int32Array(new SharedArrayBuffer(4))

const ACTS: Readonly<Record<string, () => void>> = {
  throw: () =>
    void setImmediate(() => {
      throw new Error('thrown on purpose')
    }),
  reject: () => void Promise.reject(new Error('rejected on purpose')),
  exit: () => process.exit(3),
  kill: () => void process.kill(process.pid, 'SIGKILL'),
  spin: () => {
    for (;;) kept.length = 0
  },
  heap: () => {
    for (;;) kept.push({ text: `${Math.random()}` })
  },
  buffers: () => {
    for (;;) {
      kept.push(Buffer.alloc(8 * 1024 * 1024, 1))
      Atomics.wait(pause, 0, 0, 20)
    }
  },
}

function actOf(batch: Batch): (() => void) | undefined {
  const text = Buffer.concat(batch.chunks).toString('latin1')
  return Object.entries(ACTS).find(([name]) => text.includes(`do ${name}`))?.[1]
}

const common = {
  signals: ['traces'],
  create: ({ next }: { readonly next: Consumer }) => ({
    async consume(batch: Batch) {
      const act = actOf(batch)
      if (act === undefined) return next.consume(batch)
      act()
      return new Promise<void>(() => {})
    },
  }),
} as const

export default [
  defineProcessor({ ...common, type: 'deadly' }),
  // Each shard sees the traces that it owns.
  defineProcessor({ ...common, type: 'deadly_traces', affinity: 'trace' }),
  defineExporter({
    type: 'deadly',
    signals: ['traces'],
    config: z.strictObject({
      path: z.string(),
      timeout: timeoutField('5s'),
      retry_on_failure: retryField(),
      sending_queue: queueField(),
    }),
    sending: (config) => sendingSettings(config),
    create: ({ config }) => ({
      async consume(batch) {
        actOf(batch)?.()
        for (const span of editBatch(batch).spans()) appendFileSync(config.path, `${span.name}\n`)
      },
    }),
  }),
  defineExtension({
    type: 'deadly',
    runsIn: 'main',
    config: z.strictObject({ when_there: z.string() }),
    create: ({ config }) => ({
      async start() {
        setInterval(() => {
          if (existsSync(config.when_there)) throw new Error('thrown in main on purpose')
        }, 50)
      },
    }),
  }),
]
