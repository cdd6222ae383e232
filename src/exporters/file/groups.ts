/**
 * `group_by`: which resources go to which file. The path of a file is the configured one with its `*` replaced by the
 * value of a resource attribute, and never leaves what stands before the `*`.
 */
import path from 'node:path'
import type { Batch } from '../../otlp/batch.ts'
import { ANY_VALUE, KEY_VALUE, RESOURCE, RESOURCE_SPANS } from '../../otlp/fields.ts'
import { FieldCursor, LEN, rangeEquals, readString } from '../../otlp/wire.ts'

/** Names of files and directories are limited by the file system anyway; this bounds what is asked of it. */
const LONGEST_SEGMENT = 1024

export interface Grouped {
  /** Chunks by path segment. */
  readonly groups: ReadonlyMap<string, Uint8Array[]>
  /** Chunks of resources that have no such attribute, or not as a string. */
  readonly without: readonly Uint8Array[]
}

const request = new FieldCursor()
const resources = new FieldCursor()
const resource = new FieldCursor()
const pair = new FieldCursor()
const value = new FieldCursor()

/** Sorts the Resource* messages of a batch by the value of this attribute. */
export function groupResources(batch: Batch, attribute: Uint8Array): Grouped {
  const groups = new Map<string, Uint8Array[]>()
  const without: Uint8Array[] = []
  for (const chunk of batch.chunks) {
    request.reset(chunk)
    while (request.next()) {
      if (request.number !== 1 || request.wireType !== LEN) continue
      const segment = segmentOf(request, attribute)
      const list = segment === undefined ? without : groups.get(segment)
      if (list) list.push(request.raw())
      else groups.set(segment ?? '', [request.raw()])
    }
  }
  return { groups, without }
}

// message ResourceSpans { Resource resource = 1; ... } message Resource { repeated KeyValue attributes = 1; ... }
function segmentOf(outer: FieldCursor, attribute: Uint8Array): string | undefined {
  resources.enter(outer)
  while (resources.next()) {
    if (resources.number !== RESOURCE_SPANS.resource || resources.wireType !== LEN) continue
    resource.enter(resources)
    while (resource.next()) {
      if (resource.number !== RESOURCE.attributes || resource.wireType !== LEN) continue
      const found = stringValue(pair.enter(resource), attribute)
      if (found !== undefined) return found
    }
  }
  return undefined
}

/** The string of a KeyValue with this key. */
function stringValue(cursor: FieldCursor, key: Uint8Array): string | undefined {
  let matches = false
  let found: string | undefined
  while (cursor.next()) {
    if (cursor.wireType !== LEN) continue
    if (cursor.number === KEY_VALUE.key) matches = rangeEquals(cursor.bytes, cursor.start, cursor.end, key)
    else if (cursor.number === KEY_VALUE.value) {
      value.enter(cursor)
      found = undefined
      while (value.next())
        if (value.number === ANY_VALUE.stringValue && value.wireType === LEN)
          found = readString(value.bytes, value.start, value.end)
    }
  }
  return matches ? found : undefined
}

/** The file of a segment. `..` in a segment, or a leading slash, leads nowhere above the prefix. */
export function groupPath(template: string, segment: string): string {
  const [prefix = '', suffix = ''] = template.split('*')
  const safe = segment.replaceAll('\0', '').slice(0, LONGEST_SEGMENT)
  const clean = path.posix.normalize(`/${safe}`).slice(1)
  return path.normalize(`${prefix}${clean}${suffix}`)
}
