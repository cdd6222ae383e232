/**
 * A password file as Apache's htpasswd writes it, one `user:hash` per line; of a user that comes twice the last line counts.
 * Formats: bcrypt, MD5-crypt, SHA-crypt, `{SHA}`, `{SSHA}`, and what is none of these is the password itself.
 */
import { createHash } from 'node:crypto'
import { digest, matchesOne } from '../digest.ts'
import { isSlow } from './slow-hashes.ts'

/** One user's password; `slow` is checked in a thread of its own. */
export type Password =
  | { readonly kind: 'slow'; readonly encoded: string }
  | { readonly kind: 'sha'; readonly hash: Buffer; readonly salt: Buffer }
  | { readonly kind: 'plain'; readonly digest: Buffer }

export interface Htpasswd {
  readonly users: ReadonlyMap<string, Password>
  /** What is checked for users that do not exist, so that the time tells nothing. */
  readonly decoy: Password
  /** Lines left out, and why; never what they hold. */
  readonly problems: readonly string[]
}

const MAX_USERS = 100_000
const SHA1_BYTES = 20

export function parseHtpasswd(text: string): Htpasswd {
  const users = new Map<string, Password>()
  const problems: string[] = []
  let decoy: Password = { kind: 'plain', digest: digest('decoy') }
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    const colon = line.indexOf(':')
    const password = colon < 1 ? 'no user and colon' : parsePassword(line.slice(colon + 1))
    if (typeof password === 'string') {
      problems.push(`line ${index + 1}: ${password}`)
      continue
    }
    if (users.size >= MAX_USERS) {
      problems.push(`line ${index + 1}: more than ${MAX_USERS} users`)
      break
    }
    users.set(line.slice(0, colon), password)
    if (password.kind === 'slow') decoy = password
  }
  return { users, decoy, problems }
}

/** A text says what is wrong. */
function parsePassword(encoded: string): Password | string {
  const slow = isSlow(encoded)
  if (typeof slow === 'string') return slow
  if (slow) return { kind: 'slow', encoded }
  const sha = /^\{(SHA|SSHA)\}([A-Za-z0-9+/]+=*)$/.exec(encoded)
  if (sha) {
    const bytes = Buffer.from(sha[2] ?? '', 'base64')
    const salted = sha[1] === 'SSHA'
    if (salted ? bytes.length <= SHA1_BYTES : bytes.length !== SHA1_BYTES) return `a broken {${sha[1]}} hash`
    return { kind: 'sha', hash: digestOf(bytes.subarray(0, SHA1_BYTES)), salt: bytes.subarray(SHA1_BYTES) }
  }
  if (encoded.startsWith('{SHA}') || encoded.startsWith('{SSHA}')) return 'a broken {SHA} hash'
  return { kind: 'plain', digest: digest(encoded) }
}

function digestOf(bytes: Uint8Array): Buffer {
  return digest(Buffer.from(bytes).toString('latin1'))
}

/** For those that are not slow. */
export function checkFast(password: string, known: Exclude<Password, { kind: 'slow' }>): boolean {
  if (known.kind === 'plain') return matchesOne(password, [known.digest])
  const made = createHash('sha1').update(password).update(known.salt).digest()
  return matchesOne(made.toString('latin1'), [known.hash])
}
