/**
 * Component types that files of the Go collector name and that Weir does not have: refused by name, with what to do instead.
 */
import type { Registry } from './component/define.ts'

const OTTL = 'conditions and statements of OTTL are not built yet'
const VENDOR = 'not built; most backends take OTLP, use otlp_http or otlp_grpc'
const SPANS_ELSEWHERE = 'not built; let senders speak OTLP, or put a Go collector in front'

export const refusedComponents: Registry['refused'] = {
  receiver: {
    jaeger: SPANS_ELSEWHERE,
    zipkin: SPANS_ELSEWHERE,
    hostmetrics: 'not built; scrape a node exporter with the prometheus receiver',
    filelog: 'not built yet',
    file_log: 'not built yet',
    fluentforward: 'not built yet',
    kafka: 'not built yet',
    syslog: 'not built yet',
    statsd: 'not built yet',
    k8s_cluster: 'not built yet',
    loki: 'not built yet',
  },
  processor: {
    filter: OTTL,
    transform: OTTL,
    span: 'not built yet',
    groupbytrace: 'not built; tail_sampling holds whole traces by itself',
    k8sattributes: 'not built yet',
    k8s_attributes: 'not built yet',
    resourcedetection: 'not built; set attributes with the resource processor',
    redaction: 'not built yet',
    cumulativetodelta: 'not built yet',
    deltatocumulative: 'not built yet',
    interval: 'not built yet',
    metricstransform: 'not built yet',
    routing: 'not built yet',
    logdedup: 'not built yet',
    log_dedup: 'not built yet',
  },
  exporter: {
    kafka: 'not built yet',
    loadbalancing: 'not built yet',
    load_balancing: 'not built yet',
    zipkin: VENDOR,
    datadog: VENDOR,
    newrelic: VENDOR,
    elasticsearch: VENDOR,
    splunk_hec: VENDOR,
    awsxray: VENDOR,
    awsemf: VENDOR,
    awscloudwatchlogs: VENDOR,
    awscloudwatchmetrics: VENDOR,
    azuremonitor: VENDOR,
    googlecloud: VENDOR,
    opencensus: VENDOR,
  },
  connector: {
    count: OTTL,
    routing: OTTL,
    spanmetrics: 'not built yet',
    span_metrics: 'not built yet',
    servicegraph: 'not built yet',
    service_graph: 'not built yet',
    failover: 'not built yet',
  },
  extension: {
    pprof: 'not built; run with node --cpu-prof',
    zpages: 'not built; see the own metrics and the log',
    memory_limiter: 'not built; the memory_limiter processor refuses before a body is read',
    opamp: 'not built yet',
    jaegerremotesampling: 'not built yet',
    healthcheckv2: 'not built; use health_check',
    memory_ballast: 'it had no effect for years and has none here; remove it',
  },
}
