/** Cross-origin requests of browsers: preflights are answered here, other requests get their headers. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { CorsConfig } from './server-fields.ts'

const METHODS = ['GET', 'POST', 'HEAD']
const DEFAULT_HEADERS = ['accept', 'content-type', 'x-requested-with']

/** True when the request was a preflight and is answered. */
export type Cors = (request: IncomingMessage, response: ServerResponse) => boolean

/** Undefined when no origin is allowed: then no request is treated specially. */
export function createCors(config: CorsConfig | null | undefined): Cors | undefined {
  const origins = config?.allowed_origins ?? []
  if (!config || origins.length === 0) return undefined
  const all = origins.includes('*')
  const patterns = origins.map((origin) => originPattern(origin.toLowerCase()))
  const allowedHeaders = (config.allowed_headers ?? []).map((name) => name.toLowerCase())
  const anyHeader = allowedHeaders.includes('*')
  const headers = new Set(allowedHeaders.length > 0 ? [...allowedHeaders, 'origin'] : DEFAULT_HEADERS)
  const exposed = (config.exposed_headers ?? []).join(', ')

  const originOf = (request: IncomingMessage): string | undefined => {
    const origin = request.headers.origin
    if (origin === undefined) return undefined
    if (all) return '*'
    const lower = origin.toLowerCase()
    return patterns.some((matches) => matches(lower)) ? origin : undefined
  }

  const preflight = (request: IncomingMessage, response: ServerResponse): void => {
    response.setHeader('Vary', 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers')
    const origin = originOf(request)
    const method = String(request.headers['access-control-request-method']).toUpperCase()
    const wanted = String(request.headers['access-control-request-headers'] ?? '')
    const names = wanted.split(',').flatMap((name) => (name.trim() === '' ? [] : [name.trim().toLowerCase()]))
    if (origin && METHODS.includes(method) && (anyHeader || names.every((name) => headers.has(name)))) {
      response.setHeader('Access-Control-Allow-Origin', origin)
      response.setHeader('Access-Control-Allow-Methods', method)
      if (wanted !== '') response.setHeader('Access-Control-Allow-Headers', wanted)
      response.setHeader('Access-Control-Allow-Credentials', 'true')
      if (config.max_age > 0) response.setHeader('Access-Control-Max-Age', String(config.max_age))
    }
    response.writeHead(204)
    response.end()
  }

  return (request, response) => {
    if (request.method === 'OPTIONS' && request.headers['access-control-request-method'] !== undefined) {
      preflight(request, response)
      return true
    }
    response.setHeader('Vary', 'Origin')
    const origin = originOf(request)
    if (origin) {
      response.setHeader('Access-Control-Allow-Origin', origin)
      response.setHeader('Access-Control-Allow-Credentials', 'true')
      if (exposed !== '') response.setHeader('Access-Control-Expose-Headers', exposed)
    }
    return false
  }
}

/** An origin with at most one `*`, which stands for any text. */
function originPattern(origin: string): (value: string) => boolean {
  const star = origin.indexOf('*')
  if (star < 0) return (value) => value === origin
  const before = origin.slice(0, star)
  const after = origin.slice(star + 1)
  return (value) =>
    value.length >= before.length + after.length && value.startsWith(before) && value.endsWith(after)
}
