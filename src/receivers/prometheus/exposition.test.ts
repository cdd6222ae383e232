import fc from 'fast-check'
import { expect, test } from 'vitest'
import { InvalidError } from '../../errors.ts'
import { Exposition, MAX_LINE_BYTES } from './exposition.ts'
import { readHelp, readLabels, readName } from './series-labels.ts'

const encode = (text: string) => new TextEncoder().encode(text)

/** All lines of a text as short descriptions. */
function read(text: string | Uint8Array, openMetrics = false): unknown[] {
  const bytes = typeof text === 'string' ? encode(text) : text
  const input = new Exposition(bytes, openMetrics)
  const lines: unknown[] = []
  for (let kind = input.next(); kind !== 'end'; kind = input.next()) {
    if (kind !== 'sample') {
      const name = readName(bytes, input.nameStart, input.nameEnd)
      lines.push([kind, name, readHelp(bytes, input.textStart, input.textEnd, openMetrics)])
      continue
    }
    const labels = new Map<string, string>()
    readLabels(bytes, input.seriesStart, input.seriesEnd, labels)
    const line: unknown[] = [Object.fromEntries(labels), input.value]
    if (input.hasTimestamp) line.push(input.timestampMs)
    if (input.exemplarEnd > 0) {
      const more = new Map<string, string>()
      readLabels(bytes, input.exemplarStart, input.exemplarEnd, more)
      line.push({ ...Object.fromEntries(more), value: input.exemplarValue, seconds: input.exemplarSeconds })
    }
    lines.push(line)
  }
  return lines
}

test('text 0.0.4 is read with blanks, comments, escapes and timestamps', () => {
  const text = `# HELP a One \\\\ two\\nthree "q"
# TYPE a counter
# a comment
#
   a 1

a{b="c"} 2 1700000000123
a { b = "x\\"y\\\\z\\n" , } +Inf
\ta{}\t-5e-1\t-3
:b:c NaN`
  expect(read(text)).toEqual([
    ['help', 'a', 'One \\ two\nthree "q"'],
    ['type', 'a', 'counter'],
    [{ __name__: 'a' }, 1],
    [{ __name__: 'a', b: 'c' }, 2, 1_700_000_000_123],
    [{ __name__: 'a', b: 'x"y\\z\n' }, Infinity],
    [{ __name__: 'a' }, -0.5, -3],
    [{ __name__: ':b:c' }, Number.NaN],
  ])
})

test('quoted names may hold any character', () => {
  expect(
    read('# TYPE "my.name" gauge\n{"my.name","l.x"="v",y="2"} 1\n{"caf\u00e9"} 2\nm{"a b"="\u00fc"} 3\n'),
  ).toEqual([
    ['type', 'my.name', 'gauge'],
    [{ __name__: 'my.name', 'l.x': 'v', y: '2' }, 1],
    [{ __name__: 'caf\u00e9' }, 2],
    [{ __name__: 'm', 'a b': '\u00fc' }, 3],
  ])
})

test('OpenMetrics has seconds, units, exemplars and an end', () => {
  const text = `# TYPE a counter
# UNIT a seconds
# HELP a Say \\"hi\\"
a_total{b="c"} 1.0 1700000000.5 # {trace_id="ab",x="y"} 0.25 1700000000.123
a_total 2 # {} 3
# EOF
`
  expect(read(text, true)).toEqual([
    ['type', 'a', 'counter'],
    ['unit', 'a', 'seconds'],
    ['help', 'a', 'Say "hi"'],
    [
      { __name__: 'a_total', b: 'c' },
      1,
      1_700_000_000_500,
      { trace_id: 'ab', x: 'y', value: 0.25, seconds: 1_700_000_000.123 },
    ],
    [{ __name__: 'a_total' }, 2, { value: 3, seconds: Number.NaN }],
  ])
  expect(read('# EOF', true)).toEqual([])
})

