/**
 * `--feature-gates=a,+b,-c`: start scripts of other collectors name gates. Weir has none to switch: the table
 * says for each known gate what is the case here. Asking for what is the case is fine; anything else is a
 * warning, never an error.
 */
import type { ConfigProblem } from '../errors.ts'
import { hint } from './nearest.ts'

export interface FeatureGate {
  readonly id: string
  readonly enabled: boolean
  readonly stage: 'alpha' | 'stable'
  readonly description: string
}

const on = (id: string, description: string): FeatureGate => ({
  id,
  enabled: true,
  stage: 'stable',
  description,
})
const off = (id: string, description: string): FeatureGate => ({
  id,
  enabled: false,
  stage: 'alpha',
  description,
})

export const FEATURE_GATES: readonly FeatureGate[] = [
  off('confmap.enableMergeAppendOption', 'Lists of a later source replace those of an earlier one.'),
  on(
    'exporter.prometheusremotewritexporter.enableSendingRW2',
    'Remote write 2.0 is chosen by protobuf_message.',
  ),
  off('extension.healthcheck.useComponentStatus', 'health_check tells whether the pipelines run.'),
  off('receiverhelper.newReceiverMetrics', 'Receivers count accepted and refused items.'),
  off('service.AllowNoPipelines', 'A configuration needs at least one pipeline.'),
  on('service.partialReload', 'A reload leaves listeners that did not change open.'),
  off('service.profilesSupport', 'Profiles pipelines are not supported.'),
]

export function gateIds(lists: readonly string[]): string[] {
  return lists.flatMap((list) => list.split(',')).flatMap((word) => (word.trim() === '' ? [] : [word.trim()]))
}

/** A warning for each gate that is unknown or asked to be what it is not. */
export function gateWarnings(lists: readonly string[]): ConfigProblem[] {
  const place = { file: '--feature-gates', line: 0, column: 0 }
  const warnings: ConfigProblem[] = []
  for (const word of gateIds(lists)) {
    const wanted = !word.startsWith('-')
    const id = word.replace(/^[-+]/, '')
    const gate = FEATURE_GATES.find((one) => one.id === id)
    if (!gate) {
      const ids = FEATURE_GATES.map((one) => one.id)
      warnings.push({ ...place, path: id, message: `unknown feature gate, ignored${hint(id, ids, 'known')}` })
    } else if (gate.enabled !== wanted) {
      const state = gate.enabled ? 'always on' : 'always off'
      warnings.push({ ...place, path: id, message: `${state}: ${gate.description}` })
    }
  }
  return warnings
}
