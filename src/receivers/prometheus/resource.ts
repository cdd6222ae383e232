/**
 * The resource and the scopes of a target in OTLP: attributes from its labels, from target_info and from
 * otel_scope_info.
 */
import { isIP } from 'node:net'
import { writeAttribute } from '../../otlp/attributes.ts'
import { INSTRUMENTATION_SCOPE, RESOURCE, RESOURCE_METRICS, SCOPE_METRICS } from '../../otlp/fields.ts'
import { WireWriter } from '../../otlp/wire.ts'
import { VERSION } from '../../version.ts'
import type { Family } from './families.ts'
import type { Labels } from './relabel.ts'

/** What metrics without scope labels come under. */
export const DEFAULT_SCOPE = 'weir/receiver/prometheus'

const SCOPE_PREFIX = 'otel_scope_'

/** A label of the scope and not of the point. */
export function isScopeLabel(name: string): boolean {
  return name.startsWith(SCOPE_PREFIX)
}

/** Discovery labels of Kubernetes, as a target may bring them, and their attributes. */
const KUBERNETES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    __meta_kubernetes_pod_name: 'k8s.pod.name',
    __meta_kubernetes_pod_uid: 'k8s.pod.uid',
    __meta_kubernetes_pod_container_name: 'k8s.container.name',
    __meta_kubernetes_namespace: 'k8s.namespace.name',
    __meta_kubernetes_pod_node_name: 'k8s.node.name',
    __meta_kubernetes_node_name: 'k8s.node.name',
    __meta_kubernetes_endpoint_node_name: 'k8s.node.name',
  }),
)
const CONTROLLERS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    ReplicaSet: 'k8s.replicaset.name',
    DaemonSet: 'k8s.daemonset.name',
    StatefulSet: 'k8s.statefulset.name',
    Job: 'k8s.job.name',
    CronJob: 'k8s.cronjob.name',
  }),
)

/** `discovered`: the labels of the target before those of discovery were taken off. */
export function resourceAttributes(job: string, instance: string, discovered: Labels): Labels {
  const { host, port } = splitHostPort(instance)
  const attributes: Labels = new Map([['service.name', job]])
  if (isDiscernible(host)) attributes.set('server.address', host)
  attributes.set('service.instance.id', instance)
  attributes.set('server.port', port)
  attributes.set('url.scheme', discovered.get('__scheme__') ?? '')
  for (const [label, key] of KUBERNETES) {
    const value = discovered.get(label)
    if (value) attributes.set(key, value)
  }
  const controller = CONTROLLERS.get(discovered.get('__meta_kubernetes_pod_controller_kind') ?? '')
  const controllerName = discovered.get('__meta_kubernetes_pod_controller_name')
  if (controller && controllerName) attributes.set(controller, controllerName)
  return attributes
}

/** Without a port the whole text is the host. */
export function splitHostPort(instance: string): { host: string; port: string } {
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):([^:[\]]*)$/.exec(instance)
  return match ? { host: match[1] ?? match[2] ?? '', port: match[3] ?? '' } : { host: instance, port: '' }
}

/** Names of the machine itself say nothing to who reads them elsewhere. */
function isDiscernible(host: string): boolean {
  if (host === '' || host === 'localhost') return false
  if (isIP(host) === 4) return !host.startsWith('127.') && host !== '0.0.0.0'
  return isIP(host) !== 6 || !/^[0:]*:(?:0*1)?$/.test(host)
}

export class Scope {
  readonly key: string
  readonly families = new Map<string, Family>()
  readonly #name: string
  readonly #version: string
  readonly #schemaUrl: string
  readonly #attributes: Labels

  constructor(key: string, labels: Labels) {
    this.key = key
    this.#name = labels.get('otel_scope_name') ?? ''
    this.#version = labels.get('otel_scope_version') ?? ''
    this.#schemaUrl = labels.get('otel_scope_schema_url') ?? ''
    this.#attributes = scopeAttributes(labels)
  }

  /** Name and version, by which otel_scope_info finds it. */
  get identity(): string {
    return `${this.#name}\u0000${this.#version}`
  }

