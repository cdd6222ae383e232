import { expect, test } from 'vitest'
import { createProcessor } from '../../../test/support/create-test.ts'
import { TestHost } from '../../../test/support/host.ts'
import { logs, traces } from '../../../test/support/otlp.ts'
import { type Logger, silentLogger } from '../../component/logger.ts'
import { RefusedError } from '../../errors.ts'
import { leavePayload } from '../../otlp/unmanaged.ts'
import { limitsOf, totalMemoryBytes } from './config.ts'
import definition from './index.ts'

const MIB = 1024 * 1024
const CONFIG = { check_interval: '1s', limit_mib: 100, spike_limit_mib: 20 }

/** A host whose collections bring the use down to `garbageFree`. */
class LedgerHost extends TestHost {
  collectsTo: number | undefined
  override readonly memory = {
    usedBytes: () => this.usedBytes,
    refresh: () => this.usedBytes,
    restBytes: () => this.restBytes,
    collectGarbage: () => {
      this.collections++
      if (this.collectsTo !== undefined) this.usedBytes = this.collectsTo * MIB
    },
  }
  use(mib: number, restMib = 0): void {
    this.usedBytes = mib * MIB
    this.restBytes = restMib * MIB
  }
}

function recorder() {
  const lines: string[] = []
  const logger: Logger = {
    ...silentLogger,
    warn: (message) => lines.push(`warn ${message}`),
    info: (message) => lines.push(`info ${message}`),
  }
  return { lines, logger }
}

test('refuses from the soft limit on, retryably, and recovers below it; logs each turn once', async () => {
  const host = new LedgerHost()
  const { lines, logger } = recorder()
  await using limiter = createProcessor(definition, CONFIG, { host, logger })
  await limiter.start()
  lines.length = 0
  const batch = traces({ spans: ['a', 'b'] })
  await limiter.consume(batch)
  host.use(79)
  await host.clock.advance(1000)
  await limiter.consume(batch)
  host.use(80)
  await host.clock.advance(1000)
  expect(host.collections).toBe(1)
  await expect(limiter.consume(batch)).rejects.toBeInstanceOf(RefusedError)
  await host.clock.advance(3000)
  await expect(limiter.consume(batch)).rejects.toMatchObject({ retryable: true, retryAfterMs: 1000 })
  expect(limiter.processor.refusal?.()).toBeInstanceOf(RefusedError)
  host.use(79)
  await expect(limiter.consume(batch)).rejects.toBeInstanceOf(RefusedError) // Until the next check.
  await host.clock.advance(1000)
  await limiter.consume(batch)
  expect(limiter.processor.refusal?.()).toBeUndefined()
  expect(lines).toEqual([
    'warn Memory usage is above soft limit. Refusing data.',
    'info Memory usage back within limits. Resuming normal operation.',
  ])
  expect(host.statuses.map(({ status }) => status)).toEqual(['recoverable_error', 'ok'])
  expect(limiter.meter.read('processor_memory_limiter_accepted_spans')).toBe(6)
  expect(limiter.meter.read('processor_memory_limiter_refused_spans')).toBe(6)
  expect(limiter.meter.read('processor_memory_limiter_refused_requests', { signal: 'traces' })).toBe(1)
  expect(limiter.sink.itemCount).toBe(6)
})

test('a collection that frees enough avoids the refusal', async () => {
  const host = new LedgerHost()
  await using limiter = createProcessor(definition, CONFIG, { host, signal: 'logs' })
  await limiter.start()
  host.collectsTo = 50
  host.use(120)
  await host.clock.advance(1000)
  expect(host.collections).toBe(1)
  await limiter.consume(logs({ logs: ['a'] }))
  expect(limiter.meter.read('processor_memory_limiter_accepted_log_records')).toBe(1)
})

