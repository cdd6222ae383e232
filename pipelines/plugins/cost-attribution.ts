/**
 * Processor `cost_attribution`: says whose telemetry costs what. Every resource gets the attribute `cost.team` by its service, and the
 * counter `otelcol_processor_cost_attribution_bytes` grows by the encoded bytes of each team's items.
 */
import { type Counter, counter, defineProcessor, type Resource, z } from 'weir-collector'

const NOBODY = 'unassigned'

export default defineProcessor({
  type: 'cost_attribution',
  apiVersion: '^1',
  summary: 'Counts bytes by team, and marks resources with the team that pays.',
  config: z.strictObject({
    /** Team by service.name. */
    teams: z.record(z.string().min(1), z.string().min(1)),
    attribute: z.string().min(1).default('cost.team'),
  }),
  telemetry: {
    bytes: counter('processor_cost_attribution_bytes', 'By', 'Encoded bytes of items, by team and signal.', [
      'team',
      'signal',
    ]),
  },
  edit({ config, telemetry, signal }) {
    const teams = new Map(Object.entries(config.teams))
    // One for each team of the config and one for the others: senders cannot make more.
    const counters = new Map<string, Counter>()
    for (const team of [...teams.values(), NOBODY]) counters.set(team, telemetry.bytes.with({ team, signal }))
    const teamOf = ({ attributes }: Resource) => teams.get(attributes.text('service.name') ?? '') ?? NOBODY
    const count = (item: { readonly resource: Resource; view(): { readonly byteLength: number } }) =>
      counters.get(teamOf(item.resource))?.add(item.view().byteLength)
    return {
      resource(resource) {
        resource.attributes.set(config.attribute, teamOf(resource))
      },
      span: count,
      logRecord: count,
      dataPoint: count,
    }
  },
})
