/**
 * What every component is written against: receivers, processors, exporters, connectors and extensions are values made by
 * the define* functions. Built-ins use nothing that a plugin cannot.
 *
 * Life cycle: create() only builds. start() runs downstream first; shutdown() upstream first, it flushes what is held,
 * and it may be called twice or without start(). After start nothing a component throws ends the process.
 */
import type { z } from 'zod'
import type { RefusedError } from '../errors.ts'
import type { Batch, Signal } from '../otlp/batch.ts'
import type { AuthSide } from './auth.ts'
import type { Host } from './host.ts'
import type { Logger } from './logger.ts'
import type { Instruments, TelemetryTable } from './telemetry.ts'

/** Where a batch goes next. The promise is the acknowledgement; waiting on it is the backpressure. */
export interface Consumer {
  /**
   * Resolves when the next stage has taken responsibility for the batch: exported, queued, or held and
   * counted. What is taken into memory and has a `context.delivery` is told there when it is done with
   * (otlp/delivery.ts).
   * Rejects with an error of errors.ts that says whether sending again may help. Whatever else it rejects with
   * counts as permanent. The bytes of the batch are never written to.
   */
  consume(batch: Batch): Promise<void>
  /**
   * Of a stage with affinity: as consume(), but takes only those items of the batch that belong to its shard, and resolves to their
   * number. Every shard gets the whole batch then, which costs less than taking it apart. Needs `releases`.
   */
  consumeOwned?(batch: Batch): Promise<number>
  /**
   * Asked before a request body is read: an error when data would be refused now (memory limit). Cheap, called
   * once per request. Only stages that may refuse have it; a pipeline answers for its first processor.
   */
  refusal?(): RefusedError | undefined
  /**
   * True when nothing here or behind refers to the bytes of a batch once its consume() has settled: who made the bytes may
   * then use their memory again. Left out, or false: they may be kept for any time.
   */
  readonly releases?: boolean
  /**
   * True when what refers to the bytes for longer than that holds `context.lease` of the batch until it is done
   * with them. Who hands batches on under another context, or not at all, does not say so.
   */
  readonly leases?: boolean
  /**
   * Where receivers hand on only: counts a batch that the receiver has answered for by itself, since it lies
   * in a log. The batches with a delivery (otlp/delivery.ts) that it then hands on are not counted again.
   */
  answered?(batch: Batch, accepted: boolean): void
}

export interface Component {
  start?(): Promise<void>
  /** Shutdown begins upstream: data still comes in, but no caller is to be held longer than needed. */
  drain?(): void
  shutdown?(deadline: AbortSignal): Promise<void>
  /** After a reload, before shutdown(): what takes its place. What it holds may go there. */
  handOver?(heir: Consumer): void
  /** Receivers only: everything behind has shut down, too, so what was handed on is done with, or will not be. */
  finish?(): Promise<void>
}

/** Which items must meet on one shard (docs/architecture.md, "Affinity"). */
export type Affinity = 'none' | 'trace' | 'series' | 'process'

export type Stability = 'development' | 'alpha' | 'beta' | 'stable' | 'deprecated'

export interface Settings<C, T> {
  /** `type` or `type/name`, as in the YAML. */
  readonly id: string
  readonly config: C
  readonly telemetry: Instruments<T>
  readonly logger: Logger
  readonly host: Host
}

interface Definition<C, T extends TelemetryTable> {
  /** The name in YAML, lower_snake_case. */
  readonly type: string
  /** Old names, still accepted with a warning that names the modern form. */
  readonly deprecatedTypes?: readonly string[]
  readonly stability: Stability
  /** One line for `weir components`. */
  readonly summary: string
  /** Where a plugin's code comes from, and in which version: set when it is loaded. */
  readonly source?: string | undefined
  /** Shape, defaults, units and checks; C is inferred from it. Null in YAML is taken as `{}`. */
  readonly config: z.ZodType<C>
  readonly telemetry: T
}

export interface ReceiverDefinition<C, T extends TelemetryTable> extends Definition<C, T> {
  readonly signals: readonly Signal[]
  /** Endpoints that this config will listen on, so that two listeners on one port are found before the start. */
  listeners?(config: C): readonly ListenerClaim[]
  /** Id of the storage extension that this config names: requests are answered when they are stored there. */
  storage?(config: C): string | undefined
  /** One instance per id. `next` has an entry for every signal that some pipeline takes from this receiver. */
  create(settings: Settings<C, T> & { readonly next: Readonly<Partial<Record<Signal, Consumer>>> }): Component
}

