/**
 * Versions of plugin code. A module that was imported stays what it was, so that a file which has changed
 * is imported under another URL: its path with a mark behind it, `redact.ts?weir=0f3a...`, made from its
 * content. The local files that it imports get the same mark (resolve.ts); packages do not.
 *
 * In configurations the path and its mark are one string, so all threads import the same version.
 */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { localImports } from './resolve.ts'

const MARK = /\?weir=([0-9a-f]{16})$/
/** Contents of one plugin that are remembered: another than these is imported once more. */
const MOST_VERSIONS = 1000

/** The file, and the URL to import it by. */
export function locate(source: string): { readonly file: string; readonly url: string } {
  const mark = MARK.exec(source)
  const file = mark === null ? source : source.slice(0, mark.index)
  return { file, url: pathToFileURL(file).href + (mark?.[0] ?? '') }
}

/** Sources by content, for each plugin that has been asked for. */
const known = new Map<string, Map<string, string>>()

/** The source to import this plugin by. Without a mark for the content that is seen first. */
export async function versionOf(path: string): Promise<string> {
  let sources = known.get(path)
  if (sources === undefined) known.set(path, (sources = new Map()))
  const digest = await digestOf(filesOf(path))
  let source = sources.get(digest)
  if (source === undefined) {
    source = sources.size === 0 ? path : `${path}?weir=${digest.slice(0, 16)}`
    const [oldest] = sources
    if (sources.size >= MOST_VERSIONS && oldest !== undefined) sources.delete(oldest[0])
    sources.set(digest, source)
  }
  return source
}

/** To be called when a source was imported: by now it is known what it imports itself. */
export async function settleVersion(source: string): Promise<void> {
  const { file } = locate(source)
  known.get(file)?.set(await digestOf(filesOf(file)), source)
}

/** The file of a plugin and the local files that any version of it imports. */
export function filesOf(path: string): string[] {
  const { file, url } = locate(path)
  return [...new Set([file, ...localImports(url).map((one) => fileURLToPath(one))])].sort()
}

async function digestOf(files: readonly string[]): Promise<string> {
  const hash = createHash('sha256')
  for (const file of files) {
    const content = await readFile(file).catch(() => undefined)
    hash.update(`${file}\0${content?.length ?? -1}\0`).update(content ?? '')
  }
  return hash.digest('hex')
}