test('a burst between two checks is caught', async () => {
  const host = new LedgerHost()
  await using limiter = createProcessor(definition, CONFIG, { host })
  await limiter.start()
  await host.clock.advance(1000)
  await host.clock.advance(300)
  host.use(85)
  await expect(limiter.consume(traces({ spans: ['a'] }))).rejects.toBeInstanceOf(RefusedError)
  host.collectsTo = 60
  await host.clock.advance(20_700) // The next collection is allowed, and helps.
  await limiter.consume(traces({ spans: ['a'] }))
  const collections = host.collections
  host.use(85) // Just checked: between the limits it passes, above the hard limit it does not.
  await limiter.consume(traces({ spans: ['a'] }))
  host.use(100)
  await expect(limiter.consume(traces({ spans: ['a'] }))).rejects.toBeInstanceOf(RefusedError)
  expect(host.collections).toBe(collections)
})

test('collections keep a gap at the soft limit, which doubles while they free nothing', async () => {
  const host = new LedgerHost()
  await using limiter = createProcessor(
    definition,
    { ...CONFIG, min_gc_interval_when_soft_limited: '2s' },
    { host },
  )
  await limiter.start()
  host.use(85)
  const at: number[] = []
  let seen = 0
  for (let second = 1; second <= 70; second++) {
    await host.clock.advance(1000)
    if (host.collections > seen) at.push(second)
    seen = host.collections
  }
  expect(at).toEqual([1, 5, 13, 29, 59]) // Gaps of 4, 8, 16 and then 30 s, the cap.
})

test('at the hard limit collections begin without a gap, then back off to the cap', async () => {
  const host = new LedgerHost()
  const config = { ...CONFIG, max_gc_interval_when_hard_limited: '5s' }
  await using limiter = createProcessor(definition, config, { host })
  await limiter.start()
  host.use(150)
  const at: number[] = []
  let seen = 0
  for (let second = 1; second <= 17; second++) {
    await host.clock.advance(1000)
    if (host.collections > seen) at.push(second)
    seen = host.collections
  }
  expect(at).toEqual([1, 3, 7, 12, 17]) // 0.95 s doubled: 1.9, 3.8, then 5.
})

test('payload that was let go is collected without waiting for a grown gap, once a second', async () => {
  const host = new LedgerHost()
  await using limiter = createProcessor(definition, CONFIG, { host })
  await limiter.start()
  host.use(85)
  await host.clock.advance(21_000) // Collections at 1 and 21 s; the next would be at 51 s.
  expect(host.collections).toBe(2)
  leavePayload(10 * MIB) // Less than an eighth.
  await host.clock.advance(2000)
  expect(host.collections).toBe(2)
  host.collectsTo = 70
  leavePayload(2 * MIB)
  await host.clock.advance(1000)
  expect(host.collections).toBe(3)
  await limiter.consume(traces({ spans: ['a'] }))
  host.use(85)
  leavePayload(50 * MIB)
  await expect(limiter.consume(traces({ spans: ['a'] }))).resolves.toBeUndefined() // Just checked.
  await host.clock.advance(500)
  await expect(limiter.consume(traces({ spans: ['a'] }))).rejects.toBeInstanceOf(RefusedError)
  expect(host.collections).toBe(3)
  await host.clock.advance(500)
  expect(host.collections).toBe(4)
})

test('the rest of the process counts, but leaves the ledger half of the soft limit', async () => {
  const f = async (usedMib: number, restMib: number, wantRefused: boolean) => {
    const host = new LedgerHost()
    await using limiter = createProcessor(definition, CONFIG, { host })
    await limiter.start()
    host.use(usedMib, restMib)
    await host.clock.advance(1000)
    expect(limiter.processor.refusal?.() !== undefined).toBe(wantRefused)
    const consumed = limiter.consume(traces({ spans: ['a'] }))
    await (wantRefused ? expect(consumed).rejects.toBeInstanceOf(RefusedError) : consumed)
  }
  await f(79, 10, false) // 90 MiB for both: halfway between the limits.
  await f(80, 10, true)
  await f(69, 20, false)
  await f(70, 20, true)
  await f(39, 300, false) // However large the rest: an idle program does not refuse.
  await f(40, 300, true)
  await f(80, 0, true)
})

