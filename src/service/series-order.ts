/**
 * Exporters to whom the order of the samples of a series matters have all of a series on one shard. A
 * processor in front of them that holds items back (`batch`) has to have it, too: otherwise a sample that
 * waits in the pile of one shard is overtaken by a later one that came to another, and the exporter gets
 * them the wrong way round.
 */
import type { PipelineConfig, ServiceConfig } from '../config/types.ts'

/**
 * Index of the processor in front of which series are brought together: the first that holds items. -1: none
 * needs it.
 */
export function whereSeriesMeet(config: ServiceConfig, pipeline: PipelineConfig): number {
  if (pipeline.signal !== 'metrics' || !needsOrder(config, pipeline, new Set())) return -1
  return pipeline.processors.findIndex(
    (id) => config.processors.get(id)?.definition.takesIntoMemory !== undefined,
  )
}

/** An exporter behind this pipeline, also behind connectors, has affinity to series. */
function needsOrder(config: ServiceConfig, pipeline: PipelineConfig, seen: Set<string>): boolean {
  if (seen.has(pipeline.id)) return false
  seen.add(pipeline.id)
  return pipeline.exporters.some((id) => {
    const exporter = config.exporters.get(id)
    if (exporter !== undefined) return exporter.definition.affinity === 'series'
    return config.service.pipelines.some(
      (next) => next.signal === 'metrics' && next.receivers.includes(id) && needsOrder(config, next, seen),
    )
  })
}
