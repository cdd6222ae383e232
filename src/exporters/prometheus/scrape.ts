/**
 * Answers scrapes: chooses the form by the Accept header, asks all shards, joins and compresses.
 *
 * At most MAX_SCRAPES run at a time; what comes on top is told to come back, so that scrapers cannot pile up work.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { Host } from '../../component/host.ts'
import type { Form } from './exposition.ts'
import { joinParts } from './join.ts'

const compress = promisify<Uint8Array, Buffer>(gzip)

const PATH = '/metrics'
const MAX_SCRAPES = 8
/** Scrapers wait 10 s by default; a shard that does not answer before is left out. */
const GATHER_MS = 8000

const TEXT = 'text/plain; version=0.0.4; charset=utf-8'
const OPEN_METRICS = 'application/openmetrics-text; version=1.0.0; charset=utf-8'

export interface ScrapeOptions {
  readonly host: Host
  readonly openMetrics: boolean
  readonly timestamps: boolean
  readonly onConflict: (name: string) => void
}

export interface Chosen {
  readonly form: Form
  readonly contentType: string
}

/** The form with the highest quality that is known; text when none is. */
export function chooseForm(accept: string | undefined, openMetrics: boolean, timestamps: boolean): Chosen {
  let best: { readonly open: boolean; readonly quality: number; readonly utf8: boolean } | undefined
  for (const part of (accept ?? '').slice(0, 4096).split(',')) {
    const [type = '', ...rest] = part.split(';').map((piece) => piece.trim().toLowerCase())
    const parameters = new Map(
      rest.map((piece) => [piece.split('=', 1)[0] ?? '', piece.slice(piece.indexOf('=') + 1)]),
    )
    const quality = Number(parameters.get('q') ?? 1)
    const version = parameters.get('version')
    const open = type === 'application/openmetrics-text'
    if (open && (!openMetrics || (version !== undefined && version !== '1.0.0' && version !== '0.0.1')))
      continue
    if (!open && type !== 'text/plain' && type !== '*/*' && type !== 'text/*') continue
    if (!(quality > 0) || (best && quality <= best.quality)) continue
    best = { open, quality, utf8: parameters.get('escaping') === 'allow-utf-8' }
  }
  const utf8 = best?.utf8 ?? false
  const form = { openMetrics: best?.open ?? false, utf8, timestamps }
  const contentType = (form.openMetrics ? OPEN_METRICS : TEXT) + (utf8 ? '; escaping=allow-utf-8' : '')
  return { form, contentType }
}

/** Forms travel to the shards as the question of a gather. */
export function encodeQuestion(form: Form): string {
  return JSON.stringify(form)
}
export function decodeQuestion(question: string): Form {
  const form: Partial<Form> = JSON.parse(question)
  const { openMetrics = false, utf8 = false, timestamps = false } = form
  return { openMetrics, utf8, timestamps }
}

export class Scrapes {
  readonly #options: ScrapeOptions
  #running = 0

  constructor(options: ScrapeOptions) {
    this.#options = options
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.resume()
    const path = (request.url ?? '').split('?', 1)[0]
    if (path !== PATH) return end(response, 404, '404 page not found\n')
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', 'GET, HEAD')
      return end(response, 405, 'method not allowed\n')
    }
    if (this.#running >= MAX_SCRAPES) {
      response.setHeader('Retry-After', '1')
      return end(response, 503, 'too many scrapes at a time\n')
    }
    this.#running++
    try {
      await this.#answer(request, response)
    } finally {
      this.#running--
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { host, openMetrics, timestamps, onConflict } = this.#options
    const { form, contentType } = chooseForm(request.headers.accept, openMetrics, timestamps)
    const parts = await host.gather(encodeQuestion(form), GATHER_MS)
    const { chunks, conflicts } = joinParts(parts, form)
    for (const name of conflicts) onConflict(name)
    let body: Buffer = Buffer.concat(chunks)
    response.setHeader('Content-Type', contentType)
    response.setHeader('Vary', 'Accept-Encoding')
    if (acceptsGzip(request.headers['accept-encoding'])) {
      body = await compress(body)
      response.setHeader('Content-Encoding', 'gzip')
    }
    response.setHeader('Content-Length', body.length)
    response.writeHead(200)
    response.end(request.method === 'HEAD' ? undefined : body)
  }
}

function acceptsGzip(header: string | string[] | undefined): boolean {
  const text = Array.isArray(header) ? header.join(',') : (header ?? '')
  return text.split(',').some((part) => {
    const [coding = '', ...rest] = part.split(';').map((piece) => piece.trim().toLowerCase())
    return coding === 'gzip' && !rest.some((piece) => /^q=0(\.0*)?$/.test(piece))
  })
}

function end(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' }).end(text)
}
