/** `--help` of every command: what it does, every option in words, and an example that can be copied. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const MAIN = join(import.meta.dirname, '../../src/main.ts')

function help(...command: string[]) {
  return new Promise<string>((resolve, reject) => {
    execFile(process.execPath, [MAIN, ...command, '--help'], (error, out) =>
      error ? reject(error) : resolve(out),
    )
  })
}

/** Names of the commands that a help text lists. */
function listed(text: string): string[] {
  const block = text.split('\nCommands:\n')[1]?.split('\n\n')[0] ?? ''
  return [...block.matchAll(/^ {2}([a-z][a-z-]*)/gm)]
    .map(([, name]) => name ?? '')
    .filter((name) => name !== 'help')
}

async function check(command: readonly string[]): Promise<void> {
  const text = await help(...command)
  const what = `weir ${command.join(' ')}`
  expect(text, what).toMatch(/^Usage: /)
  const options = [...text.matchAll(/^ {2}(?:-\w, )?--[\w-]+(?: <[^>]+>| \[[^\]]+\])?(.*)$/gm)]
  expect(options.length, what).toBeGreaterThan(0)
  for (const [line, description = ''] of options) expect(description.trim(), `${what}: ${line}`).not.toBe('')
  const inner = listed(text)
  if (inner.length === 0 || command.length === 0) expect(text, what).toMatch(/^Examples?:\n {2}\$ weir /m)
  for (const name of inner) await check([...command, name])
}

test('every command says what it does, what its options mean, and how it is called', async () => {
  expect(listed(await help())).toEqual(
    expect.arrayContaining(['validate', 'components', 'schema', 'print-config', 'test', 'new', 'sampling']),
  )
  await check([])
}, 120_000)
