/**
 * Comparing secrets without telling by the time it takes: what is compared are digests under a key that only this process
 * has, always all of them.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

const KEY = randomBytes(32)

/** The digest by which a secret is known here; the secret itself is not kept. */
export function digest(...parts: readonly string[]): Buffer {
  const hmac = createHmac('sha256', KEY)
  for (const part of parts) hmac.update(`${Buffer.byteLength(part)}:`).update(part)
  return hmac.digest()
}

/** True when one of the digests is that of `secret`. */
export function matchesOne(secret: string, digests: readonly Buffer[]): boolean {
  const given = digest(secret)
  let found = false
  for (const known of digests) found = timingSafeEqual(given, known) || found
  return found
}
