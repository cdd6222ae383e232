/** Replays of small recordings, written as exporters write them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { afterAll, assert, describe, expect, test } from 'vitest'
import { traces } from '../../test/support/otlp.ts'
import { request, type TestSpan } from '../../test/support/tail-sampling.ts'
import { TIMES_MAGIC, TIMES_SUFFIX, timeEntry } from '../otlp/capture-format.ts'
import { encodeJson, JsonBuffer } from '../otlp/json-encode.ts'
import { config as schema } from '../processors/tail-sampling/config.ts'
import { Frames } from './frames.ts'
import { pageOf } from './page.ts'
import { progressLine } from './progress.ts'
import { findRecordings } from './recording.ts'
import { type ReplayOptions, replay } from './replay.ts'
import { type Report, reportOf } from './report.ts'
import { tableOf } from './table.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'weir-replay-'))
afterAll(() => rmSync(folder, { recursive: true }))
let files = 0

const proto = (...spans: readonly TestSpan[]) => Buffer.from(request(...spans).bytes())
const framed = (message: Uint8Array) => {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(message.length)
  return Buffer.concat([length, message])
}
function jsonOf(message: Uint8Array): Buffer {
  const buffer = new JsonBuffer()
  encodeJson('traces', [message], buffer)
  return Buffer.from(buffer.take())
}
function write(content: Uint8Array, name = `${files++}.otlp`): string {
  const file = path.join(folder, name)
  writeFileSync(file, content)
  return file
}

type Policies = readonly Record<string, unknown>[]
const ERRORS = { name: 'errors', type: 'status_code', status_code: { status_codes: ['ERROR'] } }
const SLOW = { name: 'slow', type: 'latency', latency: { threshold_ms: 1000 } }
const ALL = { name: 'all', type: 'always_sample' }

async function run(
  inputs: readonly string[],
  policies: readonly Policies[],
  options: Partial<ReplayOptions> & { readonly more?: Record<string, unknown> } = {},
): Promise<{ report: Report; kept: string[] }> {
  const { recordings } = await findRecordings(inputs)
  const kept: string[] = []
  const configs = policies.map((list, index) => ({
    id: 'tail_sampling',
    source: `${index}.yaml`,
    config: schema.parse({ decision_wait: '10s', policies: list, ...options.more }),
  }))
  const result = await replay({
    ...{ recordings, configs, ...options },
    onKept: (id) => kept.push(id.replace(/^0+/, '')),
  })
  return { report: reportOf(result), kept: kept.sort() }
}

const TRAFFIC = [
  proto({ trace: 'a1', status: 2, resource: { 'service.name': 'shop' } }, { trace: 'a2' }),
  proto({ trace: 'a3', startMs: 1000, endMs: 2500, resource: { 'service.name': 'shop' } }),
  proto({ trace: 'a1', root: false, startMs: 3000, endMs: 4000, resource: { 'service.name': 'pay' } }),
  proto({ trace: 'a4', status: 2, startMs: 4000, endMs: 6000 }),
]

describe('formats', () => {
  const f = async (...inputs: readonly string[]) => {
    const { report, kept } = await run(inputs, [[ERRORS, SLOW]])
    expect(kept).toEqual(['a1', 'a3', 'a4'])
    const { traces, spans, bytes, errorTraces } = report.input
    expect([traces, spans, errorTraces]).toEqual([4, 5, 2])
    expect(bytes).toBeGreaterThan(200)
    expect(report.recording.broken).toBe(0)
  }
  const lines = Buffer.concat(TRAFFIC.flatMap((message) => [jsonOf(message), Buffer.from('\n')]))
  const frames = Buffer.concat(TRAFFIC.map(framed))

  test('protobuf, JSON lines, compressed messages and packed files tell the same', async () => {
    await f(write(frames))
    await f(write(lines))
    await f(write(lines.subarray(0, -1))) // Without the last newline.
    await f(write(Buffer.concat(TRAFFIC.map((message) => framed(zstdCompressSync(message))))))
    await f(write(Buffer.concat(TRAFFIC.map((message) => framed(zstdCompressSync(jsonOf(message)))))))
    await f(write(gzipSync(frames)))
    await f(write(zstdCompressSync(lines)))
  })

  test('rotated files are read in order of time, the one being written last, and a directory has all of them', async () => {
    write(TRAFFIC.length > 0 ? framed(TRAFFIC[3]!) : Buffer.alloc(0), 'rotated.json')
    write(framed(TRAFFIC[1]!), 'rotated-2026-01-01T10-00-00.500.json')
    write(framed(TRAFFIC[0]!), 'rotated-2026-01-01T09-59-59.999.json')
    write(gzipSync(framed(TRAFFIC[2]!)), 'rotated-2026-01-02T00-00-00.000.json.gz')
    const names = [
      'rotated.json',
      'rotated-2026-01-02T00-00-00.000.json.gz',
      'rotated-2026-01-01T10-00-00.500.json',
    ]
    const all = [...names, 'rotated-2026-01-01T09-59-59.999.json'].map((name) => path.join(folder, name))
    await f(...all)
    const { recordings } = await findRecordings([folder])
    const rotated = recordings.find(({ name }) => name.endsWith('rotated.json'))
    expect(rotated?.files).toEqual(all.toReversed())
  })

  test('a message that is cut off, one that is broken and those of other signals are counted and passed over', async () => {
    const metrics = Buffer.from('{"resourceMetrics":[]}\n')
    const cut = Buffer.concat([
      frames,
      framed(Buffer.from([0xff, 0xff])),
      framed(TRAFFIC[0]!).subarray(0, 40),
    ])
    const { report } = await run([write(cut), write(Buffer.concat([metrics, lines]))], [[ERRORS]])
    const { broken, cutOffFiles, withoutSpans } = report.recording
    expect([broken, cutOffFiles, withoutSpans]).toEqual([1, 1, 1])
    await expect(run([write(Buffer.from('hello, this is text'))], [[ERRORS]])).rejects.toThrow(
      /not a recording/,
    )
    await expect(findRecordings([path.join(folder, 'nowhere')])).rejects.toThrow(/no such file/)
  })

  test('messages are the same however the bytes are cut into blocks', () => {
    for (const whole of [frames, lines]) {
      const want: Buffer[] = []
      const once = new Frames()
      once.push(whole, want)
      once.finish(want)
      expect(want).toHaveLength(TRAFFIC.length)
      for (let size = 1; size < whole.length; size += 3) {
        const got: Buffer[] = []
        const cut = new Frames()
        for (let at = 0; at < whole.length; at += size) cut.push(whole.subarray(at, at + size), got)
        cut.finish(got)
        assert.deepEqual(got, want, `blocks of ${size}`)
      }
    }
  })
})

describe('decisions', () => {
  test('the first policy that samples decides; what only one keeps is told', async () => {
    const { report } = await run([write(Buffer.concat(TRAFFIC.map(framed)))], [[ERRORS, SLOW]])
    const rows = report.configs[0]?.policies.map((policy) => [
      policy.policy,
      policy.outcome,
      policy.decided.traces,
      policy.decided.spans,
      policy.matchedTraces,
      policy.onlyTraces,
    ])
    expect(rows).toEqual([
      ['errors', 'sampled', 2, 3, 2, 0], // Both are slow, too.
      ['slow', 'sampled', 1, 1, 3, 1],
      ['', 'not_sampled', 1, 1, 0, 0],
    ])
    const services = report.services.map(({ service, traces, spans, kept }) => [
      service,
      traces,
      spans,
      kept[0]?.spans,
    ])
    expect(services).toContainEqual(['shop', 2, 2, 2])
    expect(services).toContainEqual(['pay', 0, 1, 1])
    expect(services).toContainEqual(['(none)', 2, 2, 1])
  })

  test('two configurations: traces by who keeps them, lost errors, slowest lost', async () => {
    const { report } = await run([write(Buffer.concat(TRAFFIC.map(framed)))], [[ERRORS], [SLOW]])
    const { both, onlyA, onlyB, none } = report.difference ?? assert.fail('no difference')
    expect([both.traces, onlyA.traces, onlyB.traces, none.traces]).toEqual([2, 0, 1, 1])
    expect(onlyB.examples.map(({ traceId, durationMs }) => [traceId.slice(-2), durationMs])).toEqual([
      ['a3', 1500],
    ])
    const [a, b] = report.configs
    expect([a?.lostErrors.traces, b?.lostErrors.traces]).toEqual([0, 0])
    expect(a?.slowestLost.map(({ traceId }) => traceId.slice(-2))).toEqual(['a3', 'a2'])
    const { report: lossy } = await run(
      [write(Buffer.concat(TRAFFIC.map(framed)))],
      [[{ ...SLOW, latency: { threshold_ms: 2500 } }]],
    )
    expect(lossy.configs[0]?.lostErrors).toMatchObject({ traces: 1, spans: 1 })
    expect(lossy.configs[0]?.lostErrors.examples[0]).toMatchObject({
      service: '(none)',
      error: true,
      spans: 1,
    })
  })

  test('drop policies, undecided traces and spans that follow a decision have their rows', async () => {
    const drop = {
      name: 'no-shop',
      type: 'drop',
      drop: {
        drop_sub_policy: [
          {
            name: 'x',
            type: 'string_attribute',
            string_attribute: { key: 'service.name', values: ['shop'] },
          },
        ],
      },
    }
    const late = proto({ trace: 'a4', root: false, startMs: 4000, endMs: 60_000 })
    const file = write(Buffer.concat([...TRAFFIC, late].map(framed)))
    const { report, kept } = await run([file], [[ALL, drop]])
    expect(kept).toEqual(['a2', 'a4'])
    const outcomes = report.configs[0]?.policies.map(({ outcome, decided }) => [
      outcome,
      decided.traces,
      decided.spans,
    ])
    expect(outcomes).toEqual([
      ['sampled', 2, 3],
      ['dropped', 2, 3],
    ])
    const full = await run([file], [[ALL]], { more: { num_traces: 1 } })
    expect(full.report.configs[0]?.pushedOutTraces).toBe(4)
    expect(full.report.configs[0]?.policies.at(-1)).toMatchObject({
      outcome: 'undecided',
      decided: { traces: 3 },
    })
  })

  test('span-ingest decides as spans come, and what nothing samples has its row', async () => {
    const more = { sampling_strategy: 'span-ingest' }
    const file = write(Buffer.concat(TRAFFIC.map(framed)))
    const { report, kept } = await run([file], [[ERRORS]], { more })
    expect(kept).toEqual(['a1', 'a4'])
    const rows = report.configs[0]?.policies.map(({ outcome, decided }) => [
      outcome,
      decided.traces,
      decided.spans,
    ])
    expect(rows).toEqual([
      ['sampled', 2, 3],
      ['not_sampled', 2, 2],
    ])
  })

  test('what waits for room goes on when time has made it', async () => {
    const messages = Array.from({ length: 5 }, (_, index) => proto({ trace: `b${index}` }))
    const more = { block_on_overflow: true, num_traces: 2, decision_cache: { sampled_cache_size: 10 } }
    const { kept } = await run([write(Buffer.concat(messages.map(framed)))], [[ALL]], { more })
    expect(kept).toEqual(['b0', 'b1', 'b2', 'b3', 'b4'])
  })

  test('with a limit of traces, the oldest are counted before their end', async () => {
    const messages = Array.from({ length: 20 }, (_, index) =>
      proto({ trace: `c${index}`, endMs: 1001 + index * 20_000 }),
    )
    const { report } = await run([write(Buffer.concat(messages.map(framed)))], [[ALL]], { limitTraces: 4 })
    expect([report.input.traces, report.input.forgottenTraces]).toEqual([20, 16])
    expect(report.configs[0]?.kept.traces).toBe(20)
  })
})

describe('time', () => {
  const limit = {
    name: 'limit',
    type: 'rate_limiting',
    rate_limiting: { spans_per_second: 1, burst_capacity: 1 },
  }
  const captured = (arrivals: readonly number[], spans: readonly TestSpan[]) => {
    const file = write(Buffer.concat(spans.map((span) => framed(proto(span)))))
    writeFileSync(`${file}${TIMES_SUFFIX}`, Buffer.concat([TIMES_MAGIC, ...arrivals.map(timeEntry)]))
    return file
  }

  test('recorded arrival times rule: decisions, rates and volume follow them', async () => {
    const base = 1_700_000_000_000
    const spans = [{ trace: 'd1' }, { trace: 'd2' }, { trace: 'd3' }]
    const { report, kept } = await run([captured([base, base + 100, base + 60_000], spans)], [[limit]])
    expect(report.recording).toMatchObject({
      arrival: 'recorded',
      seconds: 60,
      from: new Date(base).toISOString(),
    })
    expect(kept).toEqual(['d1', 'd3']) // d1 and d2 are decided in one tick.
    expect(report.input.perDay?.spans).toBe(3 * 1440)
    const fromData = await run([captured([base, base + 100, base + 60_000], spans)], [[limit]], {
      rateFromData: true,
    })
    expect(fromData.report.recording).toMatchObject({ arrival: 'estimated', seconds: 0 })
    expect(fromData.report.input.perDay).toBeNull()
    expect(fromData.kept).toEqual(['d1'])
  })

  test('estimated times follow the ends of spans, and a sender with a wrong clock does not move them', async () => {
    const spans = Array.from({ length: 30 }, (_, index) => ({
      trace: `e${index}`,
      endMs: index === 12 ? 1e9 : 1000 + index * 1000,
    }))
    const { report } = await run([write(Buffer.concat(spans.map((span) => framed(proto(span)))))], [[ALL]])
    expect(report.recording.arrival).toBe('estimated')
    expect(report.recording.seconds).toBeGreaterThan(20)
    expect(report.recording.seconds).toBeLessThan(30)
  })

  test('a gap of days is skipped, and what follows it is decided like the rest', async () => {
    const base = 1_700_000_000_000
    const spans = Array.from({ length: 6 }, (_, index) => ({ trace: `a${index}` }))
    const gap = 3 * 86_400_000
    const arrivals = [base, base + 10, base + 20, base + gap, base + gap + 10, base + gap + 5000]
    const { kept, report } = await run([captured(arrivals, spans)], [[limit], [ALL]])
    expect(kept).toEqual(['a0', 'a3', 'a5']) // One token at a time; those of one second share it.
    expect(report.configs[1]?.kept.traces).toBe(6)
    expect(report.recording.seconds).toBe(gap / 1000 + 5)
    expect(report.timeline.spans[0]?.reduce((sum, count) => sum + count, 0)).toBe(6)
  })

  test('composite counts spans by the seconds of the recording', async () => {
    const base = 1_700_000_000_000
    const composite = {
      ...{ name: 'shares', type: 'composite' },
      composite: { max_total_spans_per_second: 2, composite_sub_policy: [ALL] },
    }
    const spans = Array.from({ length: 8 }, (_, index) => ({ trace: `a${index}` }))
    const arrivals = spans.map((_, index) => base + (index < 4 ? index : 60_000 + index))
    const { kept } = await run([captured(arrivals, spans)], [[composite]])
    expect(kept).toEqual(['a0', 'a1', 'a4', 'a5'])
  })

  test('recordings of several collectors are merged by time', async () => {
    const base = 1_700_000_000_000
    const slow = { ...SLOW, latency: { threshold_ms: 5000 } }
    const one = captured([base, base + 20_000], [{ trace: 'f1', startMs: 0, endMs: 1 }, { trace: 'f2' }])
    const two = captured(
      [base + 5000, base + 30_000],
      [{ trace: 'f1', startMs: 8000, endMs: 9000 }, { trace: 'f2' }],
    )
    const { kept, report } = await run([one, two], [[slow]])
    expect(kept).toEqual(['f1']) // Both of its spans were there when it was decided.
    expect(report.recording.seconds).toBe(30)
  })
})

describe('output', () => {
  test('names that came with the data are escaped on the page and harmless in the table', async () => {
    const evil = '<script>alert("x")</script>\u001b[31m\u202e'
    const file = write(
      framed(Buffer.from(traces({ resource: { 'service.name': evil }, spans: ['a'] }).bytes())),
    )
    const { report } = await run([file], [[ERRORS], [ALL]])
    const page = pageOf(report)
    expect(page).not.toContain('<script')
    expect(page).toContain('&lt;script&gt;alert(&quot;x&quot;)')
    expect(/[\u001b\u202e]/.test(page + tableOf(report))).toBe(false)
    expect(page).toContain("default-src 'none'")
  })

  test('the table has a row for each policy and aligned columns', async () => {
    const { report } = await run([write(Buffer.concat(TRAFFIC.map(framed)))], [[ERRORS, SLOW]])
    const rows = tableOf(report).split('\n')
    const header = rows.findIndex((row) => row.trim().startsWith('policy'))
    const [head, errors, slow, none] = rows.slice(header, header + 4)
    expect(errors?.split(/ {2,}/).slice(1)).toEqual([
      'errors',
      'status_code',
      'kept',
      '2',
      '50.0 %',
      '3',
      expect.any(String),
      '2',
      '0',
    ])
    expect(slow).toContain('latency')
    expect(none).toContain('not sampled')
    expect(new Set([head, errors, slow, none].map((row) => row?.length)).size).toBe(1)
  })

  test('progress tells what is left', () => {
    expect(progressLine(25e6, 100e6, 50_000, 2)).toBe(
      '25.0 MB of 100 MB, 50,000 spans, 25,000 spans/s, 6.0 s left',
    )
  })
})
