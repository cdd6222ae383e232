/**
 * What pipelines refer to: every reference resolves, every component takes the signal, connectors join
 * pipelines at both ends, and no way leads through connectors back to where it began.
 */
import { SIGNALS, type Signal } from '../otlp/batch.ts'
import type { Sections } from './check.ts'
import { parseId } from './ids.ts'
import { hint } from './nearest.ts'
import type { Path } from './node.ts'
import type { ParsedService } from './service-schema.ts'
import type { PipelineConfig } from './types.ts'

/** Reports below the root of the configuration; `atKey` points at the key. */
export type Tell = (path: Path, message: string, atKey?: boolean) => void

type Role = 'receivers' | 'processors' | 'exporters'
const SINGULAR = { receivers: 'receiver', processors: 'processor', exporters: 'exporter' } as const

/** `whole`: these are all the pipelines; false when some are left out since they are wrong in themselves. */
export function checkPipelines(
  pipelines: ParsedService['pipelines'],
  sections: Sections,
  whole: boolean,
  error: Tell,
  warn: Tell,
): PipelineConfig[] {
  if (Object.keys(pipelines).length === 0) {
    if (whole) error(['service', 'pipelines'], 'service must have at least one pipeline')
    return []
  }
  const checked: { config: PipelineConfig; path: Path }[] = []
  const seen = new Set<string>()
  for (const [key, body] of Object.entries(pipelines)) {
    const path = ['service', 'pipelines', key]
    const head = pipelineHead(key, path, error)
    if (!head) continue
    if (seen.has(head.id)) error(path, `pipeline "${head.id}" is there twice`, true)
    seen.add(head.id)
    const signal = head.signal
    const lists = {
      receivers: resolve(body.receivers, 'receivers', signal, path, sections, error, warn),
      processors: resolve(body.processors, 'processors', signal, path, sections, error, warn),
      exporters: resolve(body.exporters, 'exporters', signal, path, sections, error, warn),
    }
    if (body.receivers.length === 0) error(path, 'must have at least one receiver', true)
    if (body.exporters.length === 0) error(path, 'must have at least one exporter', true)
    checked.push({ config: { id: head.id, signal, ...lists }, path })
  }
  // With a pipeline missing, the ends of a connector would be missing, too.
  if (whole) checkConnectors(checked, sections, error)
  return checked.map(({ config }) => config)
}

function pipelineHead(key: string, path: Path, error: Tell): { id: string; signal: Signal } | undefined {
  const parsed = parseId(key)
  if (typeof parsed === 'string') {
    error(path, parsed, true)
    return undefined
  }
  const signal = SIGNALS.find((one) => one === parsed.type)
  if (signal) return { id: parsed.id, signal }
  if (parsed.type === 'profiles') {
    error(path, 'profiles pipelines are not supported (gate service.profilesSupport)', true)
  } else {
    error(path, `unknown signal "${parsed.type}"${hint(parsed.type, SIGNALS, 'signals')}`, true)
  }
  return undefined
}

function resolve(
  references: readonly string[],
  role: Role,
  signal: Signal,
  path: Path,
  sections: Sections,
  error: Tell,
  warn: Tell,
): string[] {
  const ids: string[] = []
  for (const [index, reference] of references.entries()) {
    const at = [...path, role, index]
    const parsed = parseId(reference)
    if (typeof parsed === 'string') {
      error(at, parsed)
    } else if (ids.includes(parsed.id)) {
      if (role === 'processors') error(at, `references processor "${parsed.id}" multiple times`)
      else warn(at, `${SINGULAR[role]} "${parsed.id}" is listed twice; once is enough`)
    } else if (checkReference(parsed.id, role, signal, at, sections, error)) {
      ids.push(parsed.id)
    }
  }
  return ids
}

