import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { compileRelabel, relabelField } from './relabel.ts'

function relabel(rules: readonly object[], labels: Record<string, string>) {
  const map = new Map(Object.entries(labels))
  const kept = compileRelabel(relabelField().parse(rules) ?? [])(map)
  return kept ? Object.fromEntries(map) : 'dropped'
}
const f = (rule: object, labels: Record<string, string>, want: unknown) =>
  expect(relabel([rule], labels), JSON.stringify(rule)).toEqual(want)

test('replace is the default, anchored, with groups by number and name', () => {
  f({ source_labels: ['a'], target_label: 'b' }, { a: '1' }, { a: '1', b: '1' })
  f({ source_labels: ['a', 'b'], target_label: 'c' }, { a: '1', b: '2' }, { a: '1', b: '2', c: '1;2' })
  const port = { source_labels: ['a'], regex: '(.*):(\\d+)', target_label: 'p', replacement: '$2' }
  f(port, { a: 'host:80' }, { a: 'host:80', p: '80' })
  f(port, { a: 'host:80x' }, { a: 'host:80x' })
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the template of a rule.
  f({ ...port, replacement: '${2}x' }, { a: 'host:80' }, { a: 'host:80', p: '80x' })
  f({ ...port, replacement: '$2x' }, { a: 'host:80', p: 'old' }, { a: 'host:80' })
  f({ ...port, replacement: '$$2' }, { a: 'host:80' }, { a: 'host:80', p: '$2' })
  const named = { source_labels: ['a'], regex: '(?P<host>.*):\\d+', target_label: 'h', replacement: '$host!' }
  f(named, { a: 'x:1' }, { a: 'x:1', h: 'x!' })
  f({ source_labels: ['a'], target_label: 'to_$1' }, { a: 'x' }, { a: 'x', to_x: 'x' })
  f({ target_label: 'a', replacement: '' }, { a: 'x', b: 'y' }, { b: 'y' })
  f(
    { source_labels: ['a'], regex: 'a.b', target_label: 'c', replacement: 'hit' },
    { a: 'a\nb' },
    { a: 'a\nb', c: 'hit' },
  )
})

test('keep and drop match the whole text', () => {
  f({ action: 'keep', source_labels: ['a'], regex: 'x|y' }, { a: 'x' }, { a: 'x' })
  f({ action: 'keep', source_labels: ['a'], regex: 'x' }, { a: 'xx' }, 'dropped')
  f({ action: 'drop', source_labels: ['a'], regex: 'x' }, { a: 'x' }, 'dropped')
  f({ action: 'DROP', source_labels: ['a'], regex: 'x' }, { a: 'xx' }, { a: 'xx' })
  f({ action: 'drop', source_labels: ['gone'], regex: '' }, { a: 'x' }, 'dropped')
})

test('keepequal and dropequal compare with the target label', () => {
  f({ action: 'keepequal', source_labels: ['a'], target_label: 'b' }, { a: '1', b: '1' }, { a: '1', b: '1' })
  f({ action: 'keepequal', source_labels: ['a'], target_label: 'b' }, { a: '1', b: '2' }, 'dropped')
  f({ action: 'dropequal', source_labels: ['a'], target_label: 'b' }, { a: '1', b: '1' }, 'dropped')
  f({ action: 'dropequal', source_labels: ['a'], target_label: 'b' }, { a: '1', b: '2' }, { a: '1', b: '2' })
})

test('labelmap, labeldrop, labelkeep work on names', () => {
  f(
    { action: 'labelmap', regex: '__meta_(.+)' },
    { __meta_x: '1', y: '2' },
    { __meta_x: '1', y: '2', x: '1' },
  )
  f({ action: 'labeldrop', regex: 'a.*' }, { a: '1', ab: '2', b: '3' }, { b: '3' })
  f({ action: 'labelkeep', regex: 'a|b' }, { a: '1', ab: '2', b: '3' }, { a: '1', b: '3' })
})

test('lowercase, uppercase and hashmod write the target label', () => {
  f({ action: 'lowercase', source_labels: ['a'], target_label: 'b' }, { a: 'AbC' }, { a: 'AbC', b: 'abc' })
  f({ action: 'uppercase', source_labels: ['a'], target_label: 'a' }, { a: 'AbC' }, { a: 'ABC' })
  const sum = BigInt(`0x${createHash('md5').update('host:1').digest('hex').slice(16)}`)
  const hashmod = { action: 'hashmod', source_labels: ['a'], target_label: 'h', modulus: 7 }
  f(hashmod, { a: 'host:1' }, { a: 'host:1', h: String(sum % 7n) })
})

test('rules run in their order until one drops', () => {
  const rules = [
    { source_labels: ['a'], target_label: 'b' },
    { source_labels: ['b'], regex: 'x', action: 'keep' },
    { regex: 'b', action: 'labeldrop' },
  ]
  expect(relabel(rules, { a: 'x' })).toEqual({ a: 'x' })
  expect(relabel(rules, { a: 'y' })).toBe('dropped')
})

test('rules that cannot work are refused', () => {
  const bad = (rule: object, message: string) => {
    const result = relabelField().safeParse([rule])
    expect(result.error?.issues.map((issue) => issue.message).join(), JSON.stringify(rule)).toContain(message)
  }
  bad({ regex: '(' }, 'bad regular expression')
  bad({ source_labels: ['a'] }, 'needs target_label')
  bad({ action: 'hashmod', source_labels: ['a'], target_label: 'b' }, 'needs modulus')
  bad({ action: 'labeldrop', regex: 'a', source_labels: ['a'] }, 'nothing but regex')
  bad({ action: 'explode' }, 'Invalid option')
})
