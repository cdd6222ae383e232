/** Where the keys of a configuration are written, for what is found out after its check. */
import { merge } from './merge.ts'
import { type Entry, emptyMap, find, formatPath, type Path, type Place } from './node.ts'
import { Report } from './report.ts'
import { type Environment, readSetting, readSource } from './sources.ts'

export interface Places {
  /** Of the key at a path, or of the nearest one above it. */
  at(path: Path): Place
  format(path: Path): string
}

/** Reads the sources again, without expanding anything: they could be read before. */
export async function readPlaces(
  sources: readonly string[],
  sets: readonly string[],
  env: Environment,
): Promise<Places> {
  const report = new Report()
  const read = []
  for (const source of sources) read.push(await readSource(source, env, report))
  for (const set of sets) read.push(readSetting(set, report))
  let root: Entry | undefined
  for (const { entry } of read) if (entry) root = root ? merge(root, entry) : entry
  const place = { file: read[0]?.file ?? '', line: 0, column: 0 }
  const found = root ?? { keyPlace: place, value: emptyMap(place) }
  return { at: (path) => find(found, path).keyPlace, format: formatPath }
}
