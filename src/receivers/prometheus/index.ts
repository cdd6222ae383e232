/**
 * `prometheus` receiver: scrapes targets in the text formats of Prometheus and OpenMetrics.
 *
 *     receivers:
 *       prometheus:
 *         config:
 *           scrape_configs:
 *             - job_name: node
 *               scrape_interval: 15s
 *               static_configs: [{ targets: ['localhost:9100'] }]
 *
 * Each target is scraped by one shard, one scrape at a time, and each scrape goes out in one call with `up`
 * and its like; see docs/prometheus-receiver.md for what becomes of types, labels and resources.
 */
import type { Consumer } from '../../component/define.ts'
import { defineReceiver } from '../../component/define.ts'
import { counter } from '../../component/telemetry.ts'
import { config } from './config.ts'
import { Job } from './job.ts'

const telemetry = {
  scraped: counter('scraper_scraped_metric_points', '{datapoints}', 'Number of samples scraped.', [
    'scraper',
  ]),
  errored: counter(
    'scraper_errored_metric_points',
    '{datapoints}',
    'Number of samples that were not usable.',
    ['scraper'],
  ),
}

export default defineReceiver({
  type: 'prometheus',
  stability: 'beta',
  summary: 'Scrapes targets in the text formats of Prometheus and OpenMetrics',
  signals: ['metrics'],
  config,
  telemetry,
  create({ config, host, logger, next, telemetry }) {
    const jobs: Job[] = []
    const nowhere: Consumer = { consume: () => Promise.resolve() }
    let refusing = false
    const refused = (error: Error | undefined) => {
      if (error) logger.warn('scraped data was refused by the pipeline', { error: error.message })
      if (refusing === (error !== undefined)) return
      refusing = error !== undefined
      if (error) host.reportStatus('recoverable_error', error)
      else host.reportStatus('ok')
    }
    return {
      async start() {
        for (const job of config.config.scrape_configs) {
          const scraped = telemetry.scraped.with({ scraper: job.job_name })
          const errored = telemetry.errored.with({ scraper: job.job_name })
          const counted = (good: number, bad: number) => {
            if (good > 0) scraped.add(good)
            if (bad > 0) errored.add(bad)
          }
          jobs.push(new Job(job, { config, host, logger, next: next.metrics ?? nowhere, counted, refused }))
        }
        for (const job of jobs) await job.start()
      },
      async shutdown(deadline) {
        const final = config.scrape_on_shutdown ? 'scrape' : 'stale'
        const stopping = jobs.splice(0)
        const over = new Promise<void>((resolve) => {
          if (deadline.aborted) resolve()
          else deadline.addEventListener('abort', () => resolve(), { once: true })
        })
        await Promise.race([over, Promise.all(stopping.map((job) => job.stop(final, deadline)))])
        await Promise.all(stopping.map((job) => job.close()))
      },
    }
  },
})
