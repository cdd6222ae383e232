/**
 * Joins what the shards answer to one scrape: the families of all, by name, each with one HELP and one TYPE.
 *
 * The samples of one series lie on one shard only, so nothing is added up. Where two shards know a name by different
 * types, the one that knew it first wins, and of equals the lower shard; the lines of the other are left out.
 *
 * message Part { repeated Family families = 1; }
 * message Family { string name = 1; string type = 2; string help = 3; uint64 since_ms = 4; bytes lines = 5; }
 */
import { FieldCursor, LEN } from '../../otlp/wire.ts'
import { WireWriter } from '../../otlp/wire-writer.ts'
import { ByteArea } from '../../prometheus/byte-area.ts'
import { type Form, openMetricsFamilyName, plainName, quoted, writeFamily } from './exposition.ts'
import type { FamilyStore } from './families.ts'

/** What one shard answers. */
export async function writePart(store: FamilyStore, form: Form): Promise<Uint8Array> {
  const writer = new WireWriter(64 * 1024)
  const area = new ByteArea(16 * 1024)
  for (const family of [...store.families.values()]) {
    area.length = 0
    await writeFamily(area, family, form)
    if (area.length === 0) continue
    writer.begin(1, area.length + family.help.length + 100)
    writer.string(1, family.name).string(2, family.type).string(3, family.help)
    writer.uintField(4, Math.max(0, Math.floor(family.sinceMs)))
    writer.tag(5, LEN).varint(area.length).rawRange(area.bytes, 0, area.length)
    writer.end()
  }
  return writer.finish()
}

interface Family {
  readonly name: string
  readonly type: string
  readonly help: string
  readonly sinceMs: number
  readonly lines: Uint8Array
}

function readPart(part: Uint8Array): Family[] {
  const families: Family[] = []
  const cursor = new FieldCursor(part)
  const field = new FieldCursor()
  while (cursor.next()) {
    let name = ''
    let type = ''
    let help = ''
    let sinceMs = 0
    let lines: Uint8Array = new Uint8Array(0)
    field.enter(cursor)
    while (field.next()) {
      if (field.number === 1) name = field.string()
      else if (field.number === 2) type = field.string()
      else if (field.number === 3) help = field.string()
      else if (field.number === 4) sinceMs = field.uint()
      else lines = field.value()
    }
    families.push({ name, type, help, sinceMs, lines })
  }
  return families
}

export interface Exposition {
  readonly chunks: readonly Uint8Array[]
  /** Names that shards know by different types. */
  readonly conflicts: readonly string[]
}

/** The whole exposition, families sorted by name. */
export function joinParts(parts: readonly Uint8Array[], form: Form): Exposition {
  const byName = new Map<string, Family[]>()
  for (const part of parts) {
    for (const family of readPart(part)) {
      const known = byName.get(family.name)
      if (known) known.push(family)
      else byName.set(family.name, [family])
    }
  }
  const chunks: Uint8Array[] = []
  const conflicts: string[] = []
  for (const name of [...byName.keys()].sort()) {
    const known = byName.get(name) ?? []
    const first = known.reduce((best, other) => (other.sinceMs < best.sinceMs ? other : best))
    chunks.push(Buffer.from(header(first, form)))
    for (const family of known) {
      if (family.type === first.type) chunks.push(family.lines)
      else conflicts.push(name)
    }
  }
  if (form.openMetrics) chunks.push(Buffer.from('# EOF\n'))
  return { chunks, conflicts }
}

function header(family: Family, form: Form): string {
  const { type, help } = family
  if (!form.openMetrics) {
    const name = headerName(family.name, form)
    const escaped = help.replace(/\\/g, '\\\\').replace(/\n/g, '\\n')
    return `# HELP ${name} ${escaped}\n# TYPE ${name} ${type}\n`
  }
  const name = headerName(openMetricsFamilyName(family.name, type), form)
  const escaped = quoted(help).slice(1, -1)
  // A counter has to end with _total in OpenMetrics; one that does not is shown without a type.
  const counter = type === 'counter' && !family.name.endsWith('_total')
  const shown = type === 'untyped' || counter ? 'unknown' : type
  return `# HELP ${name} ${escaped}\n# TYPE ${name} ${shown}\n`
}

function headerName(name: string, form: Form): string {
  return plainName(name, form) ?? quoted(name)
}