test('what is not of the format is an error with its line', () => {
  const f = (text: string, message: string, openMetrics = false) =>
    expect(() => read(text, openMetrics), text).toThrow(new InvalidError(message))
  f('a 1\nb\n', 'line 2: expected a space behind the name of a metric')
  f('a \n', 'line 1: expected a number as value')
  f('a x\n', 'line 1: expected a number as value')
  f('a 1 x\n', 'line 1: bad timestamp')
  f('a 1 1.5\n', 'line 1: bad timestamp')
  f('a 1 2 3\n', 'line 1: unexpected text behind the sample')
  f('9a 1\n', 'line 1: expected the name of a metric')
  f('a{b} 1\n', 'line 1: expected = behind the name of a label')
  f('a{b=c} 1\n', 'line 1: expected a quoted value of a label')
  f('a{b="c" 1\n', 'line 1: expected , or } behind a label')
  f('a{b="c"x="d"} 1\n', 'line 1: expected , or } behind a label')
  f('a{b="c\n', 'line 1: text without a closing quote')
  f('a{b="c\\"} 1\n', 'line 1: text without a closing quote')
  f('a{b="c"', 'line 1: expected , or } behind a label')
  f('a{b="c",', 'line 1: expected the name of a label')
  f('a{,} 1\n', 'line 1: expected the name of a label')
  f('{a="b"} 1\n', 'line 1: expected the name of a metric')
  f('# TYPE\n', 'line 1: a comment without the name of a metric')
  f('a 1 # {} 2\n', 'line 1: bad timestamp')
  f(`a{b="${'x'.repeat(MAX_LINE_BYTES)}"} 1\n`, 'line 1: line is too long')
  f('a 1\n', 'data does not end with # EOF', true)
  f('a 1', 'line 1: last line is cut off', true)
  f('a 1\n\n# EOF\n', 'line 2: empty line', true)
  f('# EOF\na 1\n', 'line 2: data behind # EOF', true)
  f('# nothing\n# EOF\n', 'line 1: a comment that is neither metadata nor # EOF', true)
  f('a 1 # 5\n# EOF\n', 'line 1: an exemplar without labels', true)
  f('a 1 # {b="c"}\n# EOF\n', 'line 1: an exemplar without a value', true)
  f('a 1 # {b="c"} 1 x\n# EOF\n', 'line 1: bad timestamp of an exemplar', true)
  f('a 1 # {b="c"} 1 2 3\n# EOF\n', 'line 1: unexpected text behind the exemplar', true)
  expect(() => read(Buffer.from([0x61, 0x7b, 0x62, 0x3d, 0x22, 0xff, 0x22, 0x7d, 0x20, 0x31]))).toThrow(
    'not UTF-8',
  )
})

test('a series is known by its bytes, and by nothing less', () => {
  const f = (text: string, expected: string, want: string) => {
    const bytes = encode(text)
    const input = new Exposition(bytes, false)
    input.next(encode(expected))
    expect(Buffer.from(bytes.subarray(input.seriesStart, input.seriesEnd)).toString(), text).toBe(want)
  }
  f('a{b="c"} 1\n', 'a{b="c"}', 'a{b="c"}')
  f('a 1\n', 'a', 'a')
  f('ab 1\n', 'a', 'ab')
  f('a{b="c"} 1\n', 'a', 'a{b="c"}')
  f('a {b="c"} 1\n', 'a', 'a {b="c"}')
  f('b 1\n', 'a', 'b')
})

const FRAGMENTS = [
  'a',
  'b_c',
  ':',
  '{',
  '}',
  '"',
  '\\',
  '=',
  ',',
  ' ',
  '\t',
  '\n',
  '#',
  '# EOF\n',
  '# TYPE a ',
  '# {',
  '1',
  '-',
  '.5',
  'e',
  'NaN',
  '+Inf',
  '\u00e9',
  '\u0000',
  '\r\n',
]

test('random and mutated text is read or refused, never anything else', () => {
  const good = '# HELP a x\n# TYPE a counter\na_total{b="c",d="e\\"f"} 1.5 12 # {t="u"} 1 2\na_sum 2\n# EOF\n'
  const check = (bytes: Uint8Array) => {
    for (const openMetrics of [false, true]) {
      try {
        read(bytes, openMetrics)
      } catch (error) {
        expect(error).toBeInstanceOf(InvalidError)
      }
    }
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), check), { numRuns: 2000 })
  const words = fc.array(fc.constantFrom(...FRAGMENTS), { maxLength: 40 })
  fc.assert(
    fc.property(words, (parts) => check(encode(parts.join('')))),
    { numRuns: 5000 },
  )
  const edits = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 4 })
  fc.assert(
    fc.property(edits, fc.nat(good.length), (changes, cut) => {
      const bytes = encode(good)
      for (const [at, byte] of changes) bytes[at] = byte
      check(bytes.subarray(0, cut))
      check(bytes)
    }),
    { numRuns: 5000 },
  )
})
