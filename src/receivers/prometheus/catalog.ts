/**
 * Resources, scopes, families and groups of one target: finds the group that a set of labels belongs to, or
 * makes it.
 */
import { writeAttribute } from '../../otlp/attributes.ts'
import { HISTOGRAM_DATA_POINT, NUMBER_DATA_POINT, SUMMARY_DATA_POINT } from '../../otlp/fields.ts'
import { WireWriter } from '../../otlp/wire.ts'
import { Family, type FamilyKind, Group, type Metadata } from './families.ts'
import type { Labels } from './relabel.ts'
import { isScopeLabel, Resource, resourceAttributes, Scope, scopeKey } from './resource.ts'
import type { ScrapeOptions } from './sample-labels.ts'
import { NAME_LABEL } from './series-labels.ts'
import type { Slab } from './slab.ts'

const ATTRIBUTES_FIELD: Readonly<Record<FamilyKind, number>> = {
  gauge: NUMBER_DATA_POINT.attributes,
  sum: NUMBER_DATA_POINT.attributes,
  histogram: HISTOGRAM_DATA_POINT.attributes,
  summary: SUMMARY_DATA_POINT.attributes,
}

export class Catalog {
  readonly resources = new Map<string, Resource>()
  readonly #options: ScrapeOptions
  readonly #slab: Slab

  constructor(options: ScrapeOptions, slab: Slab) {
    this.#options = options
    this.#slab = slab
  }

  resourceOf(labels: Labels): Resource {
    const { labels: own, discovered } = this.#options
    const job = labels.get('job') ?? own.get('job') ?? ''
    const instance = labels.get('instance') ?? own.get('instance') ?? ''
    const key = `${job}\u0000${instance}`
    let resource = this.resources.get(key)
    if (!resource) {
      resource = new Resource(resourceAttributes(job, instance, discovered))
      this.resources.set(key, resource)
    }
    return resource
  }

  groupOf(labels: Labels, kind: FamilyKind, familyName: string, metadata: Metadata): Group {
    const { scopes } = this.resourceOf(labels)
    const sorted: Labels = new Map([...labels].sort(([a], [b]) => (a < b ? -1 : 1)))
    const scopeId = scopeKey(sorted)
    let scope = scopes.get(scopeId)
    if (!scope) {
      scope = new Scope(scopeId, sorted)
      scopes.set(scopeId, scope)
    }
    const familyId = `${familyName}\u0000${metadata.type}\u0000${metadata.unit}\u0000${metadata.help}`
    let family = scope.families.get(familyId)
    if (!family) {
      family = new Family(familyId, familyName, metadata, kind, this.#options.trimSuffixes)
      scope.families.set(familyId, family)
    }
    const writer = new WireWriter(128)
    for (const [key, value] of sorted) {
      if (key === NAME_LABEL || key === 'job' || key === 'instance' || isScopeLabel(key)) continue
      writeAttribute(writer, ATTRIBUTES_FIELD[kind], key, value)
    }
    const view = writer.view()
    const groupId = Buffer.from(view.buffer, view.byteOffset, view.length).toString('latin1')
    let group = family.groups.get(groupId)
    if (!group) {
      group = new Group(family, groupId, this.#slab.copy(view))
      family.groups.set(groupId, group)
    }
    return group
  }
}
