/**
 * Edits of batches on encoded bytes: resources rewritten in place, items rewritten or dropped. What an edit
 * does not touch is copied as bytes, unknown fields included; a chunk that an edit leaves alone is taken over
 * by reference. Each changed chunk becomes one contiguous new one, so that the invariants of a batch hold.
 */
import { Assembler } from './assemble.ts'
import type { Batch } from './batch.ts'
import { ItemWalker } from './item-walker.ts'
import { FieldCursor, LEN, lenFieldLength, WireWriter } from './wire.ts'

/**
 * Gets the content of a Resource (start = end when it is absent) and writes the whole new content, or returns
 * false: it stays as it is then, whatever was written. Called once for each Resource* message, in order.
 */
export type ResourceEdit = (bytes: Uint8Array, start: number, end: number, output: WireWriter) => boolean

/** What edits are written into before they are copied to their place. Kept unless it grew large. */
let spareWriter: WireWriter | undefined
const SPARE_BYTES = 65_536

/** An edit may run another edit inside, so the writer is borrowed, not shared. */
function borrowWriter(): WireWriter {
  const writer = spareWriter ?? new WireWriter(1024)
  spareWriter = undefined
  return writer
}

function returnWriter(writer: WireWriter): void {
  if (writer.capacity <= SPARE_BYTES) spareWriter = writer
}

/** Rewrites the Resource of every Resource* message. The same batch when nothing changed. */
export function mapResources(batch: Batch, edit: ResourceEdit): Batch {
  const written = borrowWriter()
  let changed = false
  const chunks = batch.chunks.map((chunk) => {
    const output = rewriteResources(chunk, edit, written)
    changed ||= output !== chunk
    return output
  })
  returnWriter(written)
  return changed ? batch.with(chunks, batch.itemCount) : batch
}

// message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; ... }
function rewriteResources(chunk: Uint8Array, edit: ResourceEdit, written: WireWriter): Uint8Array {
  let output: WireWriter | undefined
  /** All before this is in the output. */
  let copied = 0
  const request = new FieldCursor(chunk)
  const inner = new FieldCursor()
  while (request.next()) {
    if (request.number !== 1 || request.wireType !== LEN) continue
    // Without a resource one is put in front.
    let fieldStart = request.start
    let fieldEnd = request.start
    let start = request.start
    inner.enter(request)
    while (inner.next()) {
      if (inner.number !== 1 || inner.wireType !== LEN) continue
      fieldStart = inner.fieldStart
      fieldEnd = inner.end
      start = inner.start
      break
    }
    if (!edit(chunk, start, fieldEnd, written.truncate(0))) continue
    const content = written.view()
    output ??= new WireWriter(chunk.length + content.length + 64)
    const removed = fieldEnd - fieldStart
    const added = lenFieldLength(1, content.length)
    output.rawRange(chunk, copied, request.fieldStart)
    output.tag(1, LEN).varint(request.end - request.start - removed + added)
    output.rawRange(chunk, request.start, fieldStart).len(1, content)
    copied = fieldEnd
  }
  return output === undefined ? chunk : output.rawRange(chunk, copied, chunk.length).finish()
}

/** What an ItemEdit did with an item. */
export const KEEP = 0
export const DROP = 1
export const WROTE = 2
export type Verdict = typeof KEEP | typeof DROP | typeof WROTE

/**
 * Gets an item (the content of a Span, LogRecord or data point is items.bytes from items.start to items.end;
 * the messages around it are in the walker too) and says what becomes of it. For WROTE it has written the
 * whole new content. Called once for each item, in order.
 */
export type ItemEdit = (items: ItemWalker, output: WireWriter) => Verdict

/**
 * Rewrites and drops items. Metrics, scopes and resources that are left without items disappear from chunks
 * that change. The same batch when every item was kept; a batch without chunks when none was.
 */
export function mapItems(batch: Batch, edit: ItemEdit): Batch {
  const run = new ItemRun(batch, edit)
  const chunks: Uint8Array[] = []
  let changed = false
  for (const chunk of batch.chunks) {
    const output = run.chunk(chunk)
    changed ||= output !== chunk
    if (output.length > 0 || output === chunk) chunks.push(output)
  }
  run.done()
  return changed ? batch.with(chunks, batch.itemCount - run.dropped) : batch
}

class ItemRun {
  dropped = 0
  readonly #batch: Batch
  readonly #edit: ItemEdit
  readonly #items = new ItemWalker()
  readonly #written = borrowWriter()

  constructor(batch: Batch, edit: ItemEdit) {
    this.#batch = batch
    this.#edit = edit
  }

  done(): void {
    returnWriter(this.#written)
  }

  #judge(): Verdict {
    return this.#items.opaque ? KEEP : this.#edit(this.#items, this.#written.truncate(0))
  }

  /** Looks for the first item that changes, and only then begins to copy, from the start. */
  chunk(chunk: Uint8Array): Uint8Array {
    const items = this.#items.reset(this.#batch.signal, chunk)
    let kept = 0
    let verdict: Verdict = KEEP
    while (items.next()) {
      verdict = this.#judge()
      if (verdict !== KEEP) break
      kept++
    }
    if (verdict === KEEP) return chunk
    const assembler = new Assembler(chunk.length + 256)
    items.reset(this.#batch.signal, chunk)
    for (let index = 0; items.next(); index++) {
      if (index > kept) verdict = this.#judge()
      if (index < kept || verdict === KEEP) assembler.add(items)
      else if (verdict === WROTE) assembler.addContent(items, this.#written.view())
      else this.dropped++
    }
    return assembler.finish()
  }
}
