/**
 * What `storage` names: an extension that is configured, is among service.extensions and keeps data. So a mistake is told with
 * its place before anything starts, and nobody believes that data is kept which is not.
 */
import type { Sections } from './check.ts'
import { hint } from './nearest.ts'
import type { Path } from './node.ts'
import type { PipelineConfig } from './types.ts'

export interface StorageCheck {
  readonly sections: Sections
  readonly pipelines: readonly PipelineConfig[]
  /** Ids of service.extensions. */
  readonly extensions: readonly string[]
  readonly tell: (path: Path, message: string) => void
}

/** The sending queues of all exporters that are used, and the receivers that are. */
export function checkStorages(check: StorageCheck): void {
  const used = new Set(check.pipelines.flatMap((pipeline) => pipeline.exporters))
  for (const { id, definition, config } of check.sections.exporters.values()) {
    if (!used.has(id) || config === undefined) continue
    const storage = definition.sending?.(config)?.queue?.storage
    if (storage !== undefined) checkStorage(check, storage, ['exporters', id, 'sending_queue', 'storage'])
  }
  const feeding = new Set(check.pipelines.flatMap((pipeline) => pipeline.receivers))
  for (const { id, definition, config } of check.sections.receivers.values()) {
    if (!feeding.has(id) || config === undefined) continue
    const storage = definition.storage?.(config)
    if (storage !== undefined) checkStorage(check, storage, ['receivers', id, 'storage'])
  }
}

export function checkStorage({ sections, extensions, tell }: StorageCheck, id: string, path: Path): void {
  const known = sections.configured.extensions
  if (!known.has(id)) {
    tell(path, `references extension "${id}" which is not configured${hint(id, known, 'configured')}`)
    return
  }
  const extension = sections.extensions.get(id)
  if (!extension) return // What is wrong with it is told already.
  if (extension.definition.stores !== true) tell(path, `extension "${id}" is no storage`)
  else if (!extensions.includes(id)) {
    tell(path, `extension "${id}" is not started: add it to service.extensions`)
  }
}
