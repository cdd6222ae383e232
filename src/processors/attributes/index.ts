/**
 * `attributes` processor: edits the attributes of spans, log records and data points, all of them or
 * those that `include` and `exclude` leave.
 *
 *     processors:
 *       attributes:
 *         include: { match_type: strict, services: [checkout] }
 *         actions:
 *           - key: card.number
 *             action: delete
 *
 * Items are edited as encoded bytes: an item that does not change is copied as it is, and a chunk in
 * which none does is handed on by reference. `include` is tested before `exclude`.
 */
import { defineProcessor } from '../../component/define.ts'
import { ConfigError } from '../../errors.ts'
import { AttributeList } from '../../otlp/attribute-list.ts'
import { type ItemEdit, KEEP, mapItems, WROTE } from '../../otlp/edit.ts'
import { LOG_RECORD, SPAN } from '../../otlp/fields.ts'
import { attributesFieldOf, type ItemWalker } from '../../otlp/item-walker.ts'
import { AttributeEditor } from '../attribute-actions/editor.ts'
import { config, foreignProperties } from './config.ts'
import { Matcher } from './matcher.ts'

export default defineProcessor({
  type: 'attributes',
  signals: ['traces', 'metrics', 'logs'],
  stability: 'stable',
  summary:
    'Edits attributes of spans, log records and data points, as resource does, with include and exclude.',
  capabilities: { mutatesData: false },
  config,
  telemetry: {},
  create({ id, config, signal, next }) {
    for (const block of ['include', 'exclude'] as const) {
      const foreign = config[block] === undefined ? [] : foreignProperties(config[block], signal)
      if (foreign.length > 0) {
        const message = `not for ${signal}: ${foreign.join(', ')}`
        throw new ConfigError([{ file: `processor ${id}`, line: 0, column: 0, path: block, message }])
      }
    }
    const include = config.include && new Matcher(config.include)
    const exclude = config.exclude && new Matcher(config.exclude)
    const editor = new AttributeEditor(config.actions)
    const list = new AttributeList()
    const edit: ItemEdit = (items, output) => {
      if (include !== undefined && !include.matches(items)) return KEEP
      if (exclude?.matches(items)) return KEEP
      list.load(items.bytes, items.start, items.end, attributesField(items))
      editor.edit(list)
      if (!list.changed) return KEEP
      list.writeInto(output)
      return WROTE
    }
    return {
      // Async, so that broken bytes reject instead of throwing.
      async consume(batch) {
        editor.begin(batch.context)
        include?.begin()
        exclude?.begin()
        return next.consume(mapItems(batch, edit))
      },
    }
  },
})

function attributesField(items: ItemWalker): number {
  if (items.signal === 'traces') return SPAN.attributes
  if (items.signal === 'logs') return LOG_RECORD.attributes
  return attributesFieldOf(items.dataField)
}
