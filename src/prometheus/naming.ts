/**
 * Names of metrics: from an OTLP name, unit and type to a Prometheus name, under one of the four translation strategies.
 *
 * The result is what the Go collector 0.155 gives for the same input, so that dashboards and alerts keep working:
 * values are never rescaled, only names change. An empty result means that the metric cannot be named and is skipped.
 */

export const STRATEGIES = [
  'UnderscoreEscapingWithSuffixes',
  'UnderscoreEscapingWithoutSuffixes',
  'NoUTF8EscapingWithSuffixes',
  'NoTranslation',
] as const
export type Strategy = (typeof STRATEGIES)[number]

export type MetricKind = 'gauge' | 'counter' | 'up_down_counter' | 'histogram' | 'summary'

export interface NamingOptions {
  readonly namespace: string
  readonly strategy: Strategy
}

/** True when names and labels keep what Prometheus 2 could not express. */
export function keepsUtf8(strategy: Strategy): boolean {
  return strategy === 'NoUTF8EscapingWithSuffixes' || strategy === 'NoTranslation'
}

/** `translation_strategy` decides; without it the deprecated `add_metric_suffixes` does. */
export function chooseStrategy(strategy: Strategy | '' | undefined, addMetricSuffixes: boolean): Strategy {
  if (strategy) return strategy
  return addMetricSuffixes ? 'UnderscoreEscapingWithSuffixes' : 'UnderscoreEscapingWithoutSuffixes'
}

const MAIN_UNITS: ReadonlyMap<string, string> = new Map([
  ['d', 'days'],
  ['h', 'hours'],
  ['min', 'minutes'],
  ['s', 'seconds'],
  ['ms', 'milliseconds'],
  ['us', 'microseconds'],
  ['ns', 'nanoseconds'],
  ['By', 'bytes'],
  ['KiBy', 'kibibytes'],
  ['MiBy', 'mebibytes'],
  ['GiBy', 'gibibytes'],
  ['TiBy', 'tibibytes'], // Spelled as the Go collector spells it: the name is part of users' queries.
  ['KBy', 'kilobytes'],
  ['MBy', 'megabytes'],
  ['GBy', 'gigabytes'],
  ['TBy', 'terabytes'],
  ['m', 'meters'],
  ['V', 'volts'],
  ['A', 'amperes'],
  ['J', 'joules'],
  ['W', 'watts'],
  ['g', 'grams'],
  ['Cel', 'celsius'],
  ['Hz', 'hertz'],
  ['1', ''],
  ['%', 'percent'],
])

const PER_UNITS: ReadonlyMap<string, string> = new Map([
  ['s', 'second'],
  ['m', 'minute'],
  ['h', 'hour'],
  ['d', 'day'],
  ['w', 'week'],
  ['mo', 'month'],
  ['y', 'year'],
])

/** The words for the two sides of a unit: `By/s` is `bytes` and `per_second`. */
function unitWords(unit: string): { main: string; per: string } {
  const slash = unit.indexOf('/')
  const mainSide = (slash < 0 ? unit : unit.slice(0, slash)).trim()
  const perSide = slash < 0 ? '' : unit.slice(slash + 1).trim()
  const main = /[{}]/.test(mainSide) ? '' : (MAIN_UNITS.get(mainSide) ?? mainSide)
  const perWord = /[{}]/.test(perSide) ? '' : (PER_UNITS.get(perSide) ?? perSide)
  return { main, per: perWord === '' ? '' : `per_${perWord}` }
}

function cleanWord(word: string): string {
  return word
    .replace(/[^A-Za-z0-9:]/gu, '_')
    .replace(/_+/g, '_')
    .replace(/^_/, '')
}

/** The unit as it appears in metadata: the words of the name, `bytes_per_second`. */
export function unitName(unit: string, strategy: Strategy): string {
  const { main, per } = unitWords(unit)
  const clean = (word: string) => (keepsUtf8(strategy) ? word : cleanWord(word).replace(/_$/, ''))
  return [clean(main), clean(per)].filter((word) => word !== '').join('_')
}

/** Empty when nothing usable is left of the name. */
export function metricName(name: string, unit: string, kind: MetricKind, options: NamingOptions): string {
  switch (options.strategy) {
    case 'UnderscoreEscapingWithSuffixes':
      return usable(escapedWithSuffixes(name, unit, kind, options.namespace), name)
    case 'UnderscoreEscapingWithoutSuffixes':
      return usable(escapedPlain(name, options.namespace), name)
    case 'NoUTF8EscapingWithSuffixes':
      return name === '' ? '' : utf8WithSuffixes(withNamespace(name, options.namespace), unit, kind)
    case 'NoTranslation':
      return name === '' ? '' : withNamespace(name, options.namespace)
  }
}

