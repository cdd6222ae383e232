import { describe, expect, test } from 'vitest'
import { loadConfig } from '../../config/load.ts'
import { ConfigError } from '../../errors.ts'
import nop from '../../exporters/nop.ts'
import { addressProblem } from './address.ts'
import { config, timing } from './config.ts'
import prometheus from './index.ts'
import { compileRelabel } from './relabel.ts'
import { makeTarget, type Target } from './targets.ts'

const registry = {
  receivers: [prometheus],
  processors: [],
  exporters: [nop],
  connectors: [],
  extensions: [],
  refused: {},
}

/** The problems and warnings of a receiver whose body is `yaml`, indented by six. */
async function load(yaml: string) {
  const source = `yaml:receivers:
  prometheus:
    config:
${yaml.replaceAll(/^/gm, '      ')}
exporters: { nop: }
service: { pipelines: { metrics: { receivers: [prometheus], exporters: [nop] } } }`
  try {
    const loaded = await loadConfig({ sources: [source], sets: [], env: {}, registry })
    return loaded.warnings.map(({ path, message }) => `${path}: ${message}`)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.problems.map(
      ({ line, path, message }) => `${line}: ${path.replace('receivers.prometheus.', '')}: ${message}`,
    )
  }
}

const job = (more: string) => load(`scrape_configs:\n  - job_name: a\n${more.replaceAll(/^/gm, '    ')}`)

test('a minimal config has the defaults of Prometheus', () => {
  const made = config.parse({ config: { scrape_configs: [{ job_name: 'a' }] } })
  const [first] = made.config.scrape_configs
  expect(first).toMatchObject({
    metrics_path: '/metrics',
    scheme: 'http',
    honor_labels: false,
    honor_timestamps: true,
    follow_redirects: true,
    fallback_scrape_protocol: 'PrometheusText0.0.4',
  })
  expect(first && timing(first, made.config.global)).toEqual({ intervalMs: 60_000, timeoutMs: 10_000 })
})

test('a short interval shortens the timeout; a long timeout of its own is an error', async () => {
  const of = (body: object) => {
    const made = config.parse({ config: { scrape_configs: [{ job_name: 'a', ...body }] } })
    return (
      made.config.scrape_configs[0] && timing(made.config.scrape_configs[0], made.config.global).timeoutMs
    )
  }
  expect(of({ scrape_interval: '5s' })).toBe(5000)
  expect(of({ scrape_interval: '1d', scrape_timeout: '2m' })).toBe(120_000)
  expect(await job('scrape_timeout: 2m')).toEqual([
    '6: config.scrape_configs[0].scrape_timeout: scrape_timeout 2m is greater than scrape_interval 1m',
  ])
})

test('a target that is no address is an error at its own place', async () => {
  expect(
    await job('static_configs:\n  - targets:\n      - localhost:9090\n      - localhost:9091-9099'),
  ).toEqual([
    '9: config.scrape_configs[0].static_configs[0].targets[1]: "localhost:9091-9099" has a range of ports: every target needs an entry of its own',
  ])
  expect(await job("static_configs: [{ targets: ['http://a/b'] }]")).toEqual([
    '6: config.scrape_configs[0].static_configs[0].targets[0]: "http://a/b" is not a valid hostname',
  ])
  const probe =
    "static_configs: [{ targets: ['http://a/b'] }]\nrelabel_configs: [{ target_label: __address__, replacement: 'probe:9115' }]"
  expect(await job(probe)).toEqual([])
})

test('addresses', () => {
  for (const good of ['a', 'a:1', 'a.b-c:65535', '10.0.0.1:80', '[::1]:9', '[fe80::1]', 'a_b:1'])
    expect(addressProblem(good), good).toBeUndefined()
  for (const bad of [
    '',
    ':1',
    'a:',
    'a:x',
    'a:65536',
    'a:1:2',
    'a/b',
    'u@a:1',
    '::1',
    '[::1',
    'a b',
    'a:1-2',
  ])
    expect(addressProblem(bad), bad).toBeDefined()
})

