/**
 * Scenario: random requests, oddly encoded, are read through the convenient views.
 * Guarantee: every field that a view names has the value that protobufjs decodes, or its default.
 */
import fc from 'fast-check'
import protobuf from 'protobufjs'
import { expect, test } from 'vitest'
import { Batch, type Signal } from '../../src/otlp/batch.ts'
import { resourceLogs } from '../../src/otlp/logs.ts'
import { resourceMetrics } from '../../src/otlp/metrics.ts'
import { receiveRequest } from '../../src/otlp/receive.ts'
import { resourceSpans } from '../../src/otlp/traces.ts'
import { AttributesView } from '../../src/otlp/views.ts'
import { decode, messageType, type Plain, REQUESTS } from '../support/otlp.ts'
import { arbitraryRequest } from '../support/random-otlp.ts'
import { RUN } from './run.ts'

/** What a view calls differently; the groups and the metric are checked by hand below. */
const NAMES: Readonly<Record<string, string>> = {
  scopeSpans: 'scopes',
  scopeMetrics: 'scopes',
  scopeLogs: 'scopes',
}
const NOT_SHOWN = new Set(['entityRefs', 'keyStrindex', 'stringValueStrindex'])
const DATA = ['gauge', 'sum', 'histogram', 'exponentialHistogram', 'summary']

let compared = 0

function compare(type: protobuf.Type, view: Plain, want: Plain): void {
  const fields =
    type.name === 'Metric' ? type.fieldsArray.filter(({ name }) => !DATA.includes(name)) : type.fieldsArray
  if (type.name === 'Metric') compareData(type, view, want)
  for (const field of fields) {
    if (NOT_SHOWN.has(field.name)) continue
    if (field.name === 'asInt' || field.name === 'asDouble') {
      if (want?.[field.name] !== undefined) expect(view.value).toBe(expected(field, want[field.name]))
      else if (want?.asInt === undefined && want?.asDouble === undefined) expect(view.value).toBe(undefined)
      continue
    }
    const got = view[NAMES[field.name] ?? field.name]
    compareField(field, typeof got === 'function' ? [...got.call(view)] : got, want?.[field.name])
  }
}

function compareField(field: protobuf.Field, got: Plain, want: Plain): void {
  compared++
  const type = field.resolvedType
  if (got instanceof AttributesView) {
    const pairs = (want ?? []).map((pair: Plain) => [pair.key ?? '', js(pair.value)])
    expect([...got]).toEqual(pairs)
    expect(got.size).toBe(pairs.length)
    for (const [key] of pairs) expect(got.get(key)).toEqual(pairs.find((pair: Plain) => pair[0] === key)[1])
  } else if (type instanceof protobuf.Type && type.name === 'AnyValue') expect(got).toEqual(js(want))
  else if (type instanceof protobuf.Type && field.repeated) {
    expect(got.length).toBe(want?.length ?? 0)
    for (const [index, one] of got.entries()) compare(type, one, want[index])
  } else if (type instanceof protobuf.Type) compare(type, got, want ?? {})
  else if (field.repeated) expect(got).toEqual((want ?? []).map((one: Plain) => expected(field, one)))
  else expect(got).toEqual(expected(field, want))
}

function expected(field: protobuf.Field, want: Plain): Plain {
  if (field.type === 'bytes') return want === undefined ? '' : want.toString('hex')
  if (field.type === 'string') return want ?? ''
  if (/64$/.test(field.type)) return BigInt(want ?? 0)
  if (field.type === 'bool') return want ?? false
  return want ?? (field.partOf ? undefined : 0)
}

function compareData(type: protobuf.Type, view: Plain, want: Plain): void {
  const data = DATA.find((name) => want[name] !== undefined)
  expect(view.type).toBe(data)
  const points = [...view.dataPoints()]
  if (data === undefined) {
    expect(points).toEqual([])
    return
  }
  expect(view.aggregationTemporality).toBe(want[data].aggregationTemporality ?? 0)
  expect(view.isMonotonic).toBe(want[data].isMonotonic ?? false)
  const dataType = type.fields[data]?.resolvedType as protobuf.Type // DATA names messages.
  compareField(dataType.fields['dataPoints']!, points, want[data].dataPoints)
}

function js(value: Plain): Plain {
  if (value?.intValue !== undefined) return BigInt(value.intValue)
  if (value?.bytesValue !== undefined) return new Uint8Array(value.bytesValue)
  if (value?.arrayValue !== undefined) return (value.arrayValue.values ?? []).map(js)
  if (value?.kvlistValue !== undefined)
    return Object.fromEntries(
      (value.kvlistValue.values ?? []).map((pair: Plain) => [pair.key ?? '', js(pair.value)]),
    )
  return value?.stringValue ?? value?.boolValue ?? value?.doubleValue ?? null
}

const READERS: Record<Signal, (batch: Batch) => Iterable<unknown>> = {
  traces: resourceSpans,
  metrics: resourceMetrics,
  logs: resourceLogs,
}

for (const signal of ['traces', 'metrics', 'logs'] as const) {
  test(`${signal}: views show what protobufjs decodes`, () => {
    compared = 0
    fc.assert(
      fc.property(arbitraryRequest(signal), ({ oddBytes }) => {
        const { chunk } = receiveRequest(signal, oddBytes)
        const [field] = messageType(REQUESTS[signal]).fieldsArray
        const want = decode(signal, chunk)
        compareField(field!, [...READERS[signal](new Batch(signal, [chunk]))], want[field!.name])
      }),
      RUN,
    )
    expect(compared).toBeGreaterThan(RUN.numRuns * 10)
  })
}