/** The name of target_info. */
export function targetInfoName({ namespace, strategy }: NamingOptions): string {
  if (namespace === '' || keepsUtf8(strategy)) return withNamespace('target_info', namespace)
  const joined = `${legalNamespace(namespace)}_target_info`
  return /^[0-9]/.test(joined) ? `_${joined}` : joined
}

function usable(result: string, name: string): string {
  return result !== name && /^_*$/.test(result) ? '' : result
}

function withNamespace(name: string, namespace: string): string {
  return namespace === '' ? name : `${namespace}_${name}`
}

function escapedWithSuffixes(name: string, unit: string, kind: MetricKind, namespace: string): string {
  let tokens = name.split(/[^A-Za-z0-9:]+/u).filter((token) => token !== '')
  const words = unitWords(unit)
  let main = cleanWord(words.main)
  let per = cleanWord(words.per)
  if (tokens.includes(main)) main = ''
  if (per === 'per_') per = ''
  per = per.replace(/_$/, '')
  if (tokens.includes(per)) per = ''
  if (per !== '') main = main.replace(/_$/, '')
  if (main !== '') tokens.push(main)
  if (per !== '') tokens.push(per)
  if (kind === 'counter') tokens = [...tokens.filter((token) => token !== 'total'), 'total']
  if (unit === '1' && kind === 'gauge') tokens = [...tokens.filter((token) => token !== 'ratio'), 'ratio']
  if (namespace !== '') tokens.unshift(legalNamespace(namespace))
  const joined = tokens.join('_')
  return /^[0-9]/.test(joined) ? `_${joined}` : joined
}

function legalNamespace(namespace: string): string {
  return namespace.replace(/[^A-Za-z0-9:_]/gu, '_')
}

function escapedPlain(name: string, namespace: string): string {
  const words = (text: string) =>
    text
      .split(/[^A-Za-z0-9:_]+/u)
      .filter((token) => token !== '')
      .join('_')
  const plain = words(name)
  if (namespace !== '') {
    const joined = `${words(namespace)}_${plain}`
    return /^[0-9]/.test(joined) ? `_${joined}` : joined
  }
  return /^[0-9]/.test(plain) ? `_${plain}` : plain
}

/** The name keeps its characters; a suffix that is there already is taken off and put where it belongs. */
function utf8WithSuffixes(given: string, unit: string, kind: MetricKind): string {
  const { main, per } = unitWords(unit)
  const last = unit === '1' && kind === 'gauge' ? 'ratio' : kind === 'counter' ? 'total' : ''
  let name = last === '' ? given : withoutSuffix(given, last)
  if (per !== '') name = withoutSuffix(name, per)
  if (main !== '' && !name.endsWith(main)) name += `_${main}`
  if (per !== '') name += `_${per}`
  return last === '' ? name : `${name}_${last}`
}

/** Takes off a suffix together with the one character in front of it. */
function withoutSuffix(name: string, suffix: string): string {
  return name.endsWith(suffix) && name.length > suffix.length + 1 ? name.slice(0, -suffix.length - 1) : name
}

/**
 * How attribute keys become label names where they are escaped to `[A-Za-z0-9_]`; both forms are the Go collector's.
 * `collapse` (series of remote write): runs of other characters and of `_` become one `_`, a leading `_` gets the prefix
 * `key`, `__x__` stays reserved. `keep` (pull exporter, and target_info of both): every other character becomes its own
 * `_`. A leading digit gets the prefix `key_` in both.
 */
export type LabelStyle = 'collapse' | 'keep'

export function labelName(key: string, strategy: Strategy, style: LabelStyle): string {
  if (keepsUtf8(strategy) || key === '') return key
  if (style === 'keep') {
    const escaped = key.replace(/[^A-Za-z0-9_]/gu, '_')
    return /^[0-9]/.test(escaped) ? `key_${escaped}` : escaped
  }
  const reserved = key.length >= 4 && key.startsWith('__') && key.endsWith('__')
  if (reserved) return `__${escapeRuns(key.slice(2, -2))}__`
  const name = escapeRuns(key)
  if (/^[0-9]/.test(name)) return `key_${name}`
  return name.startsWith('_') ? `key${name}` : name
}

function escapeRuns(text: string): string {
  return text.replace(/[^A-Za-z0-9]+/gu, '_')
}
