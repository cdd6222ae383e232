/**
 * The merged, expanded tree against the registry: components decoded by their schemas, references resolved,
 * listeners compared. Works on a tree with places (load.ts) and on a plain one (checkConfig, in worker
 * threads) alike.
 */
import type { z } from 'zod'
import type { AnyDefinition, ListenerClaim, Registry } from '../component/define.ts'
import { checkAuthenticators } from './authenticators.ts'
import { decode } from './decode.ts'
import { parseId } from './ids.ts'
import { type Claim, checkListeners, warnOfExposed } from './listeners.ts'
import { hint } from './nearest.ts'
import { type Entry, emptyMap, find, fromPlain, isNull, type Path } from './node.ts'
import { checkPipelines } from './pipelines.ts'
import { Report } from './report.ts'
import {
  metricsReaders,
  type ParsedService,
  parseAddress,
  pipelineSchema,
  serviceSchema,
  supervisionOf,
  telemetryOf,
} from './service-schema.ts'
import { checkStorages } from './storages.ts'
import type { PipelineConfig, ServiceConfig } from './types.ts'

export const SECTIONS = ['receivers', 'processors', 'exporters', 'connectors', 'extensions'] as const
export type Section = (typeof SECTIONS)[number]
export const KIND_OF = {
  receivers: 'receiver',
  processors: 'processor',
  exporters: 'exporter',
  connectors: 'connector',
  extensions: 'extension',
} as const

/**
 * The components by section. One whose own config is wrong is there, too, so that references to it resolve.
 */
export type Sections = Pick<ServiceConfig, Section> & {
  /** Every id that was written, also those of unknown type. */
  readonly configured: Readonly<Record<Section, ReadonlySet<string>>>
}

/** Parses a plain tree that load.ts made: the same checks, without places and warnings. */
export function checkConfig(tree: unknown, registry: Registry): ServiceConfig {
  const place = { file: 'config', line: 0, column: 0 }
  const report = new Report()
  const config = checkTree({ keyPlace: place, value: fromPlain(tree, place) }, registry, report)
  report.throwIfFailed([])
  return config
}

/** What is wrong goes to the report; the result is complete only when that stays empty. */
export function checkTree(root: Entry, registry: Registry, report: Report): ServiceConfig {
  const tell = (path: Path, message: string, atKey = false) => {
    const found = find(root, path)
    if (!found.broken) report.error(atKey ? found.keyPlace : found.place, path, message)
  }
  const warn = (path: Path, message: string) => report.warn(find(root, path).place, path, message)
  checkTopLevel(root, tell)
  const sections = checkSections(root, registry, report, tell)
  for (const section of ['receivers', 'exporters'] as const) {
    for (const id of sections.configured.connectors) {
      if (sections.configured[section].has(id)) {
        tell(['connectors', id], `ambiguous id: "${id}" is also one of the ${section}`, true)
      }
    }
  }
  const service = checkService(root, report)
  const parsed = service?.parsed
  let pipelines: PipelineConfig[] = []
  let extensions: string[] = []
  if (service && parsed) {
    pipelines = checkPipelines(parsed.pipelines, sections, service.whole, tell, warn)
    extensions = checkExtensions(parsed.extensions, sections, tell)
    checkMetrics(parsed, tell, warn)
    const claims = claimsOf(sections, pipelines, extensions, parsed)
    checkListeners(claims, tell)
    warnOfExposed(claims, warn)
    checkAuthenticators({ root, sections, pipelines, extensions, tell })
    checkStorages({ sections, pipelines, extensions, tell })
  }
  const checked = parsed ?? serviceSchema.parse({})
  return {
    receivers: sections.receivers,
    processors: sections.processors,
    exporters: sections.exporters,
    connectors: sections.connectors,
    extensions: sections.extensions,
    service: {
      extensions,
      pipelines,
      shards: parsed?.shards,
      shutdownTimeoutMs: parsed?.shutdown_timeout ?? 0,
      admin: parsed?.admin ?? undefined,
      supervision: supervisionOf(checked),
      telemetry: telemetryOf(checked),
    },
  }
}

