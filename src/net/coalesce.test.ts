import { expect, test } from 'vitest'
import { coalesce } from './coalesce.ts'

test('large chunks stay as they are, runs of small ones become blocks', () => {
  const f = (sizes: number[], want: number[]) => {
    const chunks = sizes.map((size, index) => Buffer.alloc(size, index + 1))
    const blocks = coalesce(chunks, { smallBytes: 16_384, blockBytes: 65_536 })
    expect(blocks.map((block) => block.length)).toEqual(want)
    expect(Buffer.concat(blocks).equals(Buffer.concat(chunks))).toBe(true)
    for (const block of blocks)
      if (block.length >= 16_384 && sizes.includes(block.length)) expect(chunks).toContain(block)
  }
  f([], [])
  f([10], [10])
  f([10, 20], [30])
  f([36_000, 36_000], [36_000, 36_000])
  f([10, 36_000, 10, 10], [10, 36_000, 20])
  f(Array(12).fill(10_000), [70_000, 50_000])
})
