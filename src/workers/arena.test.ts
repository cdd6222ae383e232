import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Arena } from './arena.ts'

test('what is put in stays untouched until it is freed, whatever comes and goes', () => {
  const action = fc.oneof(
    fc.record({ put: fc.integer({ min: 0, max: 300 }) }),
    fc.record({ free: fc.nat({ max: 20 }) }),
  )
  fc.assert(
    fc.property(fc.array(action, { maxLength: 200 }), (actions) => {
      const memory = new SharedArrayBuffer(1000)
      const arena = new Arena(memory)
      const view = new Uint8Array(memory)
      const held: { at: number; length: number; value: number }[] = []
      let value = 0
      for (const step of actions) {
        if ('put' in step) {
          value = (value + 1) & 255
          const at = arena.put(new Uint8Array(step.put).fill(value))
          if (at >= 0) held.push({ at, length: step.put, value })
          else expect(held.length).toBeGreaterThan(0)
        } else {
          const [gone] = held.splice(step.free % Math.max(1, held.length), 1)
          if (gone !== undefined) arena.free(gone.at)
        }
        for (const { at, length, value: wanted } of held) {
          expect(view.subarray(at, at + length).every((byte) => byte === wanted)).toBe(true)
        }
      }
    }),
  )
})

test('all of it can be used, and again when it is free', () => {
  const arena = new Arena(new SharedArrayBuffer(100))
  for (let round = 0; round < 5; round++) {
    const places = [arena.put(new Uint8Array(40)), arena.put(new Uint8Array(60))]
    expect(places).toEqual([0, 40])
    expect(arena.put(new Uint8Array(1))).toBe(-1)
    for (const place of places) arena.free(place)
  }
  expect(arena.put(new Uint8Array(101))).toBe(-1)
})
