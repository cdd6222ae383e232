/**
 * The built-in components, one explicit list per kind. A component that is not here does not exist.
 */
import type { Registry } from './component/define.ts'
import forward from './connectors/forward.ts'
import debug from './exporters/debug/index.ts'
import file from './exporters/file/index.ts'
import jaeger from './exporters/jaeger/index.ts'
import loki from './exporters/loki/index.ts'
import nopExporter from './exporters/nop.ts'
import otlpGrpc from './exporters/otlp/index.ts'
import otlpHttp from './exporters/otlphttp/index.ts'
import prometheus from './exporters/prometheus/index.ts'
import prometheusRemoteWrite from './exporters/prometheus-remote-write/index.ts'
import healthCheck from './extensions/health-check.ts'
import attributes from './processors/attributes/index.ts'
import batch from './processors/batch/index.ts'
import memoryLimiter from './processors/memory-limiter/index.ts'
import probabilisticSampler from './processors/probabilistic-sampler/index.ts'
import resource from './processors/resource.ts'
import tailSampling from './processors/tail-sampling/index.ts'
import nopReceiver from './receivers/nop.ts'
import otlp from './receivers/otlp/index.ts'
import prometheusReceiver from './receivers/prometheus/index.ts'
import { refusedComponents } from './refused-components.ts'

export const registry: Registry = {
  receivers: [otlp, prometheusReceiver, nopReceiver],
  processors: [memoryLimiter, batch, resource, attributes, tailSampling, probabilisticSampler],
  exporters: [otlpGrpc, otlpHttp, prometheusRemoteWrite, prometheus, jaeger, loki, debug, file, nopExporter],
  connectors: [forward],
  extensions: [healthCheck],
  refused: refusedComponents,
}
