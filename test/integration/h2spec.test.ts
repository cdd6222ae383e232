/**
 * h2spec, the conformance tester of HTTP/2 and HPACK, against the server in src/net/http2, plain and over TLS. All of its cases pass.
 * Skipped when h2spec is not there (test/peers/build.sh h2spec).
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, expect, test } from 'vitest'
import { findPeer } from '../support/peers.ts'

const h2spec = findPeer('h2spec')
if (h2spec === undefined) console.log('skipped: h2spec is not there; test/peers/build.sh h2spec installs it')
const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill()
})

async function serve(...parameters: string[]): Promise<string> {
  const entry = join(import.meta.dirname, '../conformance/http2/h2spec-server.ts')
  const child = spawn(process.execPath, [entry, ...parameters], { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  return new Promise((resolve, reject) => {
    child.stdout.once('data', (data) => resolve(String(data).trim()))
    child.once('exit', () => reject(new Error('the server ended')))
  })
}

async function run(port: string, ...parameters: string[]): Promise<string> {
  const where = ['--host', '127.0.0.1', '--port', port, '--strict', '--timeout', '5']
  const options = { maxBuffer: 1 << 24, timeout: 240_000 }
  const { stdout } = await promisify(execFile)(h2spec ?? '', [...where, ...parameters], options).catch(
    (error: { stdout: string }) => error, // It ends with 1 when a case fails.
  )
  return stdout.slice(-4000)
}

test.skipIf(h2spec === undefined)('every case passes', async () => {
  expect(await run(await serve())).toMatch(/\n(\d+) tests, \1 passed, 0 skipped, 0 failed/)
})

test.skipIf(h2spec === undefined)('every case passes over TLS', async () => {
  const output = await run(await serve('tls'), '--tls', '--insecure')
  expect(output).toMatch(/\n(\d+) tests, \1 passed, 0 skipped, 0 failed/)
})
