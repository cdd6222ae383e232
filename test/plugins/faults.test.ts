/**
 * Scenario: processors of a plugin throw, reject, hang, leak heap and buffers, end their thread, throw later, pass on junk, and write over
 * a batch that a sibling pipeline has, inline and isolated, in one collector with two shards.
 * Guarantee: each costs its own batch only. The sender is told whether to send again, siblings get what was sent, counters say what
 * happened and why, and the collector takes data afterwards.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { eventually, freePort } from '../support/peers.ts'
import { type RunningWeir, startWeir } from '../support/weir.ts'

const INLINE = ['throw', 'reject', 'retry', 'value', 'bytes', 'signal', 'mutate'] as const
const ISOLATED = [...INLINE, 'spin', 'never', 'heap', 'buffers', 'exit', 'later', 'none'] as const

const isolate = { timeout: '500ms', max_heap: '64MiB', pool: 2 }
const processors: Record<string, object> = {
  retrying: {},
  'retrying/isolated': { isolate },
  marking: {},
  'marking/isolated': { isolate },
}
/** What inline costs the shard, which main starts again. */
const DEADLY = ['exit', 'later'] as const
for (const act of [...INLINE, ...DEADLY]) processors[`faulty/${act}`] = { act }
for (const act of ISOLATED) {
  // Filling the heap takes some seconds of collections before it fails.
  const timeout = act === 'heap' || act === 'buffers' ? '30s' : '500ms'
  processors[`faulty/isolated_${act}`] = { act, isolate: { ...isolate, timeout } }
}

let weir: RunningWeir
let metricsPort = 0
beforeAll(async () => {
  metricsPort = await freePort()
  const receivers: Record<string, object> = {}
  const pipelines: Record<string, object> = {}
  for (const id of Object.keys(processors)) {
    const name = id.replace('/', '_')
    receivers[`otlp/${name}`] = { protocols: { http: { endpoint: 'localhost:0' } } }
    pipelines[`traces/${name}`] = {
      receivers: [`otlp/${name}`],
      processors: [id],
      exporters: ['file/behind'],
    }
  }
  pipelines['traces/siblings'] = { receivers: Object.keys(receivers), exporters: ['file/siblings'] }
  weir = await startWeir({
    plugins: [join(import.meta.dirname, 'plugins/faulty.ts')],
    receivers,
    processors,
    exporters: { 'file/behind': { path: 'behind.jsonl' }, 'file/siblings': { path: 'siblings.jsonl' } },
    service: {
      shards: 2,
      telemetry: {
        logs: { sampling: { enabled: false } },
        metrics: {
          readers: [{ pull: { exporter: { prometheus: { host: 'localhost', port: metricsPort } } } }],
        },
      },
      pipelines,
    },
  })
}, 120_000)
afterAll(() => weir[Symbol.asyncDispose]())

let sent = 0

/** Sends one span to the pipeline of this processor. */
async function send(
  id: string,
): Promise<{ status: number; text: string; name: string; retryAfter: string | null }> {
  const name = `span-${sent++}-${id}`
  const spanId = '0123456789abcdef'
  const span = {
    traceId: spanId + spanId,
    spanId,
    name,
    attributes: [{ key: 'k', value: { stringValue: name } }],
  }
  const address = weir.address(`receivers/otlp/${id.replace('/', '_')}/protocols/http`)
  const answer = await fetch(`http://${address}/v1/traces`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] }),
  })
  return {
    status: answer.status,
    text: await answer.text(),
    name,
    retryAfter: answer.headers.get('retry-after'),
  }
}

async function counted(processor: string, reason: string): Promise<number> {
  const text = await (await fetch(`http://localhost:${metricsPort}/metrics`)).text()
  const line = text
    .split('\n')
    .find(
      (one) =>
        one.startsWith('otelcol_processor_plugin_failed_batches{') &&
        one.includes(`processor="${processor}"`) &&
        one.includes(`reason="${reason}"`),
    )
  return Number(line?.split(' ').at(-1) ?? 0)
}

