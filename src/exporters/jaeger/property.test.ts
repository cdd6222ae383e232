/**
 * Random traces, translated from bytes, against a plain translation of the decoded objects. The seed is
 * printed on failure.
 */
import { expect, test } from 'vitest'
import { decode, decodeMessage, encodeMessage, type Plain } from '../../../test/support/otlp.ts'
import { randomRequest, seeded } from '../../../test/support/random-otlp.ts'
import { anyValueText } from '../../otlp/attributes.ts'
import { groupByResource } from './group.ts'
import { encodePostSpans } from './translate.ts'

const KINDS = ['', 'internal', 'server', 'client', 'producer', 'consumer']
const BILLION = 1_000_000_000n

function plainTag(key: string | undefined, value: Plain): Plain {
  const pair: Plain = key ? { key } : {}
  if (value?.stringValue) pair.vStr = value.stringValue
  else if (value?.boolValue !== undefined)
    Object.assign(pair, { vType: 1 }, value.boolValue ? { vBool: true } : {})
  else if (value?.intValue !== undefined)
    Object.assign(pair, { vType: 2 }, value.intValue === '0' ? {} : { vInt64: value.intValue })
  else if (value?.doubleValue !== undefined) Object.assign(pair, { vType: 3, vFloat64: value.doubleValue })
  else if (value?.bytesValue !== undefined)
    Object.assign(pair, { vType: 4 }, value.bytesValue.length > 0 ? { vBinary: value.bytesValue } : {})
  else if (value?.arrayValue !== undefined || value?.kvlistValue !== undefined) {
    const bytes = encodeMessage('opentelemetry.proto.common.v1.AnyValue', value)
    const json = anyValueText(bytes, 0, bytes.length) // Empty when it holds a NaN, as in the Collector.
    if (json !== '') pair.vStr = json
  }
  return pair
}

const tagsOf = (attributes: Plain[] = []) => attributes.map((pair) => plainTag(pair.key, pair.value))
const text = (key: string, value: string) => plainTag(key, { stringValue: value })

function plainTime(nanos: bigint): Plain {
  const seconds = nanos / BILLION
  const rest = Number(nanos % BILLION)
  return { ...(seconds !== 0n ? { seconds: String(seconds) } : {}), ...(rest !== 0 ? { nanos: rest } : {}) }
}

const isEmpty = (id: Buffer | undefined) => !id || id.every((byte) => byte === 0)
const bytesOf = (id: Buffer | undefined) => id ?? Buffer.alloc(0)

function plainReferences(span: Plain): Plain[] {
  const references: Plain[] = []
  if (!isEmpty(span.parentSpanId))
    references.push({ traceId: bytesOf(span.traceId), spanId: span.parentSpanId })
  const hasParent = references.length > 0
  for (const link of span.links ?? []) {
    const type = (link.attributes ?? []).find((pair: Plain) => pair.key === 'opentracing.ref_type')
    const refType = type?.value?.stringValue === 'child_of' ? 0 : 1
    const [traceId, spanId] = [bytesOf(link.traceId), bytesOf(link.spanId)]
    if (hasParent && traceId.equals(bytesOf(span.traceId)) && spanId.equals(span.parentSpanId))
      references[0].refType = refType
    else references.push({ traceId, spanId, refType })
  }
  return references
}

function plainSpan(span: Plain, scope: Plain): Plain {
  const start = BigInt(span.startTimeUnixNano ?? 0)
  const tags = []
  if (scope?.name) tags.push(text('otel.scope.name', scope.name))
  if (scope?.version) tags.push(text('otel.scope.version', scope.version))
  tags.push(...tagsOf(span.attributes))
  if (KINDS[span.kind ?? 0]) tags.push(text('span.kind', KINDS[span.kind] ?? ''))
  if (span.status?.code === 1) tags.push(text('otel.status_code', 'OK'))
  if (span.status?.code === 2)
    tags.push(text('otel.status_code', 'ERROR'), plainTag('error', { boolValue: true }))
  if (span.status?.message) tags.push(text('otel.status_description', span.status.message))
  if (span.traceState) tags.push(text('w3c.tracestate', span.traceState))
  const logs = (span.events ?? []).map((event: Plain) => {
    const named = (event.attributes ?? []).some((pair: Plain) => pair.key === 'event')
    const fields = [...(event.name && !named ? [text('event', event.name)] : []), ...tagsOf(event.attributes)]
    return { timestamp: plainTime(BigInt(event.timeUnixNano ?? 0)), fields }
  })
  return {
    traceId: bytesOf(span.traceId),
    spanId: bytesOf(span.spanId),
    operationName: span.name ?? '',
    references: plainReferences(span),
    startTime: plainTime(start),
    duration: plainTime(BigInt(span.endTimeUnixNano ?? 0) - start),
    tags,
    logs,
  }
}

/** Fills in what protobufjs leaves out of a decoded span. */
function filled(span: Plain): Plain {
  const references = (span.references ?? []).map((reference: Plain) => ({
    traceId: bytesOf(reference.traceId),
    spanId: bytesOf(reference.spanId),
    ...(reference.refType ? { refType: reference.refType } : {}),
  }))
  const logs = (span.logs ?? []).map((log: Plain) => ({ timestamp: log.timestamp, fields: log.fields ?? [] }))
  const { traceId, spanId, operationName = '', startTime, duration, tags = [] } = span
  return {
    traceId: bytesOf(traceId),
    spanId: bytesOf(spanId),
    operationName,
    references,
    startTime,
    duration,
    tags,
    logs,
  }
}

/** A double of 0, which protobufjs leaves out or not by its sign. */
const withoutZero = (key: string, value: unknown) => (key === 'vFloat64' && value === 0 ? undefined : value)

function withoutZeroTypes(span: Plain): Plain {
  for (const reference of span.references) if (reference.refType === 0) delete reference.refType
  return span
}

test('translates random traces as a plain translation does', () => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  let spans = 0
  for (let round = 0; round < 200; round++) {
    const { bytes } = randomRequest('traces', seeded(seed + round))
    const request = decode('traces', bytes)
    const want = (request.resourceSpans ?? []).flatMap((resource: Plain) =>
      (resource.scopeSpans ?? []).flatMap((scope: Plain) =>
        (scope.spans ?? []).map((span: Plain) => withoutZeroTypes(plainSpan(span, scope.scope))),
      ),
    )
    const got = groupByResource([bytes]).flatMap((pieces) => {
      const { message } = encodePostSpans(pieces)
      return (decodeMessage('jaeger.api_v2.PostSpansRequest', message).batch.spans ?? []).map(filled)
    })
    // Equal resources are put together, which changes the order of the spans only.
    const byText = (list: Plain[]) => list.map((span) => JSON.stringify(span, withoutZero)).sort()
    expect(byText(got), `seed ${seed + round}`).toEqual(byText(want))
    spans += want.length
  }
  expect(spans).toBeGreaterThan(200)
})
