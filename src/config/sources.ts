/**
 * Where configuration text comes from: `file:` (or a plain path), `env:NAME`, `env:NAME:-default` and
 * `yaml:`. The same providers serve `--config` and `${...}`. Reading is bounded, so a device or a pipe
 * without end cannot fill the memory.
 */
import { open } from 'node:fs/promises'
import { type ConfigNode, type Entry, emptyMap, MAX_DEPTH, type Place } from './node.ts'
import { MAX_SOURCE_BYTES, parseYaml } from './parse.ts'
import type { Report } from './report.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** A location could not be read; the message is for the user. */
export class SourceError extends Error {}

export interface Retrieved {
  readonly scheme: 'file' | 'env' | 'yaml'
  /** What problems in it are reported under. */
  readonly file: string
  readonly text: string
  /** An environment variable that is not set and has no default. */
  readonly unset?: string
}

const LOCATION = /^([A-Za-z][A-Za-z0-9+.-]+):([\s\S]*)$/
const VARIABLE = /^[a-zA-Z_][a-zA-Z0-9_]*$/

/** The path that a location of `--config` names, if it is a file. */
export function filePath(location: string): string | undefined {
  const match = LOCATION.exec(location)
  if (match === null) return location
  return match[1] === 'file' ? match[2] : undefined
}

/** Reads a location. Without a scheme it is a path, or where `bareIsEnv` the name of a variable. */
export async function retrieve(location: string, env: Environment, bareIsEnv = false): Promise<Retrieved> {
  const match = LOCATION.exec(location)
  const [scheme, rest] = match ? [match[1] ?? '', match[2] ?? ''] : [bareIsEnv ? 'env' : 'file', location]
  if (scheme === 'env') return readVariable(rest, env)
  if (scheme === 'yaml') return { scheme, file: yamlLabel(rest), text: rest }
  if (scheme === 'file') return { scheme, file: rest, text: await readFile(rest) }
  if (bareIsEnv && rest.startsWith('-') && VARIABLE.test(scheme)) return readVariable(location, env)
  const remote = scheme === 'http' || scheme === 'https'
  const why = remote ? 'configuration is not loaded from the network' : 'use file, env or yaml'
  throw new SourceError(`the source "${scheme}:" is not supported: ${why}`)
}

function readVariable(expression: string, env: Environment): Retrieved {
  const [, name = '', fallback] = /^([\s\S]*?)(?::-([\s\S]*))?$/.exec(expression) ?? []
  if (!VARIABLE.test(name)) {
    throw new SourceError(
      `"${name}" is not the name of an environment variable; write $$\{${name}} for the literal text`,
    )
  }
  const value = Object.hasOwn(env, name) ? env[name] : undefined
  const text = value ?? fallback
  const retrieved = { scheme: 'env', file: `env:${name}`, text: text ?? '' } as const
  return text === undefined ? { ...retrieved, unset: name } : retrieved
}

/** Shows the key of a `yaml:` source and not its value, which may be a secret. */
function yamlLabel(text: string): string {
  const key = /^[^\n]*?(?=:(?:\s|$))/.exec(text.trimStart())?.[0] ?? ''
  return `yaml:${key.slice(0, 80)}`
}

async function readFile(path: string): Promise<string> {
  const bytes = await readBytes(path)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new SourceError(`"${path}" is not UTF-8 text`)
  }
}

async function readBytes(path: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let length = 0
  try {
    await using file = await open(path, 'r')
    while (length <= MAX_SOURCE_BYTES) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(65_536), 0, 65_536, null)
      if (bytesRead === 0) return Buffer.concat(chunks)
      chunks.push(buffer.subarray(0, bytesRead))
      length += bytesRead
    }
  } catch (error) {
    throw new SourceError(`cannot read "${path}": ${reason(error)}`)
  }
  throw new SourceError(`"${path}" is larger than ${MAX_SOURCE_BYTES} bytes`)
}

function reason(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
  const words: Readonly<Record<string, string>> = {
    ENOENT: 'there is no such file',
    EISDIR: 'it is a directory',
    EACCES: 'permission denied',
    ERR_INVALID_ARG_VALUE: 'not a valid path',
  }
  return words[code] ?? code
}

/** Reads and parses one `--config` source; undefined when that failed and is reported. */
export async function readSource(
  location: string,
  env: Environment,
  report: Report,
): Promise<{ file: string; entry: Entry | undefined }> {
  try {
    const source = await retrieve(location, env)
    if (source.unset !== undefined) {
      report.warn(
        { file: source.file, line: 0, column: 0 },
        [],
        `environment variable "${source.unset}" is not set`,
      )
    }
    if (Buffer.byteLength(source.text) > MAX_SOURCE_BYTES) {
      throw new SourceError(`larger than ${MAX_SOURCE_BYTES} bytes`)
    }
    const entry = parseYaml(source.text, source.file, report, { splitKeys: source.scheme === 'yaml' })
    return { file: source.file, entry: asMap(entry, report) }
  } catch (error) {
    if (!(error instanceof SourceError)) throw error
    const file = LOCATION.exec(location)?.[1] === 'yaml' ? 'yaml:' : location.replace(/^file:/, '')
    report.error({ file, line: 0, column: 0 }, [], error.message)
    return { file, entry: undefined }
  }
}

/** `--set a.b=value`: the value is YAML. */
export function readSetting(setting: string, report: Report): { file: string; entry: Entry | undefined } {
  const equals = setting.indexOf('=')
  const keys = equals < 0 ? [] : setting.slice(0, equals).split('.')
  const file = equals < 0 ? '--set' : `--set ${setting.slice(0, equals)}`
  const place: Place = { file, line: 0, column: 0 }
  if (keys.length === 0 || keys.length > MAX_DEPTH || keys.includes('') || keys.includes('__proto__')) {
    report.error(place, [], 'expected --set key.key=value')
    return { file, entry: undefined }
  }
  const entry = parseYaml(setting.slice(equals + 1), file, report, { place })
  if (!entry) return { file, entry }
  let value: ConfigNode = entry.value
  for (const key of keys.reverse()) {
    const map = emptyMap(place)
    map.entries.set(key, { keyPlace: place, value })
    value = map
  }
  return { file, entry: { keyPlace: place, value } }
}

function asMap(entry: Entry | undefined, report: Report): Entry | undefined {
  if (!entry) return undefined
  const { value } = entry
  if (value.kind === 'map') return entry
  if (value.kind === 'scalar' && value.value === null) {
    return { keyPlace: entry.keyPlace, value: emptyMap(value.place) }
  }
  report.error(value.place, [], 'a configuration has to be a map with receivers, exporters and service')
  return undefined
}
