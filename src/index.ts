/**
 * The public API of `weir-collector`, for authors of components and for embedders. The only re-exports.
 */
export { z } from 'zod'
export type { Clock, Timer } from './component/clock.ts'
export type {
  Affinity,
  AnyDefinition,
  Component,
  Consumer,
  Exporter,
  ListenerClaim,
  Registry,
  RegistryLoader,
  SendingSettings,
  ServiceView,
  Settings,
  Stability,
} from './component/define.ts'
export type { Budget, Host, Listener, ListenOptions, RateBudget } from './component/host.ts'
export type { LogFields, Logger } from './component/logger.ts'
export * from './component/telemetry.ts'
export { registry } from './components.ts'
export { duration, harmless, refused, Secret, secret, secret as opaque } from './config/fields.ts'
export { loadConfig } from './config/load.ts'
export * from './errors.ts'
export {
  AttributeCursor,
  encodeAttribute,
  type JsValue,
  keyBytes,
  writeAttribute,
} from './otlp/attributes.ts'
export { Batch, type RequestContext, SIGNALS, type Signal } from './otlp/batch.ts'
export { DROP, type ItemEdit, KEEP, mapItems, mapResources, type ResourceEdit, WROTE } from './otlp/edit.ts'
export {
  AGGREGATION_TEMPORALITY,
  LOG_RECORD,
  METRIC,
  NUMBER_DATA_POINT,
  RESOURCE,
  SEVERITY_NUMBER,
  SPAN,
  SPAN_KIND,
  STATUS_CODE,
} from './otlp/fields.ts'
export { ItemWalker } from './otlp/item-walker.ts'
export * from './otlp/logs.ts'
export * from './otlp/metrics.ts'
export * from './otlp/traces.ts'
export { ChunkWalker } from './otlp/walk.ts'
export { FieldCursor, WireWriter } from './otlp/wire.ts'
export { API_VERSION } from './plugin/api-version.ts'
export * from './plugin/build.ts'
export * from './plugin/define.ts'
export { EditableBatch, editBatch } from './plugin/editable-batch.ts'
export { endpoint, size } from './plugin/fields.ts'
export { groupByResource } from './plugin/group.ts'
export * from './plugin/items.ts'
export { DataPoint, Metric } from './plugin/metric-items.ts'
export { queueField, retryField, sendingSettings, timeoutField } from './sending/fields.ts'
export { createLogger } from './service/log.ts'
export { Service } from './service/service.ts'
