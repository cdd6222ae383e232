import { expect, test } from 'vitest'
import { ByteArea } from './byte-area.ts'
import { FixedLabel, LabelName, LabelNames } from './labels.ts'

test('what is kept of a name is as large as the name: it holds no block of shared memory', () => {
  const name = new LabelName('http.route')
  expect(name.bytes.toString()).toBe('http.route')
  expect([name.bytes.buffer.byteLength, name.head.buffer.byteLength]).toEqual([10, 13])
  expect(new FixedLabel(new ByteArea(), name, 'v').bytes.buffer.byteLength).toBe(17)
})

test('a thousand names that came once keep kilobytes, not megabytes', () => {
  const names = new LabelNames('UnderscoreEscapingWithSuffixes', 'keep')
  let keptBytes = 0
  for (let index = 0; index < 1000; index++) {
    const key = Buffer.from(`label.${index}`)
    const { bytes, head } = names.get(key, 0, key.length)
    keptBytes += bytes.buffer.byteLength + head.buffer.byteLength
  }
  expect(keptBytes).toBeLessThan(50_000)
})
