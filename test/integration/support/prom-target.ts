/** A scrape target with fixed pages, and what a collector's `file` exporter wrote of scraping it, in a comparable form. */
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Plain } from '../../support/otlp.ts'

export interface Page {
  readonly status?: number
  readonly type: string
  readonly body: string
}

/** Serves what `page` is at the moment, at /metrics. */
export async function startTarget(first: Page) {
  const state = { page: first, accepts: new Set<string>() }
  const server = createServer((request, response) => {
    const { status = 200, type, body } = state.page
    state.accepts.add(String(request.headers.accept))
    response.writeHead(status, { 'content-type': type }).end(body)
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return Object.assign(state, {
    address: `127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => void server.close(resolve))
    },
  })
}

/** One point, with all that is compared; times only where the page gave them. */
export interface ScrapedPoint {
  readonly metric: string
  readonly attributes: string
  readonly fields: Readonly<Record<string, unknown>>
  readonly timeUnixNano: string
  readonly startTimeUnixNano: string
  readonly exemplars: readonly unknown[]
}

/** One scope of one scrape. */
export interface Scrape {
  readonly resource: string
  readonly scope: string
  readonly points: readonly ScrapedPoint[]
  /** When the scrape was, by its own report. */
  readonly time: string
  readonly isUp: boolean
  /** The value of the metric `phase`; 0 without it. */
  readonly phase: number
}

/** What the file holds: a line for each scrape. */
export function readScrapes(path: string): Scrape[] {
  if (!existsSync(path)) return []
  const lines = readFileSync(path, 'utf8').split('\n')
  lines.pop() // Empty, or not yet whole.
  return lines.flatMap((line) => {
    const { resourceMetrics = [] } = JSON.parse(line) as Plain
    const scopes: Pick<Scrape, 'resource' | 'scope' | 'points'>[] = resourceMetrics.flatMap(
      ({ resource, scopeMetrics = [] }: Plain) =>
        scopeMetrics.map(({ scope, metrics = [] }: Plain) => ({
          resource: attributesText(resource?.attributes),
          scope: JSON.stringify([scope?.name ?? '', attributesText(scope?.attributes)]),
          points: metrics.flatMap(pointsOf),
        })),
    )
    const points = scopes.flatMap((scope) => scope.points)
    const up = points.filter(({ metric }) => metric.startsWith('up '))
    if (up.length !== 1) throw new Error(`a line with ${up.length} scrapes`)
    const phase = points.find(({ metric }) => metric.startsWith('phase '))
    const scrape = {
      time: up[0]!.timeUnixNano,
      isUp: up[0]!.fields['asDouble'] === 1,
      phase: Number(phase?.fields['asDouble'] ?? 0),
    }
    return scopes.map((scope) => ({ ...scope, ...scrape }))
  })
}

const TYPES = ['gauge', 'sum', 'histogram', 'exponentialHistogram', 'summary'] as const

function pointsOf(metric: Plain): ScrapedPoint[] {
  const type = TYPES.find((name) => name in metric)
  if (type === undefined) return []
  const { dataPoints = [], ...data } = metric[type] as Plain
  const about = [
    metric.name,
    type,
    metric.unit ?? '',
    metric.description ?? '',
    JSON.stringify(canonical(data)),
  ]
  const hints = attributesText(metric.metadata)
  return dataPoints.map((point: Plain) => {
    const { attributes, timeUnixNano, startTimeUnixNano = '', exemplars = [], ...fields } = point
    return {
      metric: [...about, hints].join(' | '),
      attributes: attributesText(attributes),
      fields: canonical(fields),
      timeUnixNano: String(timeUnixNano),
      startTimeUnixNano: String(startTimeUnixNano),
      exemplars: exemplars.map(canonical),
    }
  })
}

/** Empty lists, zeros and absent fields are the same in protobuf. */
function canonical(value: Plain): Plain {
  if (Array.isArray(value)) return value.map(canonical)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value as Record<string, unknown>)
    .filter(([, entry]) => entry !== 0 && entry !== '' && entry !== false && !isEmpty(entry))
    .sort(([left], [right]) => (left < right ? -1 : 1))
  return Object.fromEntries(entries.map(([key, entry]) => [key, canonical(entry)]))
}

function isEmpty(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0
}

function attributesText(list: Plain[] | undefined): string {
  const pairs = (list ?? []).map(({ key, value }: Plain) => `${key}=${JSON.stringify(value)}`)
  return pairs.sort().join(' ')
}

const RECENT_MS = 3_600_000

/** A time of the page as it is; one that the scrape gave as `now`. */
function timeText(nanos: string): string {
  if (nanos === '' || nanos === '0') return '-'
  return Math.abs(Number(BigInt(nanos) / 1_000_000n) - Date.now()) < RECENT_MS ? 'now' : nanos
}

/** The scope is the receiver's own, under the name of the program, unless the page named one. */
const OWN_SCOPE =
  /"(github\.com\/open-telemetry\/opentelemetry-collector-contrib\/receiver\/prometheusreceiver|weir\/receiver\/prometheus)"/

/** A line of text for each point, without what two scrapes of one page do not have in common. */
export function scrapeLines(scrape: Scrape): string[] {
  return scrape.points.map((point) => {
    const duration = point.metric.startsWith('scrape_duration_seconds ')
    const exemplars = point.exemplars.map((exemplar: Plain) => ({
      ...exemplar,
      timeUnixNano: timeText(String(exemplar.timeUnixNano ?? '')),
    }))
    return [
      scrape.resource,
      scrape.scope.replace(OWN_SCOPE, '"own"'),
      point.metric,
      point.attributes,
      duration ? Object.keys(point.fields).join() : JSON.stringify(point.fields),
      timeText(point.timeUnixNano),
      timeText(point.startTimeUnixNano),
      JSON.stringify(exemplars),
    ].join(' # ')
  })
}