/** `path` is relative to the component's config: `protocols.grpc.endpoint`. */
export interface ListenerClaim {
  readonly path: readonly string[]
  readonly endpoint: string
  readonly transport?: 'tcp' | 'tcp4' | 'tcp6' | 'unix' | undefined
  /** It speaks TLS. Without it a listener that other machines can reach is warned of. */
  readonly tls?: boolean | undefined
}

export interface ProcessorDefinition<C, T extends TelemetryTable> extends Definition<C, T> {
  readonly signals: readonly Signal[]
  /** True when it writes into the bytes it gets: the fan-out then hands it a private copy. */
  readonly capabilities: { readonly mutatesData: boolean }
  readonly affinity?: Affinity
  /**
   * It answers when it has taken data into memory: always, or unless it holds its callers (`holdsCaller`). Then a crash
   * loses what was acknowledged, and `weir validate` says so.
   */
  readonly takesIntoMemory?: 'always' | 'unless_held'
  /**
   * One instance per id and pipeline. `holdsCaller`: an exporter behind it has no queue or waits for its result, so
   * a stage that acknowledges on acceptance has to wait for `next` instead (docs/architecture.md, "Acknowledgement").
   */
  create(
    settings: Settings<C, T> & {
      readonly signal: Signal
      readonly pipeline: string
      readonly next: Consumer
      readonly holdsCaller: boolean
    },
  ): Consumer & Component
}

/**
 * An exporter writes one attempt: consume() sends the batch once and rejects with an error of errors.ts. Queue, retry, batching
 * and the time limit around it are the service's (src/sending), set by what `sending` reads from the config.
 */
export interface ExporterDefinition<C, T extends TelemetryTable> extends Definition<C, T> {
  readonly signals: readonly Signal[]
  readonly affinity?: Affinity
  /** Absent: consume() is called straight from the pipeline, without queue, retry or time limit. */
  sending?(config: C): SendingSettings
  listeners?(config: C): readonly ListenerClaim[]
  /** One instance per id and signal. */
  create(settings: Settings<C, T> & { readonly signal: Signal }): Exporter
}

export interface Exporter extends Component {
  /** One attempt. `attempt` aborts when its time is up or the process stops. */
  consume(batch: Batch, attempt: AbortSignal): Promise<void>
  /** As `Consumer.releases`. */
  readonly releases?: boolean
}

/** The settings of the shell around an exporter (exporterhelper's fields; spec: docs/architecture.md, "Sending"). */
export interface SendingSettings {
  /** Limit of one attempt in ms; 0 = none. */
  readonly timeoutMs: number
  readonly retry: RetrySettings
  /** Undefined: no queue, the caller waits for the export. */
  readonly queue: QueueSettings | undefined
  /** It writes to a place in this process or on this machine (a page, a log): a stage before it waits for its result only if told to. */
  readonly local?: boolean
}

export interface RetrySettings {
  readonly enabled: boolean
  readonly initialIntervalMs: number
  readonly randomizationFactor: number
  readonly multiplier: number
  readonly maxIntervalMs: number
  /** 0 = for ever. */
  readonly maxElapsedTimeMs: number
}

export type Sizer = 'requests' | 'items' | 'bytes'

export interface QueueSettings {
  readonly numConsumers: number
  readonly queueSize: number
  readonly sizer: Sizer
  readonly blockOnOverflow: boolean
  readonly waitForResult: boolean
  /** Extension id, or undefined for a queue in memory. */
  readonly storage: string | undefined
  /** With `storage`: what is sent has the order in which it came, over restarts and reloads. Needs one consumer. */
  readonly inOrder?: boolean
  readonly batch: QueueBatchSettings | undefined
}

export interface QueueBatchSettings {
  readonly flushTimeoutMs: number
  readonly minSize: number
  readonly maxSize: number
  readonly sizer: 'items' | 'bytes'
  readonly metadataKeys: readonly string[]
}