function checkTopLevel(root: Entry, tell: Tell): void {
  if (root.value.kind !== 'map' || root.value.entries.size === 0) {
    tell([], 'empty configuration file')
    return
  }
  const { entries } = root.value
  for (const key of entries.keys()) {
    if (key !== 'service' && key !== 'plugins' && !SECTIONS.some((section) => section === key)) {
      tell([key], `unknown key "${key}"${hint(key, [...SECTIONS, 'service', 'plugins'], 'known keys')}`, true)
    }
  }
  for (const section of ['receivers', 'exporters'] as const) {
    const node = entries.get(section)?.value
    if (isNull(node) || (node?.kind === 'map' && node.entries.size === 0)) {
      tell([section], `no ${KIND_OF[section]} configuration specified in config`)
    }
  }
}

type Tell = (path: Path, message: string, atKey?: boolean) => void

function checkSections(root: Entry, registry: Registry, report: Report, tell: Tell): Sections {
  const configured = Object.fromEntries(SECTIONS.map((section) => [section, new Set<string>()]))
  const maps = Object.fromEntries(SECTIONS.map((section) => [section, new Map<string, unknown>()]))
  for (const section of SECTIONS) {
    const entry = root.value.kind === 'map' ? root.value.entries.get(section) : undefined
    if (!entry || isNull(entry.value)) continue
    if (entry.value.kind !== 'map') {
      tell([section], `expected a map of ${section}`)
      continue
    }
    for (const [key, body] of entry.value.entries) {
      const path = [section, key]
      const parsed = parseId(key)
      if (typeof parsed === 'string') {
        tell(path, parsed, true)
        continue
      }
      const { id } = parsed
      if (configured[section]?.has(id)) tell(path, `"${id}" is there twice once spaces are trimmed`, true)
      configured[section]?.add(id)
      const definition = lookUp(section, parsed.type, path, registry, report, body, tell)
      if (!definition) continue
      const config = decodeBody(definition, body, path, report)
      maps[section]?.set(id, { id, definition, config })
    }
  }
  // Built section by section above from the registry's list of that very section.
  return {
    ...(maps as unknown as Pick<ServiceConfig, Section>),
    configured: configured as unknown as Sections['configured'],
  }
}

function decodeBody(definition: AnyDefinition, body: Entry, path: Path, report: Report): unknown {
  if (isNull(body.value) && !(body.value.kind === 'scalar' && body.value.broken)) {
    body.value = emptyMap(body.keyPlace)
  }
  return decode(definition.config as z.ZodType, body, path, report)
}

function lookUp(
  section: Section,
  type: string,
  path: Path,
  registry: Registry,
  report: Report,
  body: Entry,
  tell: Tell,
): AnyDefinition | undefined {
  const kind = KIND_OF[section]
  const known: readonly AnyDefinition[] = registry[section]
  for (const definition of known) {
    if (definition.type === type) return definition
    if (definition.deprecatedTypes?.includes(type)) {
      report.warn(body.keyPlace, path, `"${type}" alias is deprecated; use "${definition.type}" instead`)
      return definition
    }
  }
  const refused = registry.refused[kind] ?? {}
  if (Object.hasOwn(refused, type)) {
    tell(path, `${kind} type "${type}" is not supported: ${refused[type]}`, true)
    return undefined
  }
  const loaded = known.flatMap((definition) => [definition.type, ...(definition.deprecatedTypes ?? [])])
  const words = registry.names?.[kind] ?? loaded
  tell(path, `unknown ${kind} type "${type}"${hint(type, words, 'known types')}`, true)
  return undefined
}

/** The parts of the service section that can be checked further; `whole` when nothing is wrong with it. */
interface Service {
  readonly parsed: ParsedService
  readonly whole: boolean
}

function checkService(root: Entry, report: Report): Service | undefined {
  const place = root.keyPlace
  const entries = root.value.kind === 'map' ? root.value.entries : new Map<string, Entry>()
  const written = entries.get('service')
  if (!written && entries.size === 0) return undefined // The configuration is empty, which is told already.
  const entry = written ?? { keyPlace: place, value: emptyMap(place) }
  const parsed = decode(serviceSchema, entry, ['service'], report)
  if (parsed) return { parsed, whole: true }
  return { parsed: { ...serviceSchema.parse({}), ...rightParts(entry) }, whole: false }
}

