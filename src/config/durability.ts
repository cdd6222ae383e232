/**
 * Which pipelines can lose data in a crash that their senders were told is safe, and why: one note each.
 * These are no mistakes, since the configuration may be meant so.
 */
import type { PipelineConfig, ServiceConfig } from './types.ts'

export function durabilityNotes(config: ServiceConfig): string[] {
  const notes: string[] = []
  for (const pipeline of config.service.pipelines) {
    const receivers = answeringEarly(config, pipeline, new Set())
    const holders = holdersOf(config, pipeline)
    if (receivers.length === 0 || holders.length === 0) continue
    const advice =
      receivers.length === 1
        ? `receivers.${receivers[0]}.storage would keep it`
        : `storage on these receivers would keep it`
    notes.push(
      `service.pipelines.${pipeline.id}: a crash can lose acknowledged data: ${receivers.join(', ')} ` +
        `${receivers.length === 1 ? 'answers' : 'answer'} before ${holders.join(', ')}; ${advice}`,
    )
  }
  return notes
}

/** Receivers that feed the pipeline, also through connectors, and answer their senders without a log. */
function answeringEarly(config: ServiceConfig, pipeline: PipelineConfig, seen: Set<string>): string[] {
  if (seen.has(pipeline.id)) return []
  seen.add(pipeline.id)
  const found = new Set<string>()
  for (const id of pipeline.receivers) {
    const receiver = config.receivers.get(id)
    if (receiver !== undefined) {
      const { storage } = receiver.definition
      // One that cannot have a log fetches its data: nobody was told anything.
      if (storage !== undefined && storage(receiver.config) === undefined) found.add(id)
      continue
    }
    for (const from of config.service.pipelines)
      if (from.exporters.includes(id)) for (const name of answeringEarly(config, from, seen)) found.add(name)
  }
  return [...found]
}

/** Stages that take data into memory alone, in words. */
function holdersOf(config: ServiceConfig, pipeline: PipelineConfig): string[] {
  const held = pipeline.processors.filter((id) => {
    const takes = config.processors.get(id)?.definition.takesIntoMemory
    return takes === 'always' || (takes === 'unless_held' && !mustHoldCaller(config, pipeline, new Set()))
  })
  const queued = pipeline.exporters.filter((id) => {
    const exporter = config.exporters.get(id)
    const queue = exporter?.definition.sending?.(exporter.config)?.queue
    return queue !== undefined && !queue.waitForResult && queue.storage === undefined
  })
  return [
    ...held.map((id) => `${id} lets go of it`),
    ...queued.map((id) => `${id} has sent it, whose queue has no storage`),
  ]
}

/**
 * True when an exporter behind this pipeline sends without a queue or waits for the result: a stage that
 * would acknowledge on acceptance then waits too, so that the sender hears of a refusal. Exporters that
 * stay on this machine (debug, file, pull, nop) take what they get and do not count.
 */
export function mustHoldCaller(config: ServiceConfig, pipeline: PipelineConfig, seen: Set<string>): boolean {
  if (seen.has(pipeline.id)) return false
  seen.add(pipeline.id)
  return pipeline.exporters.some((id) => {
    const exporter = config.exporters.get(id)
    if (exporter !== undefined) {
      const sending = exporter.definition.sending?.(exporter.config)
      if (sending === undefined) return false
      return sending.queue === undefined ? sending.local !== true : sending.queue.waitForResult
    }
    return config.service.pipelines.some(
      (target) => target.receivers.includes(id) && mustHoldCaller(config, target, seen),
    )
  })
}
