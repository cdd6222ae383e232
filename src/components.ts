/**
 * The built-in components, one line each: the name in YAML, the module, and old names that are still accepted. A component
 * that is not here does not exist. A module is loaded when a configuration names its component (component/catalog.ts).
 */
import { entry, registryOf } from './component/catalog.ts'
import { refusedComponents } from './refused-components.ts'

export const registry = registryOf({
  receivers: [
    entry('otlp', () => import('./receivers/otlp/index.ts')),
    entry('prometheus', () => import('./receivers/prometheus/index.ts')),
    entry('nop', () => import('./receivers/nop.ts')),
  ],
  processors: [
    entry('memory_limiter', () => import('./processors/memory-limiter/index.ts')),
    entry('batch', () => import('./processors/batch/index.ts')),
    entry('resource', () => import('./processors/resource.ts')),
    entry('attributes', () => import('./processors/attributes/index.ts')),
    entry('tail_sampling', () => import('./processors/tail-sampling/index.ts')),
    entry('probabilistic_sampler', () => import('./processors/probabilistic-sampler/index.ts')),
  ],
  exporters: [
    entry('otlp_grpc', () => import('./exporters/otlp/index.ts'), ['otlp']),
    entry('otlp_http', () => import('./exporters/otlphttp/index.ts'), ['otlphttp']),
    entry('prometheus_remote_write', () => import('./exporters/prometheus-remote-write/index.ts'), [
      'prometheusremotewrite',
    ]),
    entry('prometheus', () => import('./exporters/prometheus/index.ts')),
    entry('jaeger', () => import('./exporters/jaeger/index.ts')),
    entry('loki', () => import('./exporters/loki/index.ts')),
    entry('debug', () => import('./exporters/debug/index.ts'), ['logging']),
    entry('file', () => import('./exporters/file/index.ts')),
    entry('nop', () => import('./exporters/nop.ts')),
  ],
  connectors: [entry('forward', () => import('./connectors/forward.ts'))],
  extensions: [
    entry('file_storage', () => import('./extensions/file-storage/index.ts')),
    entry('health_check', () => import('./extensions/health-check.ts')),
    entry('basicauth', () => import('./extensions/basicauth/index.ts')),
    entry('bearertokenauth', () => import('./extensions/bearertokenauth.ts')),
    entry('oidc', () => import('./extensions/oidc/index.ts')),
    entry('oauth2client', () => import('./extensions/oauth2client/index.ts')),
    entry('headers_setter', () => import('./extensions/headers-setter.ts')),
  ],
  refused: refusedComponents,
})
