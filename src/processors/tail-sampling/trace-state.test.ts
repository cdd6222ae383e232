import { expect, test } from 'vitest'
import { TraceStateReader } from './trace-state.ts'

function f(header: string, want: string | undefined, key = 'rojo'): void {
  const bytes = Buffer.from(`??${header}??`)
  const reader = new TraceStateReader(Buffer.from(key))
  const found = reader.find(bytes, 2, bytes.length - 2)
  const value = found ? bytes.toString('utf8', reader.valueStart, reader.valueEnd) : undefined
  expect([header, value]).toEqual([header, want])
}

test('an entry is found by its key in a valid header', () => {
  f('rojo=00f067aa0ba902b7', '00f067aa0ba902b7')
  f('congo=t61rcWkgMzE,rojo=1', '1')
  f('congo=1, \trojo=a b c \t,x=1', 'a b c')
  f(',,rojo=1,,', '1')
  f('fw529a3039@dt=FfAxMzc', 'FfAxMzc', 'fw529a3039@dt')
  f('1tenant@sys=x', 'x', '1tenant@sys')
  f(`${'k'.repeat(256)}=1`, '1', 'k'.repeat(256))
  f(`rojo=${'v'.repeat(256)}`, 'v'.repeat(256))
  f(Array.from({ length: 32 }, (_, index) => (index === 31 ? 'rojo=1' : `k${index}=v`)).join(','), '1')
})

test('a header without the key, or a broken one, has no entry', () => {
  f('', undefined)
  f('congo=1', undefined)
  f('rojo', undefined)
  f('rojo=', undefined)
  f('=1', undefined)
  f('rojo =1', undefined)
  f('Rojo=1,rojo=1', undefined)
  f('1rojo=1,rojo=1', undefined)
  f('rojo=1,rojo=2', undefined)
  f('x=1,rojo=1,x=1', undefined)
  f('rojo=a=b', undefined)
  f('rojo=\u00e4', undefined)
  f('rojo=1,bro ken=1', undefined)
  f('a@b@c=1,rojo=1', undefined)
  f(`${'k'.repeat(257)}=1,rojo=1`, undefined)
  f(`rojo=${'v'.repeat(257)}`, undefined)
  f(Array.from({ length: 33 }, (_, index) => (index === 0 ? 'rojo=1' : `k${index}=v`)).join(','), undefined)
})
