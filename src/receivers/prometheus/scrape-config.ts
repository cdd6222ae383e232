/**
 * One entry of `scrape_configs`, as Prometheus has it. Every key it knows works, is harmless to ignore, or is
 * refused by name.
 */
import { z } from 'zod'
import { harmless, refused } from '../../config/fields.ts'
import { httpFields } from './http-config.ts'
import { relabelField } from './relabel.ts'
import { byteSize, prometheusDuration } from './units.ts'

export const PROTOCOLS = [
  'PrometheusProto',
  'OpenMetricsText1.0.0',
  'OpenMetricsText0.0.1',
  'PrometheusText1.0.0',
  'PrometheusText0.0.4',
] as const
export type Protocol = (typeof PROTOCOLS)[number]
export const DEFAULT_PROTOCOLS: readonly Protocol[] = PROTOCOLS.slice(1)

/** Discovery that Prometheus has and that is not built: `<kind>_sd_configs`. */
const DISCOVERIES = [
  'azure',
  'aws',
  'consul',
  'digitalocean',
  'dns',
  'docker',
  'dockerswarm',
  'ec2',
  'eureka',
  'gce',
  'hetzner',
  'http',
  'ionos',
  'kubernetes',
  'kuma',
  'lightsail',
  'linode',
  'marathon',
  'nerve',
  'nomad',
  'openstack',
  'outscale',
  'ovhcloud',
  'puppetdb',
  'scaleway',
  'serverset',
  'stackit',
  'triton',
  'uyuni',
  'vultr',
] as const

const MAX_TARGETS = 100_000
const count = () => z.int().min(0)
const name = z.string().min(1)
const labelText = z.union([z.string(), z.number(), z.boolean()]).transform(String)

/** Labels as a map; an empty value is no label. */
export const labelsField = z
  .record(name, labelText)
  .nullish()
  .transform((given) => given ?? {})

export const targetGroup = z.strictObject({
  targets: z.array(name).max(MAX_TARGETS).default([]),
  labels: labelsField,
})
export type TargetGroup = z.output<typeof targetGroup>

const fileDiscovery = z.strictObject({
  files: z
    .array(
      z.string().regex(/^[^*]*(\*[^/]*)?\.(json|yml|yaml|JSON|YML|YAML)$/, {
        error: 'expected a path that ends in .json, .yml or .yaml, with * only in its last part',
      }),
    )
    .min(1)
    .max(1000),
  refresh_interval: prometheusDuration()
    .refine((ms) => ms > 0, { error: 'must be greater than 0' })
    .prefault('5m'),
})
export type FileDiscoveryConfig = z.output<typeof fileDiscovery>

const protocols = () =>
  z
    .array(z.enum(PROTOCOLS, { error: `expected one of ${PROTOCOLS.join(', ')}` }))
    .min(1)
    .refine((list) => new Set(list).size === list.length, { error: 'a protocol is there twice' })
    .refine((list) => list.some((one) => one !== 'PrometheusProto'), {
      error: 'PrometheusProto is not spoken: name a text protocol, too',
    })

const noNative = 'native histograms come by PrometheusProto only, which is not spoken'

/** A switch that is off by default and that would change the data. */
function staysOff(why: string) {
  return z
    .boolean()
    .default(false)
    .refine((on) => !on, { error: `not supported: ${why}` })
}

/** What `global` and a scrape config share; absent in the latter means what `global` says. */
const shared = {
  scrape_protocols: protocols().optional(),
  scrape_native_histograms: harmless(noNative, z.boolean()),
  convert_classic_histograms_to_nhcb: staysOff('histograms stay explicit histograms'),
  always_scrape_classic_histograms: harmless('classic histograms are always scraped', z.boolean()),
  metric_name_validation_scheme: z.enum(['', 'utf8', 'legacy']).default(''),
  metric_name_escaping_scheme: z
    .enum(['', 'allow-utf-8', 'underscores', 'dots', 'values'])
    .default('')
    .describe(
      'What targets are asked to make of names; default: allow-utf-8, with legacy names underscores.',
    ),
  extra_scrape_metrics: z.boolean().optional(),
  body_size_limit: byteSize().optional(),
  sample_limit: count().optional(),
  target_limit: count().optional(),
  label_limit: count().optional(),
  label_name_length_limit: count().optional(),
  label_value_length_limit: count().optional(),
  keep_dropped_targets: harmless('dropped targets are shown nowhere', count()),
}

const positive = () => prometheusDuration().refine((ms) => ms > 0, { error: 'must be greater than 0' })

const notServed = 'rules are not evaluated'

export const globalFields = z.strictObject({
  ...shared,
  scrape_interval: positive().prefault('1m'),
  scrape_timeout: positive().optional(),
  external_labels: labelsField,
  evaluation_interval: harmless(notServed),
  rule_query_offset: harmless(notServed),
  query_log_file: harmless('there are no queries'),
  scrape_failure_log_file: harmless('scrapes that fail are in the log of the service', z.string()),
  runtime: harmless('a setting of the Go runtime'),
})
export type GlobalConfig = z.output<typeof globalFields>

export const scrapeConfigFields = z.strictObject({
  job_name: z.string({ error: 'job_name is required' }).min(1, { error: 'job_name is empty' }),
  scrape_interval: positive().optional(),
  scrape_timeout: positive().optional(),
  metrics_path: z.string().min(1).default('/metrics'),
  scheme: z.enum(['http', 'https']).default('http'),
  params: z.record(z.string(), z.array(labelText)).nullish(),
  honor_labels: z.boolean().default(false),
  honor_timestamps: z.boolean().default(true),
  track_timestamps_staleness: z.boolean().default(false),
  fallback_scrape_protocol: z.enum(PROTOCOLS).exclude(['PrometheusProto']).default('PrometheusText0.0.4'),
  enable_compression: z.boolean().default(true),
  scrape_failure_log_file: harmless('scrapes that fail are in the log of the service', z.string()),
  native_histogram_bucket_limit: harmless(noNative, count()),
  native_histogram_min_bucket_factor: harmless(noNative, z.number()),
  ...httpFields,
  ...shared,
  static_configs: z.array(targetGroup).nullish(),
  file_sd_configs: z.array(fileDiscovery).nullish(),
  relabel_configs: relabelField(),
  metric_relabel_configs: relabelField(),
  ...Object.fromEntries(
    DISCOVERIES.map((kind) => [
      `${kind}_sd_configs`,
      refused(`${kind} discovery is not built for now; use static_configs or file_sd_configs`),
    ]),
  ),
})
/** The refused keys are never there, so only the rest has a type. */
export type ScrapeConfig = z.output<typeof scrapeConfigFields>
