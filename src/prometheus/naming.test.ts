import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { labelName, type MetricKind, metricName, STRATEGIES, type Strategy, unitName } from './naming.ts'

const [ESCAPED, PLAIN, UTF8, UNTOUCHED] = STRATEGIES

describe('metric names', () => {
  const named = (strategy: Strategy, rows: [string, string, MetricKind, string, string?][]) => {
    for (const [name, unit, kind, want, namespace = ''] of rows)
      expect(metricName(name, unit, kind, { namespace, strategy }), `${name} ${unit} ${kind}`).toBe(want)
  }

  test('escaped with suffixes', () => {
    named(ESCAPED, [
      ['http.server.request.duration', 's', 'histogram', 'http_server_request_duration_seconds'],
      ['system.cpu.utilization', '1', 'gauge', 'system_cpu_utilization_ratio'],
      ['requests.total.count', '{req}', 'counter', 'requests_count_total'],
      ['disk.io', 'By/s', 'gauge', 'disk_io_bytes_per_second'],
      ['9lives', '', 'gauge', '_9lives'],
      ['a__b..c', '', 'gauge', 'a_b_c'],
      ['_a_', '', 'gauge', 'a'],
      ['a:b', '', 'gauge', 'a:b'],
      ['latency', 'ms', 'gauge', 'latency_milliseconds'],
      ['latency_seconds', 's', 'gauge', 'latency_seconds'],
      ['seconds.spent', 's', 'gauge', 'seconds_spent'],
      ['total', '', 'counter', 'total'],
      ['total_total', '', 'counter', 'total'],
      ['x', '', 'counter', 'x_total'],
      ['x.total', 'By', 'counter', 'x_bytes_total'],
      ['x', '1', 'counter', 'x_total'],
      ['x', '1', 'up_down_counter', 'x'],
      ['x', '1', 'histogram', 'x'],
      ['ratio.x', '1', 'gauge', 'x_ratio'],
      ['x', '{packets}', 'gauge', 'x'],
      ['x', '{packets}/s', 'gauge', 'x_per_second'],
      ['x', 'By/{op}', 'gauge', 'x_bytes'],
      ['x', '/s', 'gauge', 'x_per_second'],
      ['x', 'm/s', 'gauge', 'x_meters_per_second'],
      ['x_per_second', 'm/s', 'gauge', 'x_per_second_meters_per_second'],
      ['x', 'By/s/s', 'gauge', 'x_bytes_per_s_s'],
      ['x', ' By ', 'gauge', 'x_bytes'],
      ['x', '%', 'gauge', 'x_percent'],
      ['x', 'widgets', 'gauge', 'x_widgets'],
      ['x', 'a.b', 'gauge', 'x_a_b'],
      ['x', '\u00b0C', 'gauge', 'x_C'],
      ['x', 'KiBy', 'gauge', 'x_kibibytes'],
      ['x', 'd', 'gauge', 'x_days'],
      ['x', 'By/d', 'gauge', 'x_bytes_per_day'],
      ['x', 'Hz', 'gauge', 'x_hertz'],
      ['x', 's', 'summary', 'ns_x_seconds', 'ns'],
      ['9x', '', 'gauge', 'ns_9x', 'ns'],
      ['gr\u00f6\u00dfe', '', 'gauge', 'gr_e'],
      ['...', '', 'gauge', ''],
      ['', '', 'gauge', ''],
      ['___', '', 'gauge', ''],
    ])
  })

  test('escaped without suffixes', () => {
    named(PLAIN, [
      ['http.server.duration', 's', 'histogram', 'http_server_duration'],
      ['a__b', '', 'gauge', 'a__b'],
      ['a..b', '', 'gauge', 'a_b'],
      ['x', '1', 'counter', 'x'],
      ['9x', '', 'gauge', '_9x'],
      ['9x', '', 'gauge', 'n_s_9x', 'n.s'],
      ['__', '', 'gauge', '__'],
      ['..', '', 'gauge', ''],
    ])
  })

  test('UTF-8 with suffixes, and untouched', () => {
    named(UTF8, [
      ['http.server.duration', 's', 'histogram', 'http.server.duration_seconds'],
      ['x.total', 'By', 'counter', 'x_bytes_total'],
      ['x_ratio', '1', 'gauge', 'x_ratio'],
      ['x.per_second', 'By/s', 'gauge', 'x_bytes_per_second'],
      ['gr\u00f6\u00dfe', 'm', 'gauge', 'ns_gr\u00f6\u00dfe_meters', 'ns'],
      ['', '', 'gauge', ''],
    ])
    named(UNTOUCHED, [
      ['http.server.duration', 's', 'counter', 'http.server.duration'],
      ['a', '', 'gauge', 'ns_a', 'ns'],
    ])
  })

  test('units in metadata', () => {
    expect(['By', 'By/s', '1', '{x}', 'widgets.big', ''].map((unit) => unitName(unit, ESCAPED))).toEqual([
      'bytes',
      'bytes_per_second',
      '',
      '',
      'widgets_big',
      '',
    ])
  })

  test('escaped names are legal or empty, whatever comes in', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 12 })
    const kind = fc.constantFrom<MetricKind>('gauge', 'counter', 'histogram', 'up_down_counter', 'summary')
    fc.assert(
      fc.property(
        text,
        text,
        text,
        kind,
        fc.constantFrom(ESCAPED, PLAIN),
        (name, unit, namespace, type, strategy) => {
          expect(metricName(name, unit, type, { namespace, strategy })).toMatch(
            /^([A-Za-z_:][A-Za-z0-9_:]*)?$/,
          )
        },
      ),
      { numRuns: 500 },
    )
  })
})

describe('label names', () => {
  test('escaped: runs become one underscore, what cannot begin a name gets a prefix', () => {
    const rows: [string, string][] = [
      ['http.method', 'http_method'],
      ['a__b', 'a_b'],
      ['a. b', 'a_b'],
      ['9a', 'key_9a'],
      ['_a', 'key_a'],
      ['__a', 'key_a'],
      ['__a__', '__a__'],
      ['__a.b__', '__a_b__'],
      ['gr\u00f6\u00dfe', 'gr_e'],
      ['\u65e5\u672c', 'key_'],
      ['a_', 'a_'],
      ['', ''],
    ]
    for (const [key, want] of rows) expect(labelName(key, ESCAPED, 'collapse'), key).toBe(want)
    expect(labelName('gr\u00f6\u00dfe.x', UTF8, 'collapse')).toBe('gr\u00f6\u00dfe.x')
  })

  test('the other style keeps runs and leading underscores', () => {
    expect(['a..b', '_a', '9a', 'a__b'].map((key) => labelName(key, ESCAPED, 'keep'))).toEqual([
      'a__b',
      '_a',
      'key_9a',
      'a__b',
    ])
  })
})
