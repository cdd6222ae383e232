/** The version of the plugin API, and the ranges that a plugin may ask for with `apiVersion`: `1`, `1.2`, `^1.0`, `~1.2`, `>=1.0 <3`. */

/** Rises in its first part when a plugin that worked may work no more, in its second when something is added. */
export const API_VERSION = '1.0.0'

const TERM = /^(\^|~|>=|<=|>|<|=)?v?(\d+)(?:\.(\d+|x|\*))?(?:\.(\d+|x|\*))?$/

type Version = readonly [number, number, number]

/** Undefined when `range` is no range. All terms have to hold; alternatives stand with `||` between them. */
export function satisfies(version: string, range: string): boolean | undefined {
  const wanted = parse(version)
  let holds = false
  for (const alternative of range.split('||')) {
    let all = true
    const terms = alternative.trim().split(/\s+/)
    for (const term of terms) {
      if (term === '*' || term === 'x') continue
      const match = TERM.exec(term)
      if (match === null) return undefined
      all &&= holdsFor(wanted, match)
    }
    holds ||= all
  }
  return holds
}

function parse(text: string): Version {
  const [major = 0, minor = 0, patch = 0] = text.split('.').map(Number)
  return [major, minor, patch]
}

function holdsFor(version: Version, match: RegExpExecArray): boolean {
  const [, operator = '', major, minor, patch] = match
  const parts = [major, minor, patch].map((part) =>
    part === undefined || /[x*]/.test(part) ? undefined : Number(part),
  )
  const low: Version = [parts[0] ?? 0, parts[1] ?? 0, parts[2] ?? 0]
  const given = parts.indexOf(undefined) < 0 ? 3 : parts.indexOf(undefined)
  switch (operator) {
    case '>=':
      return compare(version, low) >= 0
    case '>':
      return compare(version, given === 3 ? low : after(low, given)) >= (given === 3 ? 1 : 0)
    case '<':
      return compare(version, low) < 0
    case '<=':
      return given === 3 ? compare(version, low) <= 0 : compare(version, after(low, given)) < 0
    case '^':
      // Up to the next change of the first part that is not 0.
      return (
        compare(version, low) >= 0 && compare(version, after(low, low[0] > 0 ? 1 : low[1] > 0 ? 2 : 3)) < 0
      )
    case '~':
      return compare(version, low) >= 0 && compare(version, after(low, Math.min(given, 2))) < 0
    default:
      return compare(version, low) >= 0 && compare(version, after(low, given)) < 0
  }
}

/** The first version that differs in the first `parts` parts. */
function after([major, minor, patch]: Version, parts: number): Version {
  if (parts <= 1) return [major + 1, 0, 0]
  return parts === 2 ? [major, minor + 1, 0] : [major, minor, patch + 1]
}

function compare(a: Version, b: Version): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2]
}
