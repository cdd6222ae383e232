/** Random logs: every record becomes one entry with a line, under at least one label, whatever is in it. */
import { expect, test } from 'vitest'
import { decodeMessage, type Plain } from '../../../test/support/otlp.ts'
import { randomRequest, seeded } from '../../../test/support/random-otlp.ts'
import { Batch } from '../../otlp/batch.ts'
import { config } from './config.ts'
import { encodePush, jsonBody } from './push-request.ts'
import { Converter, selectRecords } from './streams.ts'

test('random logs in every format: no record is lost, and a selection of all is all', () => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  let records = 0
  for (let round = 0; round < 150; round++) {
    const batch = new Batch('logs', [randomRequest('logs', seeded(seed + round)).bytes])
    for (const format of ['json', 'logfmt', 'raw', 'body'] as const) {
      const parsed = config.parse({
        endpoint: 'http://loki/push',
        format,
        structured_metadata: round % 2 === 0,
      })
      const converted = new Converter(parsed, 'tenant').convert(batch, 1_700_000_000_000)
      let entries = 0
      for (const push of converted.pushes) {
        const decoded = decodeMessage('logproto.PushRequest', encodePush(push))
        for (const stream of decoded.streams) {
          expect(stream.labels, `seed ${seed + round}`).toMatch(/^\{[a-zA-Z_][a-zA-Z0-9_]*="/)
          entries += stream.entries.length
        }
        const json = JSON.parse(Buffer.from(jsonBody(push)).toString())
        const inJson = json.streams.reduce((sum: number, stream: Plain) => sum + stream.values.length, 0)
        expect(inJson).toBe(push.records)
        if (format === 'json')
          for (const stream of push.streams.values())
            for (const entry of stream.entries) JSON.parse(entry.line)
      }
      expect(entries + converted.droppedRecords, `seed ${seed + round}`).toBe(batch.itemCount)
      if (converted.droppedRecords === 0)
        expect(selectRecords(batch, converted, new Set(converted.pushes)).itemCount).toBe(batch.itemCount)
      records += batch.itemCount
    }
  }
  expect(records).toBeGreaterThan(500)
})
