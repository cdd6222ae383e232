/** Asks a Loki for all that a tenant has. */

export interface LokiEntry {
  readonly labels: Readonly<Record<string, string>>
  /** Nanoseconds, as text. */
  readonly time: string
  readonly line: string
  readonly metadata: Readonly<Record<string, string>>
}

interface Streams {
  readonly data: {
    readonly result: readonly {
      readonly stream: Record<string, string>
      readonly values: readonly [string, string, { structuredMetadata?: Record<string, string> }?][]
    }[]
  }
}

/** Every entry of the last hour, by time; labels and structured metadata apart. */
export async function allEntries(url: string, tenant: string): Promise<LokiEntry[]> {
  const now = Date.now()
  const parameters = {
    query: '{service_name=~".+"}',
    start: `${now - 3_600_000}000000`,
    end: `${now + 60_000}000000`,
    limit: '5000',
    direction: 'forward',
  }
  const response = await fetch(`${url}/loki/api/v1/query_range?${new URLSearchParams(parameters)}`, {
    headers: { 'x-scope-orgid': tenant, 'x-loki-response-encoding-flags': 'categorize-labels' },
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`${response.status} ${text}`)
  const answer = JSON.parse(text) as Streams
  const entries = answer.data.result.flatMap(({ stream, values }) =>
    values.map(([time, line, more]) => ({
      labels: stream,
      time,
      line,
      metadata: more?.structuredMetadata ?? {},
    })),
  )
  return entries.sort((left, right) => compare(left.time, right.time) || compare(left.line, right.line))
}

function compare(left: string, right: string): number {
  return left === right ? 0 : left < right ? -1 : 1
}

/** The label sets that the index knows, sorted. */
export async function allSeries(url: string, tenant: string): Promise<Record<string, string>[]> {
  const now = Date.now()
  const parameters = {
    'match[]': '{service_name=~".+"}',
    start: `${now - 3_600_000}000000`,
    end: `${now + 60_000}000000`,
  }
  const response = await fetch(`${url}/loki/api/v1/series?${new URLSearchParams(parameters)}`, {
    headers: { 'x-scope-orgid': tenant },
  })
  const { data } = (await response.json()) as { data: Record<string, string>[] | null }
  const keyOf = (labels: Record<string, string>) => JSON.stringify(Object.entries(labels).sort())
  return (data ?? []).sort((left, right) => compare(keyOf(left), keyOf(right)))
}
