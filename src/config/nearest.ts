/**
 * "Did you mean": the nearest valid word by edit distance, with a swap of neighbours counted as one edit.
 */

/** Words longer than this are not compared; nobody mistypes them by a letter. */
const MAX_WORD_LENGTH = 64
const MAX_LISTED = 16

export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  if (word.length > MAX_WORD_LENGTH) return undefined
  const wanted = normalize(word)
  let best: string | undefined
  let bestDistance = Number.POSITIVE_INFINITY
  for (const candidate of candidates) {
    if (candidate.length > MAX_WORD_LENGTH) continue
    const compared = normalize(candidate)
    let distance = editDistance(wanted, compared)
    const limit = Math.max(1, Math.floor(Math.max(wanted.length, compared.length) / 3))
    if (distance > limit && wanted.length >= 4 && compared.startsWith(wanted)) distance = limit
    if (distance <= limit && distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

/** `; did you mean "x"?`, or the valid words when they are few, or nothing. */
export function hint(word: string, candidates: Iterable<string>, noun: string): string {
  const all = [...new Set(candidates)]
  const near = nearest(word, all)
  if (near !== undefined) return `; did you mean "${near}"?`
  if (all.length === 0 || all.length > MAX_LISTED) return ''
  return ` (${noun}: ${all.sort().join(', ')})`
}

function normalize(word: string): string {
  return word.toLowerCase().replace(/[-_ ]/g, '')
}

function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = []
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const substitution = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      let cost = Math.min((previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, substitution)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, (beforePrevious[j - 2] ?? 0) + 1)
      }
      row.push(cost)
    }
    beforePrevious = previous
    previous = row
  }
  return previous[b.length] ?? 0
}
