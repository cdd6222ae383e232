/**
 * The password hashes that cost time on purpose, or by their age: bcrypt, MD5-crypt (`$1$`, Apache's `$apr1$`) and SHA-crypt
 * (`$5$`, `$6$`).
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { compareSync } from 'bcryptjs'

const BCRYPT = /^\$2[abxy]\$(\d\d)\$[./A-Za-z0-9]{53}$/
const MD5_CRYPT = /^\$(1|apr1)\$([^$]{0,8})\$([./0-9A-Za-z]{22})$/
const SHA_CRYPT = /^\$([56])\$(?:rounds=(\d{1,9})\$)?([^$]{0,16})\$([./0-9A-Za-z]{43}|[./0-9A-Za-z]{86})$/
/** 2^16 rounds of bcrypt take seconds; nobody sets more, but by mistake. */
const MAX_BCRYPT_COST = 16
const MAX_SHA_ROUNDS = 1_000_000

/** True when a hash is one of these and sane; a text when it is one of these and cannot be used; else false. */
export function isSlow(encoded: string): boolean | string {
  if (encoded.startsWith('$2')) {
    const cost = Number(BCRYPT.exec(encoded)?.[1] ?? Number.NaN)
    if (!(cost >= 4 && cost <= 31)) return 'a broken bcrypt hash'
    return cost <= MAX_BCRYPT_COST || `a bcrypt cost of ${cost}, above ${MAX_BCRYPT_COST}`
  }
  if (/^\$(1|apr1)\$/.test(encoded)) return MD5_CRYPT.test(encoded) || 'a broken MD5-crypt hash'
  if (!/^\$[56]\$/.test(encoded)) return false
  const rounds = SHA_CRYPT.exec(encoded)?.[2]
  if (!SHA_CRYPT.test(encoded)) return 'a broken SHA-crypt hash'
  return rounds === undefined || Number(rounds) <= MAX_SHA_ROUNDS || `more than ${MAX_SHA_ROUNDS} rounds`
}

/** Runs for milliseconds to seconds. */
export function checkSlow(password: string, encoded: string): boolean {
  if (encoded.startsWith('$2')) return compareSync(password, encoded.replace(/^\$2[xy]/, '$2b'))
  const md5 = MD5_CRYPT.exec(encoded)
  if (md5) return equal(md5Crypt(Buffer.from(password), `$${md5[1]}$`, md5[2] ?? ''), md5[3] ?? '')
  const sha = SHA_CRYPT.exec(encoded)
  if (!sha) return false
  const rounds = Math.max(1000, Number(sha[2] ?? 5000))
  return equal(shaCrypt(Buffer.from(password), sha[3] ?? '', rounds, sha[1] === '5'), sha[4] ?? '')
}

function equal(made: string, known: string): boolean {
  return made.length === known.length && timingSafeEqual(Buffer.from(made), Buffer.from(known))
}

const ALPHABET = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** Three bytes, the first one highest, as four characters from the lowest bits on. */
function encode24(high: number, middle: number, low: number, length: number): string {
  let value = (high << 16) | (middle << 8) | low
  let text = ''
  for (let i = 0; i < length; i++) {
    text += ALPHABET[value & 63]
    value >>= 6
  }
  return text
}

/** `pattern` repeated to `length` bytes. */
function stretch(pattern: Uint8Array, length: number): Buffer {
  return Buffer.alloc(length, pattern)
}

const MD5_ORDER = [0, 6, 12, 1, 7, 13, 2, 8, 14, 3, 9, 15, 4, 10, 5]
const MD5_ROUNDS = 1000

function md5Crypt(password: Buffer, magic: string, salt: string): string {
  const md5 = (...parts: readonly (Uint8Array | string)[]): Buffer => {
    const hash = createHash('md5')
    for (const part of parts) hash.update(part)
    return hash.digest()
  }
  const inner = md5(password, salt, password)
  const bits: Uint8Array[] = []
  const none = Buffer.alloc(1)
  for (let left = password.length; left > 0; left >>= 1) bits.push(left & 1 ? none : password.subarray(0, 1))
  let final = md5(password, magic, salt, stretch(inner, password.length), ...bits)
  for (let round = 0; round < MD5_ROUNDS; round++)
    final = md5(
      round & 1 ? password : final,
      round % 3 ? salt : '',
      round % 7 ? password : '',
      round & 1 ? final : password,
    )
  let text = ''
  for (let i = 0; i < 15; i += 3)
    text += encode24(final[MD5_ORDER[i]!]!, final[MD5_ORDER[i + 1]!]!, final[MD5_ORDER[i + 2]!]!, 4)
  return text + encode24(0, 0, final[11]!, 2)
}

function shaCrypt(password: Buffer, salt: string, rounds: number, short: boolean): string {
  const size = short ? 32 : 64
  const sha = (...parts: readonly (Uint8Array | string)[]): Buffer => {
    const hash = createHash(short ? 'sha256' : 'sha512')
    for (const part of parts) hash.update(part)
    return hash.digest()
  }
  const inner = sha(password, salt, password)
  const bits: Uint8Array[] = []
  for (let left = password.length; left > 0; left >>= 1) bits.push(left & 1 ? inner : password)
  let final = sha(password, salt, stretch(inner, password.length), ...bits)
  const passwords = createHash(short ? 'sha256' : 'sha512')
  for (let i = 0; i < password.length; i++) passwords.update(password)
  const p = stretch(passwords.digest(), password.length)
  const salts = createHash(short ? 'sha256' : 'sha512')
  for (let i = 0; i < 16 + final[0]!; i++) salts.update(salt)
  const s = stretch(salts.digest(), Buffer.byteLength(salt))
  for (let round = 0; round < rounds; round++)
    final = sha(round & 1 ? p : final, round % 3 ? s : '', round % 7 ? p : '', round & 1 ? final : p)
  return shaText(final, size)
}

/** The bytes leave in threes that lie a third of the digest apart and turn by one with each step. */
function shaText(final: Buffer, size: number): string {
  const third = Math.floor(size / 3)
  const steps = size === 32 ? 10 : 21
  let [a, b, c] = [0, third, 2 * third]
  let text = ''
  for (let i = 0; i < steps; i++) {
    text += encode24(final[a]!, final[b]!, final[c]!, 4)
    if (size === 32) [a, b, c] = [c + 1, a + 1, b + 1]
    else [a, b, c] = [b + 1, c + 1, a + 1]
  }
  return size === 32 ? text + encode24(0, final[31]!, final[30]!, 3) : text + encode24(0, 0, final[63]!, 2)
}
