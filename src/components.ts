/**
 * The built-in components, one explicit list per kind. A component that is not here does not exist.
 */
import type { Registry } from './component/define.ts'
import otlpGrpc from './exporters/otlp/index.ts'
import healthCheck from './extensions/health-check.ts'
import resource from './processors/resource.ts'
import otlpReceiver from './receivers/otlp/index.ts'

export const registry: Registry = {
  receivers: [otlpReceiver],
  processors: [resource],
  exporters: [otlpGrpc],
  connectors: [],
  extensions: [healthCheck],
  refused: {},
}