test('pipelines of one limiter share one watch; shutdown stops it, twice or unstarted', async () => {
  const host = new LedgerHost()
  // The service parses a config once and hands the same object to every pipeline.
  const parsed = definition.config.parse(CONFIG)
  const once = { ...definition, config: definition.config.transform(() => parsed) }
  const first = createProcessor(once, CONFIG, { host })
  const second = createProcessor(once, CONFIG, { host, signal: 'logs' })
  const unstarted = createProcessor(once, CONFIG, { host, signal: 'metrics' })
  await first.start()
  await second.start()
  expect(host.clock.pendingTimers).toBe(1)
  host.use(90)
  await host.clock.advance(1000)
  expect(host.collections).toBe(1)
  await expect(second.consume(logs({ logs: ['a'] }))).rejects.toBeInstanceOf(RefusedError)
  await unstarted[Symbol.asyncDispose]()
  await first[Symbol.asyncDispose]()
  await first[Symbol.asyncDispose]()
  expect(host.clock.pendingTimers).toBe(1)
  await second[Symbol.asyncDispose]()
  expect(host.clock.pendingTimers).toBe(0)
})

test('limiters with different configs on one thread do not collect one after the other', async () => {
  const host = new LedgerHost()
  const other = new LedgerHost(host.clock)
  await using first = createProcessor(definition, CONFIG, { host })
  await using second = createProcessor(
    definition,
    { ...CONFIG, limit_mib: 90 },
    { host: other, id: 'memory_limiter/2' },
  )
  await first.start()
  await second.start()
  host.use(200)
  other.use(200)
  await host.clock.advance(1000)
  expect(host.collections + other.collections).toBe(1)
  for (const limiter of [first, second])
    await expect(limiter.consume(traces({ spans: ['a'] }))).rejects.toBeInstanceOf(RefusedError)
})

test('limits come from mebibytes, or from a share of the memory that the container has', () => {
  const f = (config: object, total: number) =>
    limitsOf(definition.config.parse({ check_interval: '1s', ...config }), () => total)
  expect(f({ limit_mib: 100 }, 1)).toEqual({ hardBytes: 100 * MIB, softBytes: 80 * MIB })
  expect(f({ limit_mib: 100, limit_percentage: 50 }, 1)).toEqual({
    hardBytes: 100 * MIB,
    softBytes: 80 * MIB,
  })
  expect(f({ limit_percentage: 50, spike_limit_percentage: 30 }, 1000)).toEqual({
    hardBytes: 500,
    softBytes: 200,
  })
  expect(f({ limit_percentage: 50 }, 1000)).toEqual({ hardBytes: 500, softBytes: 400 })
  expect(totalMemoryBytes(0, 1000)).toBe(1000)
  expect(totalMemoryBytes(2 ** 64, 1000)).toBe(1000)
  expect(totalMemoryBytes(400, 1000)).toBe(400)
})

test('bad configs are refused with their place', () => {
  const f = (config: object, path: string) => {
    const result = definition.config.safeParse(config)
    expect(result.error?.issues.map((issue) => issue.path.join('.'))).toContain(path)
  }
  f({ limit_mib: 100 }, 'check_interval')
  f({ check_interval: '-1s', limit_mib: 100 }, 'check_interval')
  f({ check_interval: '1s' }, 'limit_mib')
  f({ ...CONFIG, spike_limit_mib: 100 }, 'spike_limit_mib')
  f({ check_interval: '1s', limit_percentage: 101 }, 'limit_percentage')
  f({ check_interval: '1s', limit_percentage: 50, spike_limit_percentage: 50 }, 'spike_limit_percentage')
  f({ ...CONFIG, min_gc_interval_when_hard_limited: '11s' }, 'min_gc_interval_when_soft_limited')
  f({ ...CONFIG, max_gc_interval_when_soft_limited: '5s' }, 'max_gc_interval_when_soft_limited')
  f({ ...CONFIG, max_gc_interval_when_hard_limited: '40s' }, 'max_gc_interval_when_soft_limited')
  f({ ...CONFIG, max_gc_interval_when_hard_limited: '-1s' }, 'max_gc_interval_when_hard_limited')
  expect(definition.config.safeParse({ ...CONFIG, max_gc_interval_when_soft_limited: 0 }).success).toBe(true)
})
