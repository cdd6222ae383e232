/**
 * Connector `tenant_routing`: sends each tenant's data to pipelines of its own. The tenant is an attribute of the resource; tenants that
 * are not in the table go to the `default` pipelines, or, without these, are dropped and counted.
 */
import { type Consumer, counter, defineConnector, groupByResource, z } from 'weir-collector'

const pipelines = z.array(z.string().min(1)).min(1)

export default defineConnector({
  type: 'tenant_routing',
  apiVersion: '^1',
  summary: 'Routes by an attribute of the resource.',
  config: z.strictObject({
    attribute: z.string().min(1).default('tenant.id'),
    tenants: z.record(z.string().min(1), pipelines),
    default: pipelines.optional(),
  }),
  telemetry: {
    dropped: counter('connector_tenant_routing_dropped', '{item}', 'Items of tenants without a pipeline.'),
  },
  create({ config, next, to, telemetry }) {
    // Only pipelines of this signal are behind this instance: a tenant may list those of all signals.
    const find = (ids: readonly string[] = []): Consumer[] =>
      ids.filter((id) => id.split('/')[0] === to).map((id) => known(next, id))
    const fallback = find(config.default)
    const byTenant = new Map(Object.entries(config.tenants).map(([tenant, ids]) => [tenant, find(ids)]))
    return {
      async consume(batch) {
        const groups = groupByResource(batch, ({ attributes }) => attributes.text(config.attribute) ?? '')
        const sent: Promise<void>[] = []
        for (const [tenant, part] of groups) {
          const targets = byTenant.get(tenant) ?? fallback
          if (targets.length === 0) telemetry.dropped.add(part.itemCount)
          for (const target of targets) sent.push(target.consume(part))
        }
        await Promise.all(sent)
      },
    }
  },
})

function known(next: ReadonlyMap<string, Consumer>, id: string): Consumer {
  const found = next.get(id)
  if (found === undefined) throw new Error(`pipeline "${id}" does not take data from this connector`)
  return found
}
