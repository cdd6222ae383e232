import { expect, test } from 'vitest'
import { createReceiver } from '../../test/support/create-test.ts'
import definition from './nop.ts'

test('it starts, sends nothing and stops', async () => {
  await using nop = createReceiver(definition, null)
  await nop.start()
  expect(nop.sink.batches).toEqual([])
  expect(nop.host.listeners).toEqual([])
  expect(() => definition.config.parse({ endpoint: 'x' })).toThrow(/endpoint/)
})
