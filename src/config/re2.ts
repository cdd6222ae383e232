/**
 * Regular expressions of the dialect that Go takes, in linear time. The library is loaded with the first expression: most
 * configurations have none, and it is 1 MB of a thread.
 */
import { createRequire } from 'node:module'
import type { RE2JS } from 're2js'

const require = createRequire(import.meta.url)
let loaded: typeof RE2JS | undefined

/** Throws when it is no expression. `dotAll`: the dot stands for line ends, too. */
export function compileRe2(pattern: string, { dotAll = false } = {}): RE2JS {
  loaded ??= (require('re2js') as { RE2JS: typeof RE2JS }).RE2JS // What the package's own types say it exports.
  return dotAll ? loaded.compile(pattern, loaded.DOTALL) : loaded.compile(pattern)
}
