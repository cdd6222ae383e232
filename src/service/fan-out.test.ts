import { expect, test } from 'vitest'
import { track } from '../../test/support/delivery.ts'
import { traces } from '../../test/support/otlp.ts'
import type { Consumer } from '../component/define.ts'
import { DownstreamError, RetryableError } from '../errors.ts'
import type { Delivery } from '../otlp/delivery.ts'
import { fanOut } from './fan-out.ts'

const branch = (consume: Consumer['consume']) => ({ consumer: { consume }, mutatesData: false })
const batch = traces({ resource: {}, spans: ['a'] })

test('a request is done when every branch is', async () => {
  const held: Delivery[] = []
  const holding = branch(async ({ context: { delivery } }) => {
    delivery?.hold()
    if (delivery) held.push(delivery)
  })
  const request = track()
  await request.consume(fanOut([holding, holding]), batch)
  held[0]?.settle()
  expect(request.state).toBe('held')
  held[1]?.settle()
  expect(request.state).toBe('done')
})

test('a branch that may take it later counts for the log, one that never will for a sender', async () => {
  const later = branch(() => Promise.reject(new RetryableError('later')))
  const never = branch(() => Promise.reject(new DownstreamError('never')))
  const request = track()
  await request.consume(fanOut([never, later]), batch)
  expect(request.state).toMatchObject({ message: 'later' })
  await expect(fanOut([later, never]).consume(batch)).rejects.toThrow('never')
})
