/**
 * The friendly items that plugins work on: resources, scopes, spans with their events and links, log records. Names are OTLP's; times are
 * bigint nanoseconds, ids lower-case hex. message-item.ts says how long an item lives and what a change costs.
 */
import { type JsValue, writeAttribute } from '../otlp/attributes.ts'
import {
  INSTRUMENTATION_SCOPE,
  LOG_RECORD,
  RESOURCE,
  SPAN,
  SPAN_EVENT,
  SPAN_KIND,
  SPAN_LINK,
  STATUS,
  STATUS_CODE,
} from '../otlp/fields.ts'
import { LogRecordView } from '../otlp/logs.ts'
import { SpanView } from '../otlp/traces.ts'
import { FieldCursor, LEN, VARINT, WireWriter } from '../otlp/wire.ts'
import { MessageItem } from './message-item.ts'

const TRACE_ID_BYTES = 16
const SPAN_ID_BYTES = 8

export class Resource extends MessageItem {
  override point(bytes: Uint8Array, start: number, end: number): void {
    super.point(bytes, start, end, RESOURCE.attributes)
  }
}

export class Scope extends MessageItem {
  override point(bytes: Uint8Array, start: number, end: number): void {
    super.point(bytes, start, end, INSTRUMENTATION_SCOPE.attributes)
  }
  get name(): string {
    return this.readText(INSTRUMENTATION_SCOPE.name)
  }
  set name(name: string) {
    this.setText(INSTRUMENTATION_SCOPE.name, name)
  }
  get version(): string {
    return this.readText(INSTRUMENTATION_SCOPE.version)
  }
  set version(version: string) {
    this.setText(INSTRUMENTATION_SCOPE.version, version)
  }
}

/** An item that has a resource and a scope around it: to read here, to edit in resources() and scopes(). */
export class InnerItem extends MessageItem {
  readonly resource = new Resource(true)
  readonly scope = new Scope(true)
}

export type SpanKindName = keyof typeof SPAN_KIND
export type StatusCodeName = keyof typeof STATUS_CODE
const KIND_NAMES = Object.keys(SPAN_KIND) as SpanKindName[] // In the order of their numbers, from 0.
const CODE_NAMES = Object.keys(STATUS_CODE) as StatusCodeName[] // As above.

export interface SpanStatus {
  readonly code: StatusCodeName
  readonly message: string
}

export interface NewEvent {
  readonly name: string
  readonly timeUnixNano?: bigint
  readonly attributes?: Readonly<Record<string, JsValue>>
}

export class Span extends InnerItem {
  #event: SpanEvent | undefined
  #link: SpanLink | undefined

