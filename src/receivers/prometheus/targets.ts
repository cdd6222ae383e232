/**
 * From what discovery says to the targets that are scraped: default labels, relabelling, address, URL, the
 * shard that scrapes it.
 */
import { addressProblem } from './address.ts'
import { type Labels, type Relabel, setLabel } from './relabel.ts'
import type { ScrapeConfig } from './scrape-config.ts'
import { formatPrometheusDuration, parsePrometheusDuration } from './units.ts'

export interface Target {
  /** Equal for equal targets, on every shard and after every restart. */
  readonly key: string
  readonly hash: number
  /** Labels that its series get. */
  readonly labels: Labels
  /** All labels, those that begin with `__` too. */
  readonly discovered: Labels
  readonly url: URL
  readonly intervalMs: number
  readonly timeoutMs: number
}

export interface JobSettings {
  readonly job: ScrapeConfig
  readonly intervalMs: number
  readonly timeoutMs: number
  readonly relabel: Relabel
}

/** One address with the labels of its group and of its discovery. */
export type Found = Labels

/** Undefined = dropped by relabelling; a text = why it cannot be scraped. */
export function makeTarget(found: Found, settings: JobSettings): Target | string | undefined {
  const { job } = settings
  const labels: Labels = new Map()
  for (const [name, value] of found) setLabel(labels, name, value)
  const fallback = (name: string, value: string) => {
    if (!labels.has(name)) setLabel(labels, name, value)
  }
  fallback('job', job.job_name)
  fallback('__scrape_interval__', formatPrometheusDuration(settings.intervalMs))
  fallback('__scrape_timeout__', formatPrometheusDuration(settings.timeoutMs))
  fallback('__metrics_path__', job.metrics_path)
  fallback('__scheme__', job.scheme)
  for (const [name, values] of Object.entries(job.params ?? {}))
    if (values[0] !== undefined) fallback(`__param_${name}`, values[0])
  const before = new Map(labels)
  if (!settings.relabel(labels)) return undefined
  const address = labels.get('__address__')
  if (address === undefined) return 'no address'
  const problem = addressProblem(address)
  if (problem) return problem
  const intervalMs = parsePrometheusDuration(labels.get('__scrape_interval__') ?? '') ?? 0
  const timeoutMs = parsePrometheusDuration(labels.get('__scrape_timeout__') ?? '') ?? 0
  if (intervalMs <= 0 || timeoutMs <= 0) return 'scrape interval and timeout have to be greater than 0'
  if (timeoutMs > intervalMs) return 'the scrape timeout is greater than the scrape interval'
  const url = urlOf(labels, address, job)
  if (typeof url === 'string') return url
  fallback('instance', address)
  const shown: Labels = new Map()
  const kept: Labels = new Map()
  for (const [name, value] of [...labels].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!name.startsWith('__meta_')) kept.set(name, value)
    if (!name.startsWith('__')) shown.set(name, value)
  }
  const discovered = new Map([...before, ...labels])
  const key = JSON.stringify([job.job_name, url.href, ...kept])
  return { key, hash: hashText(key), labels: shown, discovered, url, intervalMs, timeoutMs }
}

function urlOf(labels: Labels, address: string, job: ScrapeConfig): URL | string {
  const scheme = labels.get('__scheme__')
  if (scheme !== 'http' && scheme !== 'https') return `scheme "${scheme ?? ''}" is neither http nor https`
  const path = labels.get('__metrics_path__') ?? ''
  const url = URL.parse(`${scheme}://${address}`)
  if (!url) return `"${address}" is no address`
  const [pathname = '', ...query] = path.split('?')
  url.pathname = pathname
  url.search = query.join('?')
  const params = new Map(Object.entries(job.params ?? {}).map(([name, values]) => [name, [...values]]))
  for (const [name, value] of labels) {
    if (!name.startsWith('__param_')) continue
    const param = name.slice('__param_'.length)
    params.set(param, [value, ...(params.get(param) ?? []).slice(1)])
  }
  for (const [name, values] of params) for (const value of values) url.searchParams.append(name, value)
  return url
}

/**
 * FNV-1a over UTF-16 with a final mix, so that targets that differ in one digit spread over shards and
 * intervals.
 */
export function hashText(text: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index++)
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
