/**
 * Walks one chunk of any signal: Resource* messages, their Scope* messages, their items (spans, metrics, log
 * records).
 *
 * The three signals have the same outer shape (opentelemetry-proto, field 1 of the request; resource = 1,
 * scope_* = 2, schema_url = 3; scope = 1, items = 2, schema_url = 3), so one walker serves all of them. For
 * metrics an item is a Metric; its data points lie one level below. Ranges are offsets into the chunk.
 * Nothing is allocated per step.
 *
 *     const walker = new ChunkWalker()
 *     walker.reset(chunk)
 *     while (walker.nextResource())
 *       while (walker.nextScope())
 *         while (walker.nextItem()) use(chunk, walker.itemStart, walker.itemEnd)
 */
import { FieldCursor, LEN } from './wire.ts'

export class ChunkWalker {
  /** The Resource* message: its content. */
  resourcesStart = 0
  resourcesEnd = 0
  /** The Resource inside it: its content; start = end when it is absent. */
  resourceStart = 0
  resourceEnd = 0
  /** The Scope* message: its content. */
  scopesStart = 0
  scopesEnd = 0
  /** The InstrumentationScope inside it: its content; start = end when it is absent. */
  scopeStart = 0
  scopeEnd = 0
  /** The item: where its tag begins, and its content. */
  itemFieldStart = 0
  itemStart = 0
  itemEnd = 0
  /** schema_url of the Resource* and of the Scope* message; start = end when absent. */
  resourceSchemaStart = 0
  resourceSchemaEnd = 0
  scopeSchemaStart = 0
  scopeSchemaEnd = 0

  readonly #request = new FieldCursor()
  readonly #resources = new FieldCursor()
  readonly #scopes = new FieldCursor()
  readonly #ahead = new FieldCursor()

  reset(chunk: Uint8Array): this {
    this.#request.reset(chunk)
    this.#resources.reset(chunk, 0, 0)
    this.#scopes.reset(chunk, 0, 0)
    return this
  }

  nextResource(): boolean {
    const request = this.#request
    while (request.next()) {
      if (request.number !== 1 || request.wireType !== LEN) continue
      this.resourcesStart = request.start
      this.resourcesEnd = request.end
      this.resourceStart = this.resourceEnd = request.start
      this.resourceSchemaStart = this.resourceSchemaEnd = request.start
      // A sender may put the resource after the scopes: look for it first.
      const ahead = this.#ahead.enter(request)
      while (ahead.next()) {
        if (ahead.wireType !== LEN) continue
        if (ahead.number === 1) {
          this.resourceStart = ahead.start
          this.resourceEnd = ahead.end
        } else if (ahead.number === 3) {
          this.resourceSchemaStart = ahead.start
          this.resourceSchemaEnd = ahead.end
        }
      }
      this.#resources.enter(request)
      this.#scopes.reset(request.bytes, 0, 0)
      return true
    }
    return false
  }

  nextScope(): boolean {
    const resources = this.#resources
    while (resources.next()) {
      if (resources.number !== 2 || resources.wireType !== LEN) continue
      this.scopesStart = resources.start
      this.scopesEnd = resources.end
      this.scopeStart = this.scopeEnd = resources.start
      this.scopeSchemaStart = this.scopeSchemaEnd = resources.start
      const bytes = resources.bytes
      // The scope nearly always comes first; if the message begins with an item, it may follow the items.
      if (resources.start < resources.end && bytes[resources.start] !== 0x0a) this.#findScope(resources)
      this.#scopes.enter(resources)
      return true
    }
    return false
  }

  #findScope(resources: FieldCursor): void {
    const ahead = this.#ahead.enter(resources)
    while (ahead.next()) {
      if (ahead.number === 1 && ahead.wireType === LEN) {
        this.scopeStart = ahead.start
        this.scopeEnd = ahead.end
      }
    }
  }

  nextItem(): boolean {
    const scopes = this.#scopes
    while (scopes.next()) {
      if (scopes.wireType !== LEN) continue
      if (scopes.number === 2) {
        this.itemFieldStart = scopes.fieldStart
        this.itemStart = scopes.start
        this.itemEnd = scopes.end
        return true
      }
      if (scopes.number === 1) {
        this.scopeStart = scopes.start
        this.scopeEnd = scopes.end
      } else if (scopes.number === 3) {
        this.scopeSchemaStart = scopes.start
        this.scopeSchemaEnd = scopes.end
      }
    }
    return false
  }
}
