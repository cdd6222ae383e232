/** Asks a Prometheus for all that it holds, in a form that can be compared. */
import { request } from 'node:http'

export type Labels = Readonly<Record<string, string>>

/** The labels as one text, sorted by name: what a series is told from others by. */
export function seriesKey(labels: Labels): string {
  const { __name__: name = '', ...rest } = labels
  const pairs = Object.entries(rest).sort(([left], [right]) => (left < right ? -1 : 1))
  return `${name}{${pairs.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(',')}}`
}

export interface Series {
  readonly labels: Labels
  /** Seconds and value, as text. */
  readonly values: readonly string[]
}

async function ask<T>(url: string, path: string, parameters: Readonly<Record<string, string>>): Promise<T> {
  const response = await fetch(`${url}/api/v1/${path}?${new URLSearchParams(parameters)}`)
  const answer = (await response.json()) as { status: string; error?: string; data: T }
  if (answer.status !== 'success') throw new Error(`${path}: ${answer.error}`)
  return answer.data
}

interface VectorResult {
  readonly result: readonly {
    readonly metric: Record<string, string>
    readonly value?: [number, string]
    readonly histogram?: [number, unknown]
    readonly values?: readonly [number, string][]
    readonly histograms?: readonly [number, unknown][]
  }[]
}

/** Every sample of the last quarter of an hour, by series. Stale markers are not among them. */
export async function allSamples(url: string): Promise<Map<string, Series>> {
  const { result } = await ask<VectorResult>(url, 'query', { query: '{__name__=~".+"}[15m]' })
  const found = new Map<string, Series>()
  for (const { metric, values = [], histograms = [] } of result)
    found.set(seriesKey(metric), {
      labels: metric,
      values: [...values, ...histograms].map(([time, value]) => `${time} ${JSON.stringify(value)}`),
    })
  return found
}

/** An instant query: the value of each series, as text. */
export async function instant(url: string, query: string, time: number): Promise<Record<string, string>> {
  const { result } = await ask<VectorResult>(url, 'query', { query, time: String(time) })
  return Object.fromEntries(
    result.map(({ metric, value, histogram }) => [
      seriesKey(metric),
      value ? value[1] : JSON.stringify(histogram?.[1]),
    ]),
  )
}

/** What /api/v1/series knows, sorted. */
export async function seriesNames(url: string, start: number, end: number): Promise<string[]> {
  const parameters = { 'match[]': '{__name__=~".+"}', start: String(start), end: String(end) }
  return (await ask<Labels[]>(url, 'series', parameters)).map(seriesKey).sort()
}

/** Exemplars by series: labels, value and time as text. */
export async function allExemplars(url: string, start: number, end: number): Promise<Map<string, Series>> {
  const answer = await ask<
    { seriesLabels: Labels; exemplars: { labels: Labels; value: string; timestamp: number }[] }[]
  >(url, 'query_exemplars', { query: '{__name__=~".+"}', start: String(start), end: String(end) })
  return new Map(
    answer.map(({ seriesLabels, exemplars }) => [
      seriesKey(seriesLabels),
      {
        labels: seriesLabels,
        values: exemplars.map(({ labels, value, timestamp }) => `${timestamp} ${value} ${seriesKey(labels)}`),
      },
    ]),
  )
}

export interface Family {
  readonly type: string
  readonly help: string
  readonly unit: string
}

/** Metadata of scraped metrics. */
export function metadata(url: string): Promise<Record<string, Family[]>> {
  return ask(url, 'metadata', {})
}

/** Posts each body after the other, over a new connection each, to an OTLP/HTTP receiver; throws unless it is taken. */
export async function postAll(address: string, signal: string, bodies: readonly Uint8Array[]): Promise<void> {
  for (const body of bodies) await post(`http://${address}/v1/${signal}`, body)
}

function post(url: string, body: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/x-protobuf' }
    const sent = request(url, { method: 'POST', agent: false, headers }, (response) => {
      response.resume().on('end', () => {
        if (response.statusCode === 200) resolve()
        else reject(new Error(`${url}: ${response.statusCode}`))
      })
    })
    sent.on('error', reject).end(body)
  })
}

/** What is in one and not in the other, as lines. Empty when both are the same. */
export function compareSeries(want: ReadonlyMap<string, Series>, got: ReadonlyMap<string, Series>): string[] {
  const lines: string[] = []
  for (const [key, { values }] of want) {
    const other = got.get(key)
    if (!other) lines.push(`missing ${key}`)
    else if (other.values.join('\n') !== values.join('\n'))
      lines.push(`${key}\n  want ${values.join(' | ')}\n  got  ${other.values.join(' | ')}`)
  }
  for (const key of got.keys()) if (!want.has(key)) lines.push(`surplus ${key}`)
  return lines.sort()
}