  /** Writes the fields of ScopeMetrics but the metrics. */
  write(writer: WireWriter, more: Labels | undefined): void {
    const isDefault = this.key === ''
    // message InstrumentationScope { string name = 1; string version = 2; repeated KeyValue attributes = 3; }
    writer.begin(SCOPE_METRICS.scope, 64)
    const name = isDefault ? DEFAULT_SCOPE : this.#name
    const version = isDefault ? VERSION : this.#version
    if (name !== '') writer.string(INSTRUMENTATION_SCOPE.name, name)
    if (version !== '') writer.string(INSTRUMENTATION_SCOPE.version, version)
    for (const [key, value] of this.#attributes)
      writeAttribute(writer, INSTRUMENTATION_SCOPE.attributes, key, value)
    for (const [key, value] of more ?? [])
      if (!this.#attributes.has(key)) writeAttribute(writer, INSTRUMENTATION_SCOPE.attributes, key, value)
    writer.end()
    if (this.#schemaUrl !== '') writer.string(SCOPE_METRICS.schemaUrl, this.#schemaUrl)
  }
}

function scopeAttributes(labels: Labels): Labels {
  const attributes: Labels = new Map()
  for (const [name, value] of labels) {
    if (!isScopeLabel(name)) continue
    const key = name.slice(SCOPE_PREFIX.length)
    if (key !== 'name' && key !== 'version' && key !== 'schema_url') attributes.set(key, value)
  }
  return attributes
}

/** The same scope for the same scope labels; empty without any. */
export function scopeKey(labels: Labels): string {
  const parts: string[] = []
  for (const [name, value] of labels) if (isScopeLabel(name)) parts.push(name, value)
  return parts.length === 0 ? '' : JSON.stringify(parts)
}

const NOT_ATTRIBUTES = new Set(['__name__', 'job', 'instance'])

/** A job and instance; usually the one of the target itself. */
export class Resource {
  removed = false
  readonly scopes = new Map<string, Scope>()
  readonly #base: Labels
  /** Of target_info and otel_scope_info: what the scrape `#pendingScrape` brought so far, and what holds. */
  #pendingScrape = 0
  #pendingTarget: Labels[] = []
  #pendingScope: Labels[] = []
  #targetInfo: readonly Labels[] = []
  #scopeInfo: readonly Labels[] = []
  #encodedFrom: readonly Labels[] | undefined
  #encoded: Uint8Array = new Uint8Array(0)

  constructor(base: Labels) {
    this.#base = base
  }

  addInfo(kind: 'target' | 'scope', labels: Labels, scrape: number): void {
    if (this.#pendingScrape !== scrape) {
      this.#pendingScrape = scrape
      this.#pendingTarget = []
      this.#pendingScope = []
    }
    ;(kind === 'target' ? this.#pendingTarget : this.#pendingScope).push(labels)
  }

  /**
   * A whole body was read, so what it brought holds, and nothing else. It goes on holding while scrapes fail and at
   * the end, so that stale markers come under the resource and scope of the series that they end.
   */
  commit(scrape: number): void {
    const brought = this.#pendingScrape === scrape
    this.#targetInfo = brought ? this.#pendingTarget : []
    this.#scopeInfo = brought ? this.#pendingScope : []
  }

  /**
   * Writes the resource of ResourceMetrics. It is encoded anew only when target_info came from other series.
   */
  write(writer: WireWriter): void {
    const infos = this.#targetInfo
    const same =
      this.#encodedFrom?.length === infos.length &&
      this.#encodedFrom.every((one, index) => one === infos[index])
    if (!same) {
      const attributes = new Map(this.#base)
      for (const info of infos)
        for (const [name, value] of info) if (!NOT_ATTRIBUTES.has(name)) attributes.set(name, value)
      // message Resource { repeated KeyValue attributes = 1; }
      const encoder = new WireWriter(256)
      for (const [key, value] of attributes) writeAttribute(encoder, RESOURCE.attributes, key, value)
      this.#encoded = encoder.finish()
      this.#encodedFrom = infos
    }
    writer.len(RESOURCE_METRICS.resource, this.#encoded)
  }

  /** Attributes by `Scope.identity`, from otel_scope_info; undefined without any. */
  scopeInfo(): ReadonlyMap<string, Labels> | undefined {
    if (this.#scopeInfo.length === 0) return undefined
    const found = new Map<string, Labels>()
    for (const labels of this.#scopeInfo) {
      const identity = `${labels.get('otel_scope_name') ?? ''}\u0000${labels.get('otel_scope_version') ?? ''}`
      const attributes = scopeAttributes(labels)
      for (const [name, value] of labels)
        if (!NOT_ATTRIBUTES.has(name) && !isScopeLabel(name)) attributes.set(name, value)
      found.set(identity, attributes)
    }
    return found
  }
}
