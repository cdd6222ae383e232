/**
 * Judges spans: randomness from the tracestate or the trace id, priority from the attribute
 * sampling.priority.
 */
import { AttributeCursor, keyBytes, type ValueRef } from '../../otlp/attributes.ts'
import { DROP, KEEP, type Verdict, WROTE } from '../../otlp/edit.ts'
import { ANY_VALUE, SPAN } from '../../otlp/fields.ts'
import type { ItemWalker } from '../../otlp/item-walker.ts'
import { FieldCursor, LEN, type WireWriter } from '../../otlp/wire.ts'
import { parseDouble } from '../attribute-actions/conversions.ts'
import { type Sampler, TRACE_ID_HASH } from './sampler.ts'
import { ALWAYS, NEVER, type Threshold } from './threshold.ts'
import { TraceState } from './trace-state.ts'

const PRIORITY = keyBytes('sampling.priority')
const TRACE_ID_BYTES = 16

export class SpanJudge {
  readonly #sampler: Sampler
  readonly #traceState = new TraceState()
  readonly #fields = new FieldCursor()
  readonly #attributes = new AttributeCursor()

  constructor(sampler: Sampler) {
    this.#sampler = sampler
  }

  // message Span { bytes trace_id = 1; string trace_state = 3; repeated KeyValue attributes = 9; ... }
  edit(items: ItemWalker, output: WireWriter): Verdict {
    const { bytes, start, end } = items
    const sampler = this.#sampler
    let idStart = 0
    let idEnd = 0
    let stateField = end
    let stateStart = end
    let stateEnd = end
    const fields = this.#fields.reset(bytes, start, end)
    while (fields.next()) {
      if (fields.wireType !== LEN) continue
      if (fields.number === SPAN.traceId) {
        idStart = fields.start
        idEnd = fields.end
      } else if (fields.number === SPAN.traceState) {
        stateField = fields.fieldStart
        stateStart = fields.start
        stateEnd = fields.end
      }
    }
    sampler.begin()
    const readable = this.#traceState.read(bytes, stateStart, stateEnd, sampler.state)
    this.#findRandomness(bytes, isId(bytes, idStart, idEnd) ? idStart : -1, readable)
    if (this.#attributes.reset(bytes, start, end, SPAN.attributes).find(PRIORITY))
      sampler.priority = priorityOf(this.#attributes.value)
    sampler.judge()
    if (!sampler.sampled) return DROP
    if (!sampler.writable) return KEEP
    const traceState = this.#traceState
    traceState.write(sampler.state)
    if (isSame(bytes, stateStart, stateEnd, traceState)) return KEEP
    output.rawRange(bytes, start, stateField).tag(SPAN.traceState, LEN).varint(traceState.length)
    output.rawRange(traceState.output, 0, traceState.length).rawRange(bytes, stateEnd, end)
    return WROTE
  }

  /** `id` is where the trace id begins, -1 when there is none. */
  #findRandomness(bytes: Uint8Array, id: number, readable: boolean): void {
    const sampler = this.#sampler
    const { state } = sampler
    if (!readable) sampler.usable = sampler.writable = false
    if (sampler.mode === 'never') return
    if (sampler.mode === 'hash_seed') {
      if (id >= 0) sampler.hash(bytes, id, id + TRACE_ID_BYTES, TRACE_ID_HASH)
      if (!readable) return
      if (state.hasRandomness || state.hasThreshold) sampler.usable = sampler.writable = false
      else state.setRandomness(sampler.high, sampler.low)
    } else if (!readable) return
    else if (state.hasRandomness) sampler.carried()
    else if (id >= 0) sampler.traceId(bytes, id)
  }
}

/** 16 bytes of which one at least is not 0. */
export function isId(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start !== TRACE_ID_BYTES) return false
  for (let at = start; at < end; at++) if (bytes[at] !== 0) return true
  return false
}

function isSame(bytes: Uint8Array, start: number, end: number, traceState: TraceState): boolean {
  if (end - start !== traceState.length) return false
  for (let at = start; at < end; at++) if (bytes[at] !== traceState.output[at - start]) return false
  return true
}

/** 0 drops, a positive number keeps, anything else does not decide. */
function priorityOf(value: ValueRef): Threshold | undefined {
  let priority: number | undefined
  if (value.kind === ANY_VALUE.intValue) priority = Number(value.int())
  else if (value.kind === ANY_VALUE.doubleValue) priority = value.double()
  else if (value.kind === ANY_VALUE.stringValue) priority = parseDouble(value.text())
  if (priority === undefined || !(priority >= 0)) return undefined
  return priority === 0 ? NEVER : ALWAYS
}
