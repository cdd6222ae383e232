import { describe, expect, test } from 'vitest'
import { formatProblem } from '../errors.ts'
import { toPlain } from './node.ts'
import { parseYaml } from './parse.ts'
import { Report } from './report.ts'

function parse(text: string): unknown {
  const report = new Report()
  const entry = parseYaml(text, 'f', report)
  return entry ? toPlain(entry.value) : report.problems.map(formatProblem)
}

describe('YAML as the Go collector reads it', () => {
  const f = (text: string, want: unknown) => expect(parse(text)).toEqual(want)

  test('scalars', () => {
    f('[1, 0x1f, 0o17, 017, 0b101, 1_000, 1.5, 1e3, .5, -3]', [1, 31, 15, 15, 5, 1000, 1.5, 1000, 0.5, -3])
    f('[true, False, null, ~, yes, on, 089]', [true, false, null, null, 'yes', 'on', 89])
    f('[5s, 1:30, 2024-01-02, "1", !!str 1, 0.0.0.0:4317]', [
      '5s',
      '1:30',
      '2024-01-02',
      '1',
      '1',
      '0.0.0.0:4317',
    ])
    f('a: |\n  two\n  lines\nb: >-\n  one\n  line\n', { a: 'two\nlines\n', b: 'one line' })
  })

  test('keys are words, whatever they look like', () => {
    f('{1: a, true: b, null: c, 010: d, constructor: e}', {
      1: 'a',
      true: 'b',
      null: 'c',
      '010': 'd',
      constructor: 'e',
    })
    f('? a\n: 1', { a: 1 })
    f('? [a]\n: 1', ['f:1:3: a key has to be a plain word'])
  })

  test('anchors are copied, and merge keys give way to what is there', () => {
    f('a: &x {b: 1, c: 2}\nd: *x\ne: {<<: *x, c: 3}\nf: {c: 4, <<: [{c: 5, g: 6}, *x]}', {
      a: { b: 1, c: 2 },
      d: { b: 1, c: 2 },
      e: { b: 1, c: 3 },
      f: { b: 1, c: 4, g: 6 },
    })
    f('a: &x 1\nb: &x 2\nc: *x', { a: 1, b: 2, c: 2 })
    f('"<<": 1', { '<<': 1 })
    f('<<: 1', ['f:1:5: a merge key "<<" takes a map or a list of maps'])
  })

  test('byte order mark, CRLF and comments', () => {
    f('\ufeffa: 1\r\n# note\r\nb:\r\n  - x # y\r\n', { a: 1, b: ['x'] })
  })
})

describe('limits', () => {
  const f = (text: string, want: RegExp) => {
    const said = parse(text)
    expect(said).toHaveLength(1)
    expect((said as string[])[0]).toMatch(want)
  }

  test('depth, in flow and block style, through aliases and keys', () => {
    f('['.repeat(500_000), /^f:1:\d+: nested deeper than 100 levels$/)
    f('{a: '.repeat(200_000), /nested deeper/)
    f('- '.repeat(400_000), /nested deeper/)
    f('? '.repeat(400_000), /nested deeper/)
    f(Array.from({ length: 1000 }, (_, i) => `${' '.repeat(i)}a:`).join('\n'), /nested deeper/)
    f('a: &a {b: *a}', /nested deeper/)
    expect(parse(`${'['.repeat(90)}${']'.repeat(90)}`)).toHaveLength(1)
  })

  test('size of the result and number of tokens', () => {
    const lines = ['a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]']
    for (let i = 1; i < 12; i++)
      lines.push(
        `a${i}: &a${i} [${Array(9)
          .fill(`*a${i - 1}`)
          .join(', ')}]`,
      )
    f(lines.join('\n'), /more than 50000 values, aliases counted/)
    f('a: 1\n'.repeat(100_000), /more than 150000 tokens/)
  })

  test('many different keys are no problem of time, and each twice-named one is told', () => {
    const keys = Array.from({ length: 20_000 }, (_, i) => `k${i}: 1`).join('\n')
    expect(Object.keys(parse(keys) as object)).toHaveLength(20_000)
    f(`${keys}\nk7: 2`, /^f:20001:1: the key "k7" is there twice; first in line 8$/)
  })

  test('no key reaches a prototype', () => {
    f('a: {__proto__: {polluted: 1}}', /"__proto__" is not allowed/)
    f('a: {<<: {__proto__: {polluted: 1}}}', /"__proto__" is not allowed/)
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
  })
})