/** True when something with this id is there, be its configuration right or wrong. */
function checkReference(
  id: string,
  role: Role,
  signal: Signal,
  at: Path,
  sections: Sections,
  error: Tell,
): boolean {
  const component = sections[role].get(id)
  if (component) {
    const { signals } = component.definition
    if (!signals.includes(signal)) {
      error(at, `${SINGULAR[role]} "${id}" does not support ${signal}, only ${signals.join(' and ')}`)
    }
    return true
  }
  const connector = role === 'processors' ? undefined : sections.connectors.get(id)
  if (connector) {
    const side = role === 'receivers' ? 'to' : 'from'
    const signals = [...new Set(connector.definition.routes.map((route) => route[side]))]
    if (!signals.includes(signal)) {
      const verb = role === 'receivers' ? 'send' : 'take'
      error(at, `connector "${id}" does not ${verb} ${signal}, only ${signals.join(' and ')}`)
    }
    return true
  }
  if (sections.configured[role].has(id)) return true
  if (role !== 'processors' && sections.configured.connectors.has(id)) return true
  const known = [
    ...sections.configured[role],
    ...(role === 'processors' ? [] : sections.configured.connectors),
  ]
  const near = hint(id, known, 'configured')
  error(at, `references ${SINGULAR[role]} "${id}" which is not configured${near}`)
  return false
}

interface Checked {
  readonly config: PipelineConfig
  readonly path: Path
}

function checkConnectors(checked: readonly Checked[], sections: Sections, error: Tell): void {
  const edges = new Map<string, { connector: string; to: string }[]>()
  for (const [id, { definition }] of sections.connectors) {
    const from = checked.filter(({ config }) => config.exporters.includes(id))
    const to = checked.filter(({ config }) => config.receivers.includes(id))
    const path = ['connectors', id]
    const list = (side: readonly Checked[]) => side.map(({ config }) => config.id).join(', ')
    if (from.length > 0 && to.length === 0) {
      error(path, `used as exporter in ${list(from)}, and as receiver in no pipeline`, true)
    } else if (to.length > 0 && from.length === 0) {
      error(path, `used as receiver in ${list(to)}, and as exporter in no pipeline`, true)
    } else {
      const { routes } = definition
      const joins = (a: Checked, b: Checked) =>
        routes.some((route) => route.from === a.config.signal && route.to === b.config.signal)
      for (const one of from) {
        const next = to.filter((other) => joins(one, other))
        if (next.length === 0 && routes.some((route) => route.from === one.config.signal))
          unjoined(one, 'exporters', id, `to ${signalsOf(to)}`, error)
        const known = edges.get(one.config.id) ?? []
        edges.set(one.config.id, [...known, ...next.map((other) => ({ connector: id, to: other.config.id }))])
      }
      for (const other of to) {
        // A signal that it never sends is told where it is referred to.
        const sends = routes.some((route) => route.to === other.config.signal)
        if (sends && !from.some((one) => joins(one, other)))
          unjoined(other, 'receivers', id, `from ${signalsOf(from)}`, error)
      }
    }
  }
  const cycle = findCycle(edges)
  if (cycle) error(['service', 'pipelines'], `connectors form a cycle: ${cycle}`, true)
}

function signalsOf(side: readonly Checked[]): string {
  return [...new Set(side.map(({ config }) => config.signal))].join(' or ')
}

function unjoined({ config, path }: Checked, role: Role, id: string, other: string, error: Tell): void {
  const index = config[role].indexOf(id)
  error([...path, role, index], `connector "${id}" does not connect ${config.signal} ${other}`)
}

/**
 * A cycle as `a -> (connector) -> b -> (connector) -> a`; undefined when there is none. Iterative: any size.
 */
function findCycle(
  edges: ReadonlyMap<string, readonly { connector: string; to: string }[]>,
): string | undefined {
  const done = new Set<string>()
  for (const start of edges.keys()) {
    const way: { pipeline: string; next: number }[] = [{ pipeline: start, next: 0 }]
    const onWay = new Set([start])
    while (way.length > 0) {
      const top = way.at(-1)
      if (!top) break
      const edge = done.has(top.pipeline) ? undefined : edges.get(top.pipeline)?.[top.next++]
      if (!edge) {
        done.add(top.pipeline)
        onWay.delete(top.pipeline)
        way.pop()
      } else if (onWay.has(edge.to)) {
        const loop = way.slice(way.findIndex(({ pipeline }) => pipeline === edge.to))
        const parts = loop.map(({ pipeline, next }) => {
          const taken = edges.get(pipeline)?.[next - 1]
          return `${pipeline} -> (${taken?.connector}) -> `
        })
        return `${parts.join('')}${edge.to}`
      } else {
        way.push({ pipeline: edge.to, next: 0 })
        onWay.add(edge.to)
      }
    }
  }
  return undefined
}