describe('what is refused, and how', () => {
  const f = async (yaml: string, want: string) =>
    expect((await load(yaml)).join('\n').replaceAll('config.scrape_configs', ''), yaml).toContain(want)
  const one = 'scrape_configs: [{ job_name: a }]\n'
  test('parts of Prometheus that are no scraping', async () => {
    for (const feature of ['remote_write', 'remote_read', 'rule_files', 'alerting'])
      await f(`${one}${feature}: []`, `config.${feature}: unsupported features: ${feature}`)
    await f('global: {}', 'config: no Prometheus scrape_configs or target_allocator set')
    await f('scrape_configs: []', 'config: no Prometheus scrape_configs or target_allocator set')
  })
  test('discovery that is not built, by name; words nobody knows, with the nearest one', async () => {
    await f(
      'scrape_configs: [{ job_name: a, kubernetes_sd_configs: [] }]',
      'kubernetes discovery is not built for now',
    )
    await f('scrape_configs: [{ job_name: a, honour_labels: true }]', 'did you mean "honor_labels"')
    await f('scrape_configs: [{ job_name: a, oauth2: {} }]', 'not supported: tokens are not fetched')
    await f(
      'scrape_configs: [{ job_name: a, scrape_protocols: [PrometheusProto] }]',
      'PrometheusProto is not spoken',
    )
  })
  test('contradictions', async () => {
    await f('scrape_configs: [{ job_name: a }, { job_name: a }]', '"a" is there twice')
    await f('scrape_configs: [{ scrape_interval: 1s }]', 'job_name: is required')
    await f('scrape_configs: [{ job_name: a, basic_auth: {}, bearer_token: x }]', 'at most one of basic_auth')
    await f('scrape_configs: [{ job_name: a, scrape_interval: 1.5s }]', '"1.5s" is not a duration')
    await f('scrape_configs: [{ job_name: a, scrape_interval: 0s }]', 'must be greater than 0')
    await f('scrape_configs: [{ job_name: a, tls_config: { cert_file: x } }]', 'a certificate and its key')
    await f('scrape_configs: [{ job_name: a, http_headers: { Host: {} } }]', 'is set by the scrape itself')
    await f(
      'scrape_configs: [{ job_name: a, file_sd_configs: [{ files: ["*/a.json"] }] }]',
      'expected a path that ends',
    )
    await f('scrape_configs: [{ job_name: a, relabel_configs: [{ regex: "(" }] }]', 'bad regular expression')
  })
})

test('dollars are doubled in the file and single in the rule', async () => {
  const yaml = "relabel_configs: [{ source_labels: [a], target_label: b, replacement: '$$1' }]"
  expect(await job(yaml)).toEqual([])
})

test('what has no effect is accepted with a warning', async () => {
  expect(await load('scrape_configs: [{ job_name: a, enable_http2: false }]\nstorage: { x: 1 }')).toEqual([
    expect.stringContaining('enable_http2: ignored: targets are scraped over HTTP/1.1'),
    expect.stringContaining('storage: ignored'),
  ])
})

describe('targets', () => {
  const make = (found: Record<string, string>, body: object = {}): Target | string | undefined => {
    const made = config.parse({ config: { scrape_configs: [{ job_name: 'a', ...body }] } })
    const [first] = made.config.scrape_configs
    if (!first) throw new Error('no job')
    const settings = {
      job: first,
      ...timing(first, made.config.global),
      relabel: compileRelabel(first.relabel_configs ?? []),
    }
    return makeTarget(new Map(Object.entries(found)), settings)
  }
  const target = (...input: Parameters<typeof make>): Target => {
    const made = make(...input)
    if (typeof made !== 'object') throw new Error(`no target: ${made}`)
    return made
  }

  test('have job, instance and the labels of their group', () => {
    const made = target({ __address__: 'h:1', env: 'prod', __meta_x: 'y' })
    expect(Object.fromEntries(made.labels)).toEqual({ job: 'a', instance: 'h:1', env: 'prod' })
    expect(made.url.href).toBe('http://h:1/metrics')
    expect(made.discovered.get('__meta_x')).toBe('y')
  })

  test('take path, scheme, parameters, interval and timeout from labels', () => {
    const params = { module: ['http_2xx', 'second'], other: ['1'] }
    const relabel_configs = [
      { source_labels: ['__address__'], target_label: '__param_target' },
      { source_labels: ['__param_target'], target_label: 'instance' },
      { target_label: '__address__', replacement: 'probe:9115' },
      { target_label: '__scheme__', replacement: 'https' },
      { target_label: '__metrics_path__', replacement: '/probe' },
      { target_label: '__scrape_interval__', replacement: '2m' },
      { target_label: '__scrape_timeout__', replacement: '90s' },
    ]
    const made = target({ __address__: 'http://x/y' }, { params, relabel_configs })
    expect(made.url.origin + made.url.pathname).toBe('https://probe:9115/probe')
    expect([...made.url.searchParams].sort()).toEqual([
      ['module', 'http_2xx'],
      ['module', 'second'],
      ['other', '1'],
      ['target', 'http://x/y'],
    ])
    expect([made.intervalMs, made.timeoutMs]).toEqual([120_000, 90_000])
    expect(made.labels.get('instance')).toBe('http://x/y')
  })

  test('are dropped by relabelling, or say why they cannot be scraped', () => {
    const rule = (one: object) => ({ relabel_configs: [one] })
    expect(
      make({ __address__: 'h:1' }, rule({ source_labels: ['job'], regex: 'a', action: 'drop' })),
    ).toBeUndefined()
    expect(make({ __address__: 'h:1' }, rule({ regex: '__address__', action: 'labeldrop' }))).toBe(
      'no address',
    )
    expect(make({ __address__: 'h:1-2' })).toContain('range of ports')
    expect(make({ __address__: 'h:1', __scrape_timeout__: '2m' })).toContain(
      'greater than the scrape interval',
    )
    expect(make({ __address__: 'h:1', __scheme__: 'ftp' })).toContain('neither http nor https')
  })

  test('spread over shards and intervals', () => {
    const shards = [0, 0, 0, 0]
    for (let index = 0; index < 400; index++)
      shards[target({ __address__: `host-${index}:9100` }).hash % 4]!++
    for (const count of shards) expect(count).toBeGreaterThan(60)
  })
})
