/**
 * `weir new`: writes a component of one's own, its unit test, a configuration that uses it, and a test of
 * that. They pass as written.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { hint } from '../../config/nearest.ts'
import { componentText } from './components.ts'
import { configTestText, configText } from './configs.ts'
import { unitTestText } from './unit-tests.ts'

export const NEW_KINDS = ['processor', 'exporter', 'receiver', 'connector', 'extension'] as const
export type NewKind = (typeof NEW_KINDS)[number]

/** The names that a new component goes by. */
export interface Names {
  /** `mask_cards`, in YAML. */
  readonly type: string
  /** `mask-cards`, of files. */
  readonly file: string
  /** `maskCards`, in code. */
  readonly variable: string
  /** `ts`, or `mts` where the folder's package.json says that .ts is CommonJS. */
  readonly extension: 'ts' | 'mts'
}

export interface Written {
  readonly files: readonly string[]
  readonly names: Names
}

/** Writes nothing when a name is wrong or one of the files is there; then it returns what is wrong. */
export function scaffold(kind: string, name: string, folder: string): Written | string {
  const known = NEW_KINDS.find((one) => one === kind)
  if (known === undefined) return `unknown kind "${kind}"${hint(kind, NEW_KINDS, 'kinds')}`
  if (!/^[a-z][a-z0-9]*([-_][a-z0-9]+)*$/.test(name) || name.length > 60) {
    return `"${name}" is not a name: lower case letters, digits and single dashes, a letter first, such as mask-cards`
  }
  if (!existsSync(folder)) return `there is no folder "${folder}"`
  const names = namesOf(name, folder)
  const texts: readonly (readonly [string, string])[] = [
    [`${names.file}.${names.extension}`, componentText(known, names)],
    [`${names.file}.test.${names.extension}`, unitTestText(known, names)],
    [`${names.file}.yaml`, configText(known, names)],
    [`${names.file}.test.yaml`, configTestText(known, names)],
  ]
  const there = texts.map(([file]) => join(folder, file)).filter((path) => existsSync(path))
  if (there.length > 0)
    return `nothing written: ${there.join(', ')} ${there.length === 1 ? 'is' : 'are'} there already`
  for (const [file, text] of texts) writeFileSync(join(folder, file), text, { flag: 'wx' })
  return { files: texts.map(([file]) => join(folder, file)), names }
}

function namesOf(name: string, folder: string): Names {
  const words = name.split(/[-_]/)
  const variable = words
    .map((word, index) => (index === 0 ? word : word.charAt(0).toUpperCase() + word.slice(1)))
    .join('')
  return {
    type: words.join('_'),
    file: words.join('-'),
    // A word of the language, or one that the files use themselves, is no name for a variable.
    variable: `${variable}${words.length === 1 ? 'Component' : ''}`,
    extension: isCommonJs(folder) ? 'mts' : 'ts',
  }
}

/** What the nearest package.json says of .ts files. */
function isCommonJs(folder: string): boolean {
  for (let current = resolve(folder); ; current = dirname(current)) {
    const path = join(current, 'package.json')
    if (existsSync(path)) {
      try {
        return (JSON.parse(readFileSync(path, 'utf8')) as { type?: unknown }).type === 'commonjs'
      } catch {
        return false // Node will tell.
      }
    }
    if (dirname(current) === current) return false
  }
}
