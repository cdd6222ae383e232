/**
 * The configuration of the `prometheus` receiver: Prometheus' own YAML under `config`, beside it what the
 * collector adds.
 */
import { z } from 'zod'
import { duration, harmless, refused } from '../../config/fields.ts'
import { addressProblem } from './address.ts'
import { checkHttp } from './http-config.ts'
import { type GlobalConfig, globalFields, type ScrapeConfig, scrapeConfigFields } from './scrape-config.ts'
import { formatPrometheusDuration } from './units.ts'

const MAX_JOBS = 10_000
const DEFAULT_TIMEOUT_MS = 10_000

/** Parts of Prometheus that are no scraping, in the words of the Go collector. */
function unsupported(feature: string) {
  return z
    .unknown()
    .optional()
    .refine((value) => value === undefined, { error: `unsupported features: ${feature}` })
    .meta({ status: 'refused', why: 'only scraping is done here' })
}

const server = 'a setting of the Prometheus server, of which there is none'

const prometheusFields = z.strictObject({
  global: z.preprocess((value) => value ?? {}, globalFields),
  scrape_configs: z
    .array(scrapeConfigFields)
    .max(MAX_JOBS)
    .nullish()
    .transform((given) => given ?? []),
  scrape_config_files: refused('put the scrape configs under scrape_configs'),
  remote_write: unsupported('remote_write'),
  remote_read: unsupported('remote_read'),
  rule_files: unsupported('rule_files'),
  alerting: unsupported('alerting'),
  storage: harmless(server),
  tracing: harmless(server),
  otlp: harmless(server),
  runtime: harmless(server),
})

export const config = z
  .strictObject({
    config: z.preprocess((value) => value ?? {}, prometheusFields),
    trim_metric_suffixes: z.boolean().default(false),
    report_extra_scrape_metrics: z.boolean().default(false),
    scrape_on_shutdown: z.boolean().default(false).describe('One last scrape instead of stale markers.'),
    initial_scrape_offset: duration()
      .refine((ms) => ms >= 0, { error: 'must not be negative' })
      .prefault('0s')
      .describe('Above 0: all targets start after this time, not spread over their interval.'),
    discovery_reload_on_startup: harmless('targets are always discovered at the start', z.boolean()),
    target_allocator: refused('targets come from static_configs and file_sd_configs'),
    api_server: refused('there is no API of Prometheus'),
    use_start_time_metric: refused('removed; start times come from _created'),
    start_time_metric_regex: refused('removed; start times come from _created'),
  })
  .superRefine((value, context) => {
    const issue = (path: readonly (string | number)[], message: string) =>
      context.addIssue({ code: 'custom', path: ['config', ...path], message })
    const { global, scrape_configs: jobs } = value.config
    if (jobs.length === 0) issue([], 'no Prometheus scrape_configs or target_allocator set')
    const timeout = global.scrape_timeout
    if (timeout !== undefined && timeout > global.scrape_interval)
      issue(['global', 'scrape_timeout'], 'must not be greater than scrape_interval')
    const seen = new Set<string>()
    for (const [index, job] of jobs.entries()) {
      if (seen.has(job.job_name))
        issue(['scrape_configs', index, 'job_name'], `"${job.job_name}" is there twice`)
      seen.add(job.job_name)
      checkJob(job, global, (path, message) => issue(['scrape_configs', index, ...path], message))
    }
  })
export type Config = z.output<typeof config>

type Issue = (path: readonly (string | number)[], message: string) => void

function checkJob(job: ScrapeConfig, global: GlobalConfig, issue: Issue): void {
  const { intervalMs, timeoutMs } = timing(job, global)
  if (timeoutMs > intervalMs) {
    const [timeout, interval] = [timeoutMs, intervalMs].map(formatPrometheusDuration)
    issue(['scrape_timeout'], `scrape_timeout ${timeout} is greater than scrape_interval ${interval}`)
  }
  checkHttp(job, issue)
  if (writesAddress(job)) return
  for (const [group, { targets }] of (job.static_configs ?? []).entries())
    for (const [index, target] of targets.entries()) {
      const problem = addressProblem(target)
      if (problem) issue(['static_configs', group, 'targets', index], problem)
    }
}

/** Relabelling may make an address of what is none, as it does for probes of URLs. */
function writesAddress(job: ScrapeConfig): boolean {
  return (job.relabel_configs ?? []).some(
    ({ action, target_label }) =>
      action === 'labelmap' || target_label === '__address__' || target_label.includes('$'),
  )
}

export function timing(job: ScrapeConfig, global: GlobalConfig): { intervalMs: number; timeoutMs: number } {
  const intervalMs = job.scrape_interval ?? global.scrape_interval
  const general = global.scrape_timeout ?? Math.min(DEFAULT_TIMEOUT_MS, global.scrape_interval)
  // Only a timeout of the job's own can be too long for the job.
  return { intervalMs, timeoutMs: job.scrape_timeout ?? Math.min(general, intervalMs) }
}
