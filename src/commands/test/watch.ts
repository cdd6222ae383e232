/**
 * `weir test --watch`: runs the tests again whenever a file beside them changes, each time in a new process, so that changed code of
 * plugins counts. Ends with a signal.
 */
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { silentLogger } from '../../component/logger.ts'
import { FileWatch } from '../../service/file-watch.ts'
import { loadTests } from './file.ts'
import { findTestFiles } from './index.ts'

const WATCHED = /\.(ya?ml|[cm]?[jt]s|jsonl?)$/

/** `args` are those of the command line behind `weir`, with --watch or without. */
export async function watchTests(
  args: readonly string[],
  given: readonly string[],
  say: (text: string) => void,
): Promise<void> {
  const own = args.filter((word) => word !== '--watch')
  let again = true
  let wake = () => {}
  const watch = new FileWatch(() => {
    again = true
    wake()
  }, silentLogger)
  setInterval(() => {}, 2 ** 30) // The watch itself does not keep a process alive.
  for (;;) {
    again = false
    watch.set(await filesBeside(given))
    await runOnce(own)
    say('waiting for a change; Ctrl-C ends\n')
    await new Promise<void>((resolve) => {
      wake = resolve
      if (again) resolve()
    })
    say('\n')
  }
}

/** The tests, their configurations, and whatever else lies in these folders. */
async function filesBeside(given: readonly string[]): Promise<string[]> {
  const folders = new Set<string>()
  for (const file of findTestFiles(given).files) {
    folders.add(dirname(file))
    // What is wrong with it is told when it runs.
    const config = await loadTests(file).then(
      (tests) => tests.config,
      () => undefined,
    )
    if (config !== undefined) folders.add(dirname(config))
  }
  return [...folders].flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => WATCHED.test(name))
      .map((name) => join(folder, name)),
  )
}

function runOnce(args: readonly string[]): Promise<void> {
  const [, program = ''] = process.argv
  const child = spawn(process.execPath, [...process.execArgv, program, ...args], { stdio: 'inherit' })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', () => resolve())
  })
}
