import { expect, test } from 'vitest'
import { differencesOf, matchItems } from './match.ts'

const names = (items: readonly Readonly<Record<string, unknown>>[]) => items.map(({ name }) => name)

test('only what is named is compared, in any order', () => {
  const came = [
    { name: 'b', duration: 2, attributes: { x: 1, y: 2 } },
    { name: 'a', duration: 1, attributes: {} },
  ]
  const matched = matchItems([{ name: 'a' }, { name: 'b', attributes: { x: 1 } }], came, false)
  expect(names(matched.equal).sort()).toEqual(['a', 'b'])
  expect([matched.missing, matched.different, matched.unexpected]).toEqual([[], [], []])
})

test('an item that says little does not take the only partner of one that says more', () => {
  const came = [
    { name: 'a', trace: 't1' },
    { name: 'a', trace: 't2' },
  ]
  const f = (wanted: { name: string; trace?: string }[]) => matchItems(wanted, came, false).equal.length
  expect(f([{ name: 'a' }, { name: 'a', trace: 't1' }])).toBe(2)
  expect(f([{ name: 'a' }, { name: 'a', trace: 't2' }])).toBe(2)
  expect(
    f([
      { name: 'a', trace: 't2' },
      { name: 'a', trace: 't2' },
    ]),
  ).toBe(1)
})

test('what is left is put beside what it is most like, or is missing', () => {
  const came = [
    { name: 'GET /', trace: 't1', duration: 5 },
    { name: 'GET /', trace: 't2', duration: 5 },
    { name: 'other', trace: 't3' },
  ]
  const { different, missing, unexpected } = matchItems(
    [
      { name: 'GET /', trace: 't2', duration: 6 },
      { name: 'gone', trace: 't9' },
    ],
    came,
    false,
  )
  expect(different.map(({ differences }) => differences)).toEqual([
    [{ path: 'duration', wanted: 6, came: 5 }],
  ])
  expect(names(missing)).toEqual(['gone'])
  expect(unexpected.map(({ trace }) => trace)).toEqual(['t1', 't3'])
})

test('null says that a key must not be there; exact that no other may', () => {
  const came = { attributes: { kept: 'x', 'user.email': 'y' }, resource: { 'service.name': 's' } }
  const f = (wanted: Record<string, unknown>, exact: boolean, want: string[]) =>
    expect(differencesOf(wanted, came, exact).map(({ path }) => path)).toEqual(want)
  f({ attributes: { 'user.email': null } }, false, ['attributes.user.email'])
  f({ attributes: { gone: null, kept: 'x' } }, false, [])
  f({ attributes: { kept: 'x' } }, true, ['attributes.user.email'])
  f({ resource: {} }, true, []) // The service is a field of its own.
})

test('status is a word or whole, events have an order', () => {
  const came = {
    status: { code: 'error', message: 'no' },
    events: [
      { name: 'a', at: 1, attributes: {} },
      { name: 'b', at: 2, attributes: { x: 1 } },
    ],
  }
  const f = (wanted: Record<string, unknown>, want: string[]) =>
    expect(differencesOf(wanted, came, false).map(({ path }) => path)).toEqual(want)
  f({ status: 'error' }, [])
  f({ status: 'ok' }, ['status'])
  f({ status: { code: 'error', message: 'yes' } }, ['status'])
  f({ events: [{ name: 'a' }, { name: 'b', attributes: { x: 1 } }] }, [])
  f({ events: [{ name: 'b' }, { name: 'a' }] }, ['events[0].name', 'events[1].name'])
  f({ events: [{ name: 'a' }] }, ['events'])
})

test('more pairs than can be compared are compared place by place', () => {
  const many = Array.from({ length: 2000 }, (_, index) => ({ name: `n${index}` }))
  expect(matchItems(many, many, false).equal).toHaveLength(2000)
})