/** A new series takes a moment to reach the page. */
const countedOnce = (processor: string, reason: string) =>
  eventually(
    () => counted(processor, reason),
    (count) => count === 1,
    10_000,
  )

function written(file: string): { name: string; attributes: { key: string }[] }[] {
  const lines = readFileSync(join(weir.folder, file), 'utf8').split('\n')
  return lines
    .filter((line) => line !== '')
    .flatMap((line) => JSON.parse(line).resourceSpans[0].scopeSpans[0].spans)
}

const REASONS: Readonly<Record<string, string>> = {
  value: 'junk',
  bytes: 'junk',
  signal: 'junk',
  spin: 'timeout',
  never: 'timeout',
  heap: 'memory',
  buffers: 'memory',
  exit: 'exit',
}

for (const [how, acts] of [
  ['inline', INLINE],
  ['isolated', ISOLATED.filter((act) => act !== 'none')],
] as const) {
  for (const act of acts) {
    test(`${how}: ${act}`, async () => {
      const id = how === 'inline' ? `faulty/${act}` : `faulty/isolated_${act}`
      const answer = await send(id)
      expect(answer.status).toBe(act === 'retry' ? 503 : 500)
      if (act === 'retry') expect(answer.retryAfter).toBe('2')
      const line = await weir.logged(
        ({ msg, 'otelcol.component.id': of }) => msg === 'the plugin failed on a batch' && of === id,
      )
      expect(line).toMatchObject({ level: act === 'retry' ? 'warn' : 'error', items: 1 })
      if (act !== 'retry') expect(line['error']).toContain('processor "faulty" of faulty.ts')
      // The file exporter writes what its pipeline gave it: the sibling has the span as it was sent.
      const sibling = written('siblings.jsonl').find(({ name }) => name === answer.name)
      expect(sibling?.attributes).toEqual([{ key: 'k', value: { stringValue: answer.name } }])
      await countedOnce(id, REASONS[act] ?? 'error')
    })
  }
}

test('what a definition declares decides whether a failed batch may be sent again', async () => {
  for (const id of ['retrying', 'retrying/isolated']) {
    expect((await send(id)).status).toBe(503)
    await countedOnce(id, 'error')
  }
})

test('the collector takes data after all of it, inline and isolated, on the same shards', async () => {
  for (const id of ['marking', 'marking/isolated', 'faulty/isolated_none']) {
    const answer = await send(id)
    expect(answer.status, answer.text).toBe(200)
    const behind = written('behind.jsonl').find(({ name }) => name === answer.name)
    expect(behind?.attributes.map(({ key }) => key)).toEqual(
      id.startsWith('marking') ? ['k', 'marked'] : ['k'],
    )
  }
  expect(weir.log.filter(({ msg }) => msg === 'shard died, starting it again')).toEqual([])
  expect(written('behind.jsonl')).toHaveLength(3)
  // What an isolated plugin counts and logs arrives in the collector.
  expect(weir.log.some(({ msg, ['act']: act }) => msg === 'about to act' && act === 'none')).toBe(true)
  const text = await (await fetch(`http://localhost:${metricsPort}/metrics`)).text()
  expect(text).toMatch(/otelcol_processor_faulty_seen\{[^}]*act="none"[^}]*\} 1/)
  expect(text).toMatch(/otelcol_plugin_pool_ended_threads\{[^}]*reason="timeout"[^}]*\} 2/)
})

test('what ends its thread inline costs that shard only: it is started again', async () => {
  for (const act of DEADLY) {
    const since = weir.log.length
    await expect(send(`faulty/${act}`)).rejects.toThrow()
    await weir.logged(({ msg }) => msg === 'shard died, starting it again', since)
    await weir.logged(({ msg }) => msg === 'shard is back', since)
    const answer = await send('marking')
    expect(answer.status).toBe(200)
  }
})
