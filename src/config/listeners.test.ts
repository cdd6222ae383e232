import { expect, test } from 'vitest'
import type { ListenerClaim } from '../component/define.ts'
import { checkListeners } from './listeners.ts'

test('which endpoints meet on a port', () => {
  const f = (first: string, second: string, want: boolean, transport?: ListenerClaim['transport']) => {
    for (const pair of [
      [first, second],
      [second, first],
    ]) {
      const told: string[] = []
      const claims = pair.map((endpoint, i) => ({ path: [`p${i}`], endpoint, transport }))
      checkListeners(claims, (_path, message) => told.push(message))
      expect([...pair, told.length > 0]).toEqual([...pair, want])
    }
  }
  f('localhost:4317', 'localhost:4317', true)
  f('localhost:4317', 'localhost:4318', false)
  f('localhost:0', 'localhost:0', false)
  f('localhost:4317', '127.0.0.1:4317', true)
  f('localhost:4317', '[::1]:4317', true)
  f('127.0.0.1:4317', '127.0.0.2:4317', false)
  f('0.0.0.0:4317', '127.0.0.1:4317', true)
  f('0.0.0.0:4317', 'localhost:4317', true)
  f('0.0.0.0:4317', '[::1]:4317', false)
  f('0.0.0.0:4317', '[::]:4317', true)
  f(':4317', '10.0.0.1:4317', true)
  f(':4317', '[::1]:4317', true)
  f(':4317', '[::1]:4317', false, 'tcp4')
  f('HOST:4317', 'host:4317', true)
  f('host-a:4317', 'host-b:4317', false)
  f('/run/a.sock', '/run/a.sock', true, 'unix')
  f('/run/a.sock', '/run/b.sock', false, 'unix')
  f('nonsense', 'localhost:1', true)
})
