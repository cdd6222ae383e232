import { expect, test } from 'vitest'
import { ByteMap } from './byte-map.ts'

const key = (number: number, length = 8) => Buffer.alloc(length, String(number).padEnd(length, '.'))
const set = (map: ByteMap<number>, number: number, length?: number) => {
  const bytes = key(number, length)
  map.set(bytes, 0, bytes.length, number)
}
const get = (map: ByteMap<number>, number: number, length?: number) => {
  const bytes = Buffer.concat([Buffer.from('>'), key(number, length), Buffer.from('<')])
  return map.get(bytes, 1, bytes.length - 1)
}

test('what was set is found by a range of other bytes, however many there are', () => {
  const map = new ByteMap<number>(10_000)
  for (let number = 0; number < 5000; number++) set(map, number)
  expect(map.size).toBe(5000)
  for (let number = 0; number < 5000; number++) expect(get(map, number)).toBe(number)
  expect(get(map, 5000)).toBeUndefined()
  expect(get(map, 1, 9)).toBeUndefined()
})

test('begins anew when it is full, by number or by bytes; does not keep a key that is too long', () => {
  const byNumber = new ByteMap<number>(3)
  for (let number = 0; number < 4; number++) set(byNumber, number)
  expect([byNumber.size, get(byNumber, 2), get(byNumber, 3)]).toEqual([1, undefined, 3])

  const byBytes = new ByteMap<number>(1000, 50, 100)
  for (let number = 0; number < 2; number++) set(byBytes, number, 50)
  expect([byBytes.size, get(byBytes, 0, 50), get(byBytes, 1, 50)]).toEqual([2, 0, 1])
  set(byBytes, 2, 1)
  expect([byBytes.size, get(byBytes, 1, 50), get(byBytes, 2, 1)]).toEqual([1, undefined, 2])
  set(byBytes, 3, 50)
  set(byBytes, 4, 49)
  expect(byBytes.size).toBe(3)
  set(byBytes, 5, 51)
  expect([byBytes.size, get(byBytes, 5, 51)]).toEqual([3, undefined])
})