export interface ConnectorDefinition<C, T extends TelemetryTable> extends Definition<C, T> {
  /** Which signal may come in and which goes out for it. */
  readonly routes: readonly { readonly from: Signal; readonly to: Signal }[]
  /** One instance per id, incoming and outgoing signal. `next` has the consumers by pipeline id. */
  create(
    settings: Settings<C, T> & {
      readonly from: Signal
      readonly to: Signal
      readonly next: ReadonlyMap<string, Consumer>
      /** All of `next` as one consumer. */
      readonly all: Consumer
    },
  ): Consumer & Component
}

export interface ExtensionDefinition<C, T extends TelemetryTable> extends Definition<C, T> {
  listeners?(config: C): readonly ListenerClaim[]
  /** `main`: one instance in the main thread (health, profiles). `shard`: one per shard (authenticators, storage). */
  readonly runsIn: 'main' | 'shard'
  /** Storages only: `storage` may name it, and create() gives a Storage (src/storage/log.ts). */
  readonly stores?: true
  /**
   * Authenticators only: the sides they can stand on with this config. `auth.authenticator` may name no other extension, so
   * that a mistake is found before the start. create() then gives a ServerAuthenticator or ClientAuthenticator.
   */
  authenticates?(config: C): readonly AuthSide[]
  /** Of those for clients: over gRPC it is to be used with TLS only. */
  readonly needsTls?: boolean
  create(settings: Settings<C, T> & { readonly service: ServiceView }): Component
}

/** What an extension in the main thread sees of the service. */
export interface ServiceView {
  /** Why the service is not ready to take data; undefined when it is. */
  notReadyReason(): string | undefined
  readonly startedAtMs: number
  /** How often a shard has been started again; absent outside of a service. */
  restarts?(): number
  /** What components reported last, by id. */
  statuses(): ReadonlyMap<string, { readonly status: string; readonly error?: string | undefined }>
}

// biome-ignore lint/suspicious/noExplicitAny: definitions of any config and telemetry live in one registry.
export type AnyReceiver = ReceiverDefinition<any, any> & { readonly kind: 'receiver' }
// biome-ignore lint/suspicious/noExplicitAny: as above.
export type AnyProcessor = ProcessorDefinition<any, any> & { readonly kind: 'processor' }
// biome-ignore lint/suspicious/noExplicitAny: as above.
export type AnyExporter = ExporterDefinition<any, any> & { readonly kind: 'exporter' }
// biome-ignore lint/suspicious/noExplicitAny: as above.
export type AnyConnector = ConnectorDefinition<any, any> & { readonly kind: 'connector' }
// biome-ignore lint/suspicious/noExplicitAny: as above.
export type AnyExtension = ExtensionDefinition<any, any> & { readonly kind: 'extension' }
export type AnyDefinition = AnyReceiver | AnyProcessor | AnyExporter | AnyConnector | AnyExtension
export type Kind = AnyDefinition['kind']

export function defineReceiver<C, T extends TelemetryTable>(definition: ReceiverDefinition<C, T>) {
  return { kind: 'receiver', ...definition } as const
}

export function defineProcessor<C, T extends TelemetryTable>(definition: ProcessorDefinition<C, T>) {
  return { kind: 'processor', ...definition } as const
}

export function defineExporter<C, T extends TelemetryTable>(definition: ExporterDefinition<C, T>) {
  return { kind: 'exporter', ...definition } as const
}

export function defineConnector<C, T extends TelemetryTable>(definition: ConnectorDefinition<C, T>) {
  return { kind: 'connector', ...definition } as const
}

export function defineExtension<C, T extends TelemetryTable>(definition: ExtensionDefinition<C, T>) {
  return { kind: 'extension', ...definition } as const
}

/** Components that a configuration may name, by kind and type: all, or those that one configuration does name. */
export interface Registry {
  readonly receivers: readonly AnyReceiver[]
  readonly processors: readonly AnyProcessor[]
  readonly exporters: readonly AnyExporter[]
  readonly connectors: readonly AnyConnector[]
  readonly extensions: readonly AnyExtension[]
  /** Component types that users may name and that Weir refuses by name, with the reason: kind -> type -> reason. */
  readonly refused: Readonly<Partial<Record<Kind, Readonly<Record<string, string>>>>>
  /** Every name that could be written, old ones included, when not all of the components are loaded: for "did you mean". */
  readonly names?: Readonly<Partial<Record<Kind, readonly string[]>>>
}

/** Loads what the tree (plain values) names; called without a tree, everything. */
export type RegistryLoader = (tree?: unknown) => Promise<Registry>
