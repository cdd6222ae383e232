/**
 * A configuration that can be shown: secrets become `[redacted]`. What is secret is said by the schema
 * (`secret()`), by the name of a key (`password`, `token`), and for header maps by what they are: every value
 * of them is hidden.
 */
import type { z } from 'zod'
import { children, metaOf } from './schema-walk.ts'

export const REDACTED = '[redacted]'

/** Words that end the name of a secret, or are all of it. */
const SECRET_WORDS = [
  ...[
    'password',
    'passwd',
    'passphrase',
    'pass',
    'secret',
    'token',
    'bearer',
    'credentials',
    'authorization',
  ],
  ...['cookie', 'htpasswd', 'key_pem', 'api[_-]?key', 'access[_-]?key', 'private[_-]?key', 'license[_-]?key'],
]
const SECRET_NAME = new RegExp(`(^|[_.\\-/ ])(${SECRET_WORDS.join('|')})$`, 'i')
const HEADER_MAP = /^(headers|metadata|extra_headers|http_headers|proxy_headers|endpoint_params)$/i
/** Names that look like one and hold the name of a file. */
const NOT_SECRET = /(_file|_path|filename)$/i

export function isSecretName(name: string): boolean {
  const flat = name.replace(/([a-z0-9])([A-Z])/g, '$1_$2')
  return SECRET_NAME.test(flat) && !NOT_SECRET.test(flat)
}

/** A copy of `value` without secrets. `schemas` are those that the value may have to meet. */
export function redact(value: unknown, schemas: readonly z.ZodType[], depth = 0): unknown {
  if (depth > 200) return REDACTED
  if (value === null || value === undefined) return value
  if (schemas.some((schema) => metaOf(schema).secret === true)) return hideAll(value)
  if (Array.isArray(value)) {
    return value.map((item, index) => redact(item, below(schemas, index), depth + 1))
  }
  if (typeof value === 'string') return hideUserInfo(value)
  if (typeof value !== 'object') return value
  const result: Record<string, unknown> = {}
  const named = namedSecret(value)
  for (const [key, child] of Object.entries(value)) {
    if (isSecretName(key) || (named && key === 'value')) result[key] = hideAll(child)
    else if (HEADER_MAP.test(key)) result[key] = hideValues(child)
    else result[key] = redact(child, below(schemas, key), depth + 1)
  }
  return result
}

function below(schemas: readonly z.ZodType[], step: string | number): z.ZodType[] {
  return schemas.flatMap((schema) => children(schema, step))
}

/** `{name: authorization, value: ...}`, the list form of a header map. */
function namedSecret(value: object): boolean {
  const { name, key } = value as { name?: unknown; key?: unknown } // Read only to be looked at.
  return [name, key].some((one) => typeof one === 'string' && isSecretName(one))
}

/** A map below a secret name keeps its keys: `credentials: {username, password}` still says what it is. */
function hideAll(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(hideAll)
  if (typeof value !== 'object' || value === null) return value === null || value === '' ? value : REDACTED
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, hideAll(child)]))
}

/** Header maps, and lists of `{name, value}`: names stay. */
function hideValues(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map((item) =>
      typeof item === 'object' && item !== null && 'value' in item
        ? { ...item, value: hideAll(item.value) }
        : hideAll(item),
    )
  }
  return hideAll(value)
}

/** `https://user:password@host`: the password goes. */
function hideUserInfo(text: string): string {
  return text.replace(/^([a-z][a-z0-9+.-]*:\/\/[^\s:/@]*):[^\s/@]+@/i, `$1:${REDACTED}@`)
}
