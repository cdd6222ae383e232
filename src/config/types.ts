/**
 * A checked configuration: what `check.ts` makes of the merged YAML and what `service/` runs.
 */
import type {
  AnyConnector,
  AnyExporter,
  AnyExtension,
  AnyProcessor,
  AnyReceiver,
} from '../component/define.ts'
import type { Signal } from '../otlp/batch.ts'

export interface ConfiguredComponent<D> {
  /** `type` or `type/name`, as the user wrote it (trimmed). */
  readonly id: string
  readonly definition: D
  /** Parsed by the definition's schema: defaults filled in. */
  readonly config: unknown
}

export interface PipelineConfig {
  /** `traces` or `traces/name`. */
  readonly id: string
  readonly signal: Signal
  /** Ids of receivers or connectors. */
  readonly receivers: readonly string[]
  readonly processors: readonly string[]
  /** Ids of exporters or connectors. */
  readonly exporters: readonly string[]
}

export interface LogsTelemetry {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly encoding: 'console' | 'json'
  readonly sampling: {
    readonly enabled: boolean
    readonly tickMs: number
    readonly initial: number
    readonly thereafter: number
  }
  readonly outputPaths: readonly string[]
  readonly initialFields: Readonly<Record<string, unknown>>
}

export interface MetricsTelemetry {
  readonly level: 'none' | 'basic' | 'normal' | 'detailed'
  /** Pull readers; none with level none. */
  readonly readers: readonly {
    readonly host: string
    readonly port: number
    /** `_total` and unit suffixes on names; false = the plain names of docs/telemetry.md. */
    readonly typeSuffix: boolean
    readonly units: boolean
  }[]
}

/** What captures may take: `service.admin.capture`. */
export interface CaptureSettings {
  readonly directory: string
  readonly max_size_mib: number
  /** In ms. */
  readonly max_duration: number
}

/** When a shard is ended and started again. 0 = never, or what the machine allows. */
export interface Supervision {
  readonly heartbeatTimeoutMs: number
  readonly restartMaxIntervalMs: number
  /** Of one shard. */
  readonly maxHeapMib: number
  /** Heap and payload of all of them. */
  readonly maxMemoryBytes: number
}

export interface ServiceConfig {
  readonly receivers: ReadonlyMap<string, ConfiguredComponent<AnyReceiver>>
  readonly processors: ReadonlyMap<string, ConfiguredComponent<AnyProcessor>>
  readonly exporters: ReadonlyMap<string, ConfiguredComponent<AnyExporter>>
  readonly connectors: ReadonlyMap<string, ConfiguredComponent<AnyConnector>>
  readonly extensions: ReadonlyMap<string, ConfiguredComponent<AnyExtension>>
  readonly service: {
    readonly extensions: readonly string[]
    readonly pipelines: readonly PipelineConfig[]
    /** Number of shards: 0 = all in the main thread; undefined = one per available core. */
    readonly shards: number | undefined
    /** How long SIGTERM may take before what is left is given up, in ms. */
    readonly shutdownTimeoutMs: number
    /** Where the admin endpoint listens, if there is one. */
    readonly admin:
      | { readonly endpoint: string; readonly capture?: CaptureSettings | null | undefined }
      | undefined
    readonly supervision: Supervision
    readonly telemetry: {
      readonly logs: LogsTelemetry
      readonly metrics: MetricsTelemetry
      /** Attributes of Weir's own telemetry; null suppresses a default one. */
      readonly resource: Readonly<Record<string, string | null>>
    }
  }
}
