/**
 * What happens to the labels of a sample before it is sorted in: labels of the target, relabelling, limits.
 */
import { InvalidError, TooLargeError } from '../../errors.ts'
import type { Labels, Relabel } from './relabel.ts'
import { NAME_LABEL } from './series-labels.ts'

export interface ScrapeLimits {
  readonly sampleLimit: number
  readonly labelLimit: number
  readonly labelNameLengthLimit: number
  readonly labelValueLengthLimit: number
}

export interface ScrapeOptions {
  /** Labels of the target, job and instance among them. */
  readonly labels: Labels
  readonly discovered: Labels
  readonly externalLabels: Labels
  readonly honorLabels: boolean
  readonly honorTimestamps: boolean
  readonly trackTimestampsStaleness: boolean
  readonly trimSuffixes: boolean
  /** Only names of `[a-zA-Z0-9_:]` are taken. */
  readonly legacyNames: boolean
  readonly relabel: Relabel
  readonly limits: ScrapeLimits
}

const LEGACY_NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/
const LEGACY_LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*$/

/**
 * Adds the labels of the target and relabels; false = the sample is dropped. Throws InvalidError for a name
 * that is not legacy.
 */
export function relabelSample(labels: Labels, options: ScrapeOptions): boolean {
  const { labels: own, honorLabels, relabel, legacyNames } = options
  for (const [name, value] of own) {
    const clash = labels.get(name)
    if (clash === undefined) labels.set(name, value)
    else if (!honorLabels) {
      let renamed = `exported_${name}`
      while (labels.has(renamed) || own.has(renamed)) renamed = `exported_${renamed}`
      labels.set(renamed, clash)
      labels.set(name, value)
    }
  }
  if (!relabel(labels)) return false
  const name = labels.get(NAME_LABEL)
  if (!name) return false
  if (legacyNames) {
    if (!LEGACY_NAME.test(name)) throw new InvalidError(`"${name.slice(0, 50)}" is no valid metric name`)
    for (const key of labels.keys())
      if (!LEGACY_LABEL.test(key)) throw new InvalidError(`"${key.slice(0, 50)}" is no valid label name`)
  }
  return true
}

/** Throws TooLargeError: one series over a limit fails the whole scrape. */
export function checkLimits(labels: Labels, limits: ScrapeLimits): void {
  const { labelLimit, labelNameLengthLimit, labelValueLengthLimit } = limits
  const about = () => `metric ${(labels.get(NAME_LABEL) ?? '').slice(0, 50)}`
  if (labelLimit > 0 && labels.size > labelLimit)
    throw new TooLargeError(`label_limit exceeded (${about()}, ${labels.size} labels, limit ${labelLimit})`)
  if (labelNameLengthLimit <= 0 && labelValueLengthLimit <= 0) return
  for (const [name, value] of labels) {
    const label = `label ${name.slice(0, 50)}`
    if (labelNameLengthLimit > 0 && Buffer.byteLength(name) > labelNameLengthLimit)
      throw new TooLargeError(
        `label_name_length_limit exceeded (${about()}, ${label}, limit ${labelNameLengthLimit})`,
      )
    if (labelValueLengthLimit > 0 && Buffer.byteLength(value) > labelValueLengthLimit)
      throw new TooLargeError(
        `label_value_length_limit exceeded (${about()}, ${label}, limit ${labelValueLengthLimit})`,
      )
  }
}

/** `le` and `quantile`: NaN for what is no number. */
export function numberOf(text: string): number {
  if (/^[+]?inf$/i.test(text)) return Infinity
  if (/^-inf$/i.test(text)) return -Infinity
  return text === '' ? Number.NaN : Number(text)
}
