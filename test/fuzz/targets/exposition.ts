/**
 * What a scraped target may answer: text 0.0.4 and OpenMetrics. A scrape is taken and makes a request in order, or has failed; the
 * series that are held are those of the last scrapes.
 *
 * An input is a byte that chooses the format, then the body. One target answers several inputs before the next one comes.
 */
import { InvalidError, TooLargeError } from '../../../src/errors.ts'
import { checkChunk } from '../../../src/otlp/receive.ts'
import { ScrapeEncoder } from '../../../src/receivers/prometheus/encode.ts'
import { compileRelabel, relabelField } from '../../../src/receivers/prometheus/relabel.ts'
import { ScrapeState } from '../../../src/receivers/prometheus/scrape-state.ts'
import { type Draw, mutateBytes } from '../draw.ts'
import type { Target } from '../target.ts'

const SCRAPES_PER_TARGET = 50
const SAMPLE_LIMIT = 500

const LINES = [
  ...[
    'up 1\n',
    'a{b="c"} 2\n',
    'a{b="c",d="e\\"\\n"} 3 1700000000000\n',
    'b_total 4 # {trace_id="x"} 1 2.5\n',
  ],
  ...[
    '# TYPE a gauge\n',
    '# TYPE b counter\n',
    '# TYPE h histogram\n',
    '# TYPE s summary\n',
    '# HELP a text \\n x\n',
  ],
  ...['h_bucket{le="1"} 1\n', 'h_bucket{le="+Inf"} 2\n', 'h_sum 3\n', 'h_count 2\n', 's{quantile="0.5"} 1\n'],
  ...['# UNIT a seconds\n', '{"a.b", x="y"} 1\n', 'target_info{a="b"} 1\n', 'h_created 17.5\n'],
]
const PIECES = [
  ...[
    'NaN',
    '+Inf',
    '-Inf',
    '1e400',
    '0x1p-2',
    '\r\n',
    '\n\n',
    '"',
    '{',
    '}',
    ',',
    '=',
    '\\',
    '\t',
    ' ',
    '\xff',
    '__name__="x"',
    '# EOF\n',
  ],
]

export function expositionTarget(): Target {
  let runs = 0
  let target = scraped()
  return {
    seeds: (draw) => Array.from({ length: 80 }, () => page(draw)),
    next(draw, pool) {
      if (draw.chance(0.1)) return page(draw)
      const base = draw.pick(pool)
      let body: Uint8Array = base.subarray(1)
      if (draw.chance(0.3)) body = mutateBytes(draw, body, draw.pick(pool).subarray(1))
      else {
        const byLine = draw.chance(0.6)
        const pieces = Buffer.from(draw.pick(byLine ? LINES : PIECES), 'latin1')
        const at = byLine ? lineStart(draw, body) : draw.below(body.length + 1)
        const end = draw.chance(0.5) ? at : byLine ? lineEnd(body, at) : at + draw.below(20)
        body = Buffer.concat([body.subarray(0, at), pieces, body.subarray(end)])
      }
      return Buffer.concat([base.subarray(0, 1), body.subarray(0, 8000)])
    },
    run(input) {
      if (runs++ % SCRAPES_PER_TARGET === 0) target = scraped()
      return target(input.subarray(1), ((input[0] ?? 0) & 1) === 1)
    },
  }
}

function page(draw: Draw): Buffer {
  const openMetrics = draw.below(2)
  const lines = Array.from({ length: draw.below(25) }, () =>
    Buffer.from(draw.pick(draw.chance(0.95) ? LINES : PIECES), 'latin1'),
  )
  return Buffer.concat([Buffer.from([openMetrics]), ...lines, Buffer.from(openMetrics ? '# EOF\n' : '')])
}

function lineStart(draw: Draw, body: Uint8Array): number {
  return draw.chance(0.2) ? 0 : body.lastIndexOf(10, draw.below(body.length + 1)) + 1
}

function lineEnd(body: Uint8Array, at: number): number {
  const end = body.indexOf(10, at)
  return end < 0 ? body.length : end + 1
}

function scraped() {
  const labels = new Map([
    ['job', 'j'],
    ['instance', 'h:1'],
  ])
  const rules = [{ source_labels: ['b'], regex: '(.*)x', target_label: 'r', replacement: '$1' }]
  const state = new ScrapeState({
    discovered: new Map([...labels, ['__scheme__', 'http']]),
    honorLabels: false,
    honorTimestamps: true,
    trackTimestampsStaleness: true,
    trimSuffixes: true,
    legacyNames: false,
    labels,
    externalLabels: new Map([['cluster', 'c']]),
    relabel: compileRelabel(relabelField().parse(rules) ?? []),
    limits: {
      sampleLimit: SAMPLE_LIMIT,
      labelLimit: 30,
      labelNameLengthLimit: 200,
      labelValueLengthLimit: 1000,
    },
  })
  const encoder = new ScrapeEncoder(state)
  let timeMs = 1_700_000_000_000
  return (body: Uint8Array, openMetrics: boolean): boolean => {
    state.begin((timeMs += 1000))
    let taken = true
    try {
      state.add(body, openMetrics)
    } catch (error) {
      if (!(error instanceof InvalidError) && !(error instanceof TooLargeError)) throw error
      state.discard()
      taken = false
    }
    const encoded = encoder.encode()
    if (encoded && checkChunk('metrics', encoded.bytes) !== encoded.points)
      throw new Error('points are miscounted')
    return taken
  }
}
