import { expect, test } from 'vitest'
import { encodeTry, TRY_NOTE, Tries } from './tries.ts'

const record = (order: number) => ({ order, items: 1, byteLength: 1, crashes: 1 })
const note = (order: number, begins: boolean) => ({
  kind: TRY_NOTE,
  payload: encodeTry(record(order), begins),
})

test('a request that began three times and never ended is one too many; one that ended begins anew', () => {
  const f = (notes: ReturnType<typeof note>[], want: boolean) =>
    expect(new Tries(notes).tooMany(record(1_763_800_000_000_001))).toBe(want)
  const begins = note(1_763_800_000_000_001, true)
  const ends = note(1_763_800_000_000_001, false)
  const other = note(1_763_800_000_000_002, true)
  f([], false)
  f([begins, other, begins, other], false)
  f([begins, begins, other, begins], true)
  f([begins, begins, ends, begins], false)
  f([begins, begins, { kind: TRY_NOTE + 1, payload: begins.payload }], false)
})
