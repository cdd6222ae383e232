/**
 * Passes over the resources and the scopes of a batch: generators that give one item after the other and build the batch anew
 * only where something changed.
 */
import type { Batch } from '../otlp/batch.ts'
import { FieldCursor, LEN, WireWriter } from '../otlp/wire.ts'
import type { Resource, Scope } from './items.ts'

/** Field 1 of a request, of Resource* and of Scope*: the resources, the resource, the scope. Field 2 is the level below. */
const FIRST = 1
const BELOW = 2

/** Gives every resource and returns the batch after the changes; a dropped resource goes with all it holds. */
export function* resourcePass(batch: Batch, item: Resource): Generator<Resource, Batch> {
  const chunks: Uint8Array[] = []
  let changed = false
  let dropped = false
  for (const chunk of batch.chunks) {
    const output = new WireWriter(chunk.length + 256)
    let edited = false
    const request = new FieldCursor(chunk)
    while (request.next()) {
      if (request.number !== FIRST || request.wireType !== LEN) continue
      const { fieldStart, start, end } = request
      const verdict = yield* rewrite(output, FIRST, chunk, start, end, item)
      if (verdict === 'same') output.rawRange(chunk, fieldStart, end)
      else edited = true
      dropped ||= verdict === 'dropped'
    }
    changed ||= edited
    const built = edited ? output.take() : chunk
    if (built.length > 0) chunks.push(built)
  }
  return changed ? batch.with(chunks, dropped ? -1 : batch.itemCount) : batch
}

/** As resourcePass, for every scope. */
export function* scopePass(batch: Batch, item: Scope): Generator<Scope, Batch> {
  const chunks: Uint8Array[] = []
  let changed = false
  let dropped = false
  for (const chunk of batch.chunks) {
    const output = new WireWriter(chunk.length + 256)
    let edited = false
    const request = new FieldCursor(chunk)
    const inner = new FieldCursor()
    while (request.next()) {
      if (request.number !== FIRST || request.wireType !== LEN) continue
      const mark = output.length
      let left = 0
      let gone = false
      output.begin(FIRST, request.end - request.start)
      inner.enter(request)
      while (inner.next()) {
        const { fieldStart, start, end } = inner
        const isScope = inner.number === BELOW && inner.wireType === LEN
        const verdict = isScope ? yield* rewrite(output, BELOW, chunk, start, end, item) : 'same'
        if (verdict === 'same') output.rawRange(chunk, fieldStart, end)
        else edited = true
        if (verdict === 'dropped') gone = dropped = true
        else if (isScope) left++
      }
      output.end()
      if (gone && left === 0) output.truncate(mark)
    }
    changed ||= edited
    const built = edited ? output.take() : chunk
    if (built.length > 0) chunks.push(built)
  }
  return changed ? batch.with(chunks, dropped ? -1 : batch.itemCount) : batch
}

type Verdict = 'same' | 'changed' | 'dropped'

/**
 * One Resource* or Scope* message: shows the message in its first field, and writes the whole under `number` if that changed.
 * An absent one reads as empty, and is put in front when something is set.
 */
function* rewrite<I extends Resource | Scope>(
  output: WireWriter,
  number: number,
  chunk: Uint8Array,
  start: number,
  end: number,
  item: I,
): Generator<I, Verdict> {
  const fields = new FieldCursor(chunk, start, end)
  let fieldStart = start
  let innerStart = start
  let innerEnd = start
  while (fields.next()) {
    if (fields.number !== FIRST || fields.wireType !== LEN) continue
    fieldStart = fields.fieldStart
    innerStart = fields.start
    innerEnd = fields.end
    break
  }
  item.point(chunk, innerStart, innerEnd)
  yield item
  if (item.dropped) return 'dropped'
  if (!item.changed) return 'same'
  const content = new WireWriter(innerEnd - innerStart + 256)
  item.writeInto(content)
  output
    .begin(number, end - start)
    .rawRange(chunk, start, fieldStart)
    .len(FIRST, content.view())
  output.rawRange(chunk, innerEnd, end).end()
  return 'changed'
}
