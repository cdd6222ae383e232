import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { LogsTelemetry } from '../config/types.ts'
import { createLogger } from './log.ts'

test('what others said is cut off in fields and errors; messages and short fields are not touched', () => {
  const folder = mkdtempSync(join(tmpdir(), 'weir-log-'))
  const settings: LogsTelemetry = {
    level: 'info',
    encoding: 'json',
    sampling: { enabled: false, tickMs: 1000, initial: 1, thereafter: 1 },
    outputPaths: [join(folder, 'log.jsonl')],
    initialFields: {},
  }
  try {
    const logger = createLogger(settings)
    const long = 'x'.repeat(100_000)
    logger.warn('refused', { answer: long, short: 'y', count: 3 })
    logger.error('failed', { error: new Error(long, { cause: new Error('why') }) })
    logger.info(long)
    const lines = readFileSync(join(folder, 'log.jsonl'), 'utf8').trim().split('\n')
    const [refused, failed, info] = lines.map((line) => JSON.parse(line))
    const cut = `${'x'.repeat(16_384)}... (100000 characters)`
    expect(refused).toMatchObject({ msg: 'refused', answer: cut, short: 'y', count: 3 })
    expect(failed.error).toBe(`${'x'.repeat(16_384)}... (100005 characters)`)
    expect(info.msg).toBe(long)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
