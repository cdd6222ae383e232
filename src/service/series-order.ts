/**
 * Exporters to whom the order of the samples of a series matters have all of a series on one shard. A
 * processor in front of them that holds items back (`batch`) has to have it, too: otherwise a sample that
 * waits in the pile of one shard is overtaken by a later one that came to another, and the exporter gets
 * them the wrong way round.
 *
 * With a queue on the disk all series meet on the first shard. Which shard has a series follows from the
 * number of shards, and the files outlive that: in the log of one shard they have their order whatever the
 * number is at the next start.
 */
import type { Affinity, AnyExporter } from '../component/define.ts'
import type { ConfiguredComponent, PipelineConfig, ServiceConfig } from '../config/types.ts'

export interface Meeting {
  /** Of the processor in front of which they meet: the first that holds items. -1: none needs it. */
  readonly index: number
  readonly affinity: 'series' | 'process'
}

/** Where the data of an exporter has to be, its configuration considered. */
export function affinityOf({ definition, config }: ConfiguredComponent<AnyExporter>): Affinity {
  const queue = definition.sending?.(config)?.queue
  if (queue?.storage !== undefined && queue.inOrder === true) return 'process'
  return definition.affinity ?? 'none'
}

export function whereSeriesMeet(config: ServiceConfig, pipeline: PipelineConfig): Meeting {
  const affinities = new Set<Affinity>()
  if (pipeline.signal === 'metrics') collectAffinities(config, pipeline, affinities, new Set())
  const affinity = affinities.has('process') ? 'process' : 'series'
  if (!affinities.has(affinity)) return { index: -1, affinity }
  const index = pipeline.processors.findIndex(
    (id) => config.processors.get(id)?.definition.takesIntoMemory !== undefined,
  )
  return { index, affinity }
}

/** Of the exporters behind this pipeline, also behind connectors. */
function collectAffinities(
  config: ServiceConfig,
  pipeline: PipelineConfig,
  found: Set<Affinity>,
  seen: Set<string>,
): void {
  if (seen.has(pipeline.id)) return
  seen.add(pipeline.id)
  for (const id of pipeline.exporters) {
    const exporter = config.exporters.get(id)
    if (exporter?.definition.affinity === 'series') found.add(affinityOf(exporter))
    if (exporter !== undefined) continue
    for (const next of config.service.pipelines)
      if (next.signal === 'metrics' && next.receivers.includes(id))
        collectAffinities(config, next, found, seen)
  }
}