  override point(bytes: Uint8Array, start: number, end: number): void {
    super.point(bytes, start, end, SPAN.attributes)
  }
  get traceId(): string {
    return this.readHex(SPAN.traceId)
  }
  set traceId(hex: string) {
    this.setHex(SPAN.traceId, hex, TRACE_ID_BYTES)
  }
  get spanId(): string {
    return this.readHex(SPAN.spanId)
  }
  set spanId(hex: string) {
    this.setHex(SPAN.spanId, hex, SPAN_ID_BYTES)
  }
  get parentSpanId(): string {
    return this.readHex(SPAN.parentSpanId)
  }
  set parentSpanId(hex: string) {
    this.setHex(SPAN.parentSpanId, hex, SPAN_ID_BYTES)
  }
  get traceState(): string {
    return this.readText(SPAN.traceState)
  }
  set traceState(text: string) {
    this.setText(SPAN.traceState, text)
  }
  get name(): string {
    return this.readText(SPAN.name)
  }
  set name(name: string) {
    this.setText(SPAN.name, name)
  }
  /** A number that has no name yet reads as unspecified. */
  get kind(): SpanKindName {
    return KIND_NAMES[this.readUint(SPAN.kind)] ?? 'unspecified'
  }
  set kind(kind: SpanKindName) {
    this.setUint(SPAN.kind, numberOf(SPAN_KIND, kind))
  }
  get startTimeUnixNano(): bigint {
    return this.readFixed64(SPAN.startTimeUnixNano)
  }
  set startTimeUnixNano(time: bigint) {
    this.setFixed64(SPAN.startTimeUnixNano, time)
  }
  get endTimeUnixNano(): bigint {
    return this.readFixed64(SPAN.endTimeUnixNano)
  }
  set endTimeUnixNano(time: bigint) {
    this.setFixed64(SPAN.endTimeUnixNano, time)
  }
  get status(): SpanStatus {
    const fields = new FieldCursor(this.readMessage(SPAN.status))
    let code = 0
    let message = ''
    while (fields.next()) {
      if (fields.number === STATUS.code && fields.wireType === VARINT) code = fields.uint()
      else if (fields.number === STATUS.message && fields.wireType === LEN) message = fields.string()
    }
    return { code: CODE_NAMES[code] ?? 'unset', message }
  }
  set status(status: { readonly code: StatusCodeName; readonly message?: string }) {
    const { code, message = '' } = status
    this.setField(SPAN.status, (output) => {
      output.begin(SPAN.status)
      if (message !== '') output.string(STATUS.message, message)
      output.uintField(STATUS.code, numberOf(STATUS_CODE, code)).end()
    })
  }
  get isError(): boolean {
    return this.status.code === 'error'
  }
  events(): Generator<SpanEvent> {
    this.#event ??= new SpanEvent()
    return this.readNested(SPAN.events, SPAN_EVENT.attributes, this.#event)
  }
  addEvent(event: NewEvent): void {
    const output = new WireWriter()
    if (event.timeUnixNano !== undefined) output.fixed64Field(SPAN_EVENT.timeUnixNano, event.timeUnixNano)
    output.string(SPAN_EVENT.name, event.name)
    for (const [key, value] of Object.entries(event.attributes ?? {})) {
      writeAttribute(output, SPAN_EVENT.attributes, key, value)
    }
    this.addNested(SPAN.events, output.take())
  }
  links(): Generator<SpanLink> {
    this.#link ??= new SpanLink()
    return this.readNested(SPAN.links, SPAN_LINK.attributes, this.#link)
  }
  /** The span as it came, to read what has no name here. */
  view(): SpanView {
    return new SpanView(this.bytes, this.start, this.end)
  }
}

export class SpanEvent extends MessageItem {
  get name(): string {
    return this.readText(SPAN_EVENT.name)
  }
  set name(name: string) {
    this.setText(SPAN_EVENT.name, name)
  }
  get timeUnixNano(): bigint {
    return this.readFixed64(SPAN_EVENT.timeUnixNano)
  }
  set timeUnixNano(time: bigint) {
    this.setFixed64(SPAN_EVENT.timeUnixNano, time)
  }
}

export class SpanLink extends MessageItem {
  get traceId(): string {
    return this.readHex(SPAN_LINK.traceId)
  }
  get spanId(): string {
    return this.readHex(SPAN_LINK.spanId)
  }
  get traceState(): string {
    return this.readText(SPAN_LINK.traceState)
  }
}

export class LogRecord extends InnerItem {
  override point(bytes: Uint8Array, start: number, end: number): void {
    super.point(bytes, start, end, LOG_RECORD.attributes)
  }
  get timeUnixNano(): bigint {
    return this.readFixed64(LOG_RECORD.timeUnixNano)
  }
  set timeUnixNano(time: bigint) {
    this.setFixed64(LOG_RECORD.timeUnixNano, time)
  }
  get observedTimeUnixNano(): bigint {
    return this.readFixed64(LOG_RECORD.observedTimeUnixNano)
  }
  set observedTimeUnixNano(time: bigint) {
    this.setFixed64(LOG_RECORD.observedTimeUnixNano, time)
  }
  /** 1 to 4 trace, 5 debug, 9 info, 13 warn, 17 error, 21 fatal. */
  get severityNumber(): number {
    return this.readUint(LOG_RECORD.severityNumber)
  }
  set severityNumber(number: number) {
    this.setUint(LOG_RECORD.severityNumber, number)
  }
  get severityText(): string {
    return this.readText(LOG_RECORD.severityText)
  }
  set severityText(text: string) {
    this.setText(LOG_RECORD.severityText, text)
  }
  get body(): JsValue {
    return this.readValue(LOG_RECORD.body).js()
  }
  set body(value: JsValue) {
    this.setValue(LOG_RECORD.body, value)
  }
  /** The body as text, as the Go collector prints it. */
  get bodyText(): string {
    return this.readValue(LOG_RECORD.body).text()
  }
  get eventName(): string {
    return this.readText(LOG_RECORD.eventName)
  }
  set eventName(name: string) {
    this.setText(LOG_RECORD.eventName, name)
  }
  get traceId(): string {
    return this.readHex(LOG_RECORD.traceId)
  }
  set traceId(hex: string) {
    this.setHex(LOG_RECORD.traceId, hex, TRACE_ID_BYTES)
  }
  get spanId(): string {
    return this.readHex(LOG_RECORD.spanId)
  }
  set spanId(hex: string) {
    this.setHex(LOG_RECORD.spanId, hex, SPAN_ID_BYTES)
  }
  /** The record as it came, to read what has no name here. */
  view(): LogRecordView {
    return new LogRecordView(this.bytes, this.start, this.end)
  }
}

function numberOf<T extends Readonly<Record<string, number>>>(table: T, name: keyof T & string): number {
  const number = Object.hasOwn(table, name) ? table[name] : undefined
  if (number === undefined) throw new TypeError(`"${name}" is not one of ${Object.keys(table).join(', ')}`)
  return number
}