/**
 * What is right in a service section that is wrong elsewhere, so that its mistakes are told in the same run.
 */
function rightParts(service: Entry): Partial<ParsedService> {
  const unheard = new Report() // Told already.
  const part = (key: string) => find(service, [key]).node
  const parts: Partial<ParsedService> = {}
  const extensions = part('extensions')
  if (extensions) {
    const entry = { keyPlace: extensions.place, value: extensions }
    parts.extensions = decode(serviceSchema.shape.extensions, entry, [], unheard) ?? []
  }
  const telemetry = part('telemetry')
  if (telemetry) {
    const entry = { keyPlace: telemetry.place, value: telemetry }
    const parsed = decode(serviceSchema.shape.telemetry, entry, [], unheard)
    if (parsed) parts.telemetry = parsed
  }
  const pipelines = part('pipelines')
  if (pipelines?.kind !== 'map') return parts
  parts.pipelines = {}
  for (const [key, entry] of pipelines.entries) {
    const parsed = decode(pipelineSchema, entry, [], unheard)
    if (parsed) parts.pipelines[key] = parsed
  }
  return parts
}

function checkExtensions(references: readonly string[], sections: Sections, tell: Tell): string[] {
  const ids: string[] = []
  for (const [index, reference] of references.entries()) {
    const at = ['service', 'extensions', index]
    const parsed = parseId(reference)
    if (typeof parsed === 'string') tell(at, parsed)
    else if (!sections.configured.extensions.has(parsed.id)) {
      const near = hint(parsed.id, sections.configured.extensions, 'configured')
      tell(at, `references extension "${parsed.id}" which is not configured${near}`)
    } else if (!ids.includes(parsed.id)) ids.push(parsed.id)
  }
  return ids
}

function checkMetrics(parsed: ParsedService, tell: Tell, warn: Tell): void {
  const base = ['service', 'telemetry', 'metrics']
  const { address, level, readers } = parsed.telemetry.metrics
  if (address !== undefined) {
    warn([...base, 'address'], 'deprecated; use readers: [{pull: {exporter: {prometheus: {host, port}}}}]')
    if (!parseAddress(address)) tell([...base, 'address'], 'expected an address such as localhost:8888')
  }
  if (level !== 'none' && readers?.length === 0 && address === undefined) {
    tell([...base, 'readers'], `there has to be a reader when the level is ${level}; level none needs none`)
  }
  for (const [index, reader] of (readers ?? []).entries()) {
    if (!reader.pull) tell([...base, 'readers', index], 'expected pull.exporter.prometheus')
  }
}

/** Where the components that will run listen, and the readers of own metrics. */
function claimsOf(
  sections: Sections,
  pipelines: readonly PipelineConfig[],
  extensions: readonly string[],
  parsed: ParsedService,
): Claim[] {
  const claims: Claim[] = []
  const used = {
    receivers: new Set(pipelines.flatMap((pipeline) => pipeline.receivers)),
    exporters: new Set(pipelines.flatMap((pipeline) => pipeline.exporters)),
    extensions: new Set(extensions),
  }
  for (const section of ['receivers', 'exporters', 'extensions'] as const) {
    for (const { id, definition, config } of sections[section].values()) {
      if (!used[section].has(id) || config === undefined) continue
      const listeners: ((config: unknown) => readonly ListenerClaim[]) | undefined = definition.listeners
      for (const claim of listeners?.call(definition, config) ?? []) {
        claims.push({ ...claim, path: [section, id, ...claim.path] })
      }
    }
  }
  if (parsed.admin) claims.push({ path: ['service', 'admin', 'endpoint'], endpoint: parsed.admin.endpoint })
  for (const { reader, path } of metricsReaders(parsed.telemetry.metrics)) {
    const host = reader.host.includes(':') ? `[${reader.host}]` : reader.host
    claims.push({ path: ['service', 'telemetry', 'metrics', ...path], endpoint: `${host}:${reader.port}` })
  }
  return claims
}
