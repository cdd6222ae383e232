/**
 * Scenario: an empty folder, the packed tarball, and nobody who knows more than the README. Its five commands are taken from there and run as
 * they stand; only the package comes from the tarball, and ports are free ones.
 * Guarantee: a processor of one's own with passing tests, and data that went through it in a running collector. Needs a registry for the dependencies.
 */
import { execFile, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { afterAll, expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')
const base = mkdtempSync(join(tmpdir(), 'weir-readme-'))
const folder = join(base, 'empty')
mkdirSync(folder)
afterAll(() => rmSync(base, { recursive: true, force: true }))
// The Node that runs this comes first, and npm beside it or from the machine.
const env = {
  ...process.env,
  PATH: `${dirname(process.execPath)}${delimiter}${process.env['PATH']}`,
  NODE_OPTIONS: '',
}

/** The block of the README that begins with the installation. */
function readmeCommands(): string[] {
  const blocks = readFileSync(join(root, 'README.md'), 'utf8').split('```')
  const block = blocks.find((text) => text.startsWith('\nnpm install weir-collector\n')) ?? ''
  return block.trim().split('\n')
}

function run(command: string): Promise<{ code: number; out: string }> {
  return new Promise((resolve) => {
    execFile('sh', ['-c', command], { cwd: folder, env, timeout: 200_000 }, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), out: out + err })
    })
  })
}

test('the five commands of the README give a tested processor in a running collector', async () => {
  const options = {
    cwd: root,
    encoding: 'utf8' as const,
    stdio: ['ignore', 'pipe', 'ignore'] as ('ignore' | 'pipe')[],
  }
  const packed =
    execFileSync('npm', ['pack', '--silent', '--pack-destination', base], options)
      .trim()
      .split('\n')
      .at(-1) ?? ''
  expect(existsSync(join(base, packed))).toBe(true)
  const commands = readmeCommands()
  expect(commands).toHaveLength(5)
  const [install = '', scaffold = '', unit = '', pipelines = '', start = ''] = commands
  expect(install).toBe('npm install weir-collector')
  expect(readdirSync(folder)).toEqual([])

  const installed = await run(
    `${install.replace('weir-collector', join(base, packed))} --no-audit --no-fund --prefer-offline`,
  )
  expect(installed.code, installed.out).toBe(0)
  const written = await run(scaffold)
  expect(written.code, written.out).toBe(0)
  const units = await run(unit)
  expect(units.code, units.out).toBe(0)
  expect(units.out).toMatch(/pass 1\d\b/)
  expect(units.out).toMatch(/fail 0\b/)
  const tested = await run(pipelines)
  expect(tested.code, tested.out).toBe(0)
  expect(tested.out).toContain('2 passed')
  await runCollector(start)
}, 400_000)

/** Starts it, sends a span, and looks for the processor's attribute in what the debug exporter prints. */
async function runCollector(command: string): Promise<void> {
  const ports =
    '--set receivers.otlp.protocols.http.endpoint=localhost:0 --set service.telemetry.metrics.level=none'
  const child = spawn('sh', ['-c', `exec ${command} ${ports}`], {
    cwd: folder,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  let log = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => {
      log += String(data)
    })
  }
  const ended = new Promise<void>((resolve) => void child.once('exit', () => resolve()))
  try {
    const ready = await until(
      () => log.split('\n').find((line) => line.includes('"weir is ready"')),
      () => log,
    )
    const { listeners } = JSON.parse(ready) as { listeners: Record<string, string> }
    const answer = await fetch(`http://${listeners['receivers/otlp/protocols/http']}/v1/traces`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: readFileSync(join(root, 'pipelines/sample-trace.json'), 'utf8'),
    })
    expect(answer.status).toBe(200)
    await until(
      () => (/team: Str\(shop\)/.test(log) ? log : undefined),
      () => log,
    )
  } finally {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGTERM')
    await ended
  }
}

async function until(find: () => string | undefined, log: () => string): Promise<string> {
  for (let attempt = 0; attempt < 300; attempt++) {
    const found = find()
    if (found !== undefined) return found
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`not seen: ${log()}`)
}
