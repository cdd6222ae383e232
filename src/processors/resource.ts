/**
 * `resource` processor: edits the attributes of the resource of everything that passes.
 *
 *     processors:
 *       resource:
 *         attributes:
 *           - key: deployment.environment.name
 *             value: production
 *             action: upsert
 *
 * Only Resource messages are rewritten. Spans, data points and log records are copied as encoded bytes,
 * one copy per chunk, so the cost follows the number of resources and not the number of items. A chunk in
 * which nothing changes is handed on as it is. Resources that become equal are not merged.
 */
import { z } from 'zod'
import { defineProcessor } from '../component/define.ts'
import { AttributeList } from '../otlp/attribute-list.ts'
import type { Batch } from '../otlp/batch.ts'
import { RESOURCE, RESOURCE_SPANS } from '../otlp/fields.ts'
import { givePayload, takePayload } from '../otlp/payload-pool.ts'
import { FieldCursor, LEN, lenFieldLength, putLenHeader, putRange } from '../otlp/wire.ts'
import { resourceAction } from './attribute-actions/config.ts'
import { AttributeEditor } from './attribute-actions/editor.ts'

const config = z.strictObject({
  attributes: z.array(resourceAction).min(1, { error: 'at least one action is required' }),
})

/** Configs whose entries without an action were named: a config is one object in all pipelines. */
const warned = new WeakSet<object>()

export default defineProcessor({
  type: 'resource',
  signals: ['traces', 'metrics', 'logs'],
  stability: 'stable',
  summary: 'Edits resource attributes: insert, update, upsert, delete, hash, extract, convert.',
  capabilities: { mutatesData: false }, // It builds new bytes and leaves the shared ones alone.
  config,
  telemetry: {},
  create({ config, logger, host, next }) {
    const silent = config.attributes.filter((entry) => !entry.action).map((entry) => entry.key)
    if (silent.length > 0 && host.shard === 0 && !warned.has(config)) {
      warned.add(config)
      logger.warn('Entries without an action are taken as upsert.', { keys: silent })
    }
    const rewriter = new ResourceRewriter(new AttributeEditor(config.attributes, 'upsert'))
    const releases = next.releases === true
    return {
      releases,
      // Async, so that broken bytes reject instead of throwing.
      async consume(batch) {
        const rewritten = rewriter.rewrite(batch, releases)
        if (!releases || rewritten === batch) return next.consume(rewritten)
        try {
          await next.consume(rewritten)
        } finally {
          for (const [index, chunk] of rewritten.chunks.entries()) {
            if (chunk !== batch.chunks[index]) givePayload(chunk)
          }
        }
      },
    }
  },
})

/** The request field that holds Resource* messages, in all three signals. */
const RESOURCES = 1

/**
 * Numbers of one rewritten Resource* message: where its field and its content begin, the range of the
 * resource field that is replaced (empty where there was none), offset and length of the new resource,
 * new length of the content.
 */
const PATCH = 7

/** Applies an editor to all resources of a batch. */
export class ResourceRewriter {
  readonly #editor: AttributeEditor
  readonly #list = new AttributeList()
  readonly #request = new FieldCursor()
  readonly #resources = new FieldCursor()
  /** Rewritten Resource* messages of the chunk at hand, and the contents of their new resources. */
  readonly #patches: number[] = []
  #contents: Uint8Array = Buffer.allocUnsafeSlow(4096)

  constructor(editor: AttributeEditor) {
    this.#editor = editor
  }

  /** The batch itself when nothing changes. `pooled`: the caller gives the new chunks back to the payload pool. */
  rewrite(batch: Batch, pooled = false): Batch {
    this.#editor.begin(batch.context)
    const { chunks } = batch
    let output: Uint8Array[] | undefined
    for (let index = 0; index < chunks.length; index++) {
      const chunk = chunks[index]!
      const edited = this.#rewriteChunk(chunk, pooled)
      if (edited === chunk) continue
      output ??= chunks.slice()
      output[index] = edited
    }
    return output === undefined ? batch : batch.with(output, batch.itemCount)
  }

  #rewriteChunk(chunk: Uint8Array, pooled: boolean): Uint8Array {
    this.#patches.length = 0
    const request = this.#request.reset(chunk)
    let contentsAt = 0
    let length = chunk.length
    // message Export*Request { repeated Resource* resource_* = 1; } message Resource* { Resource resource
    // = 1; ... }
    while (request.next()) {
      if (request.number !== RESOURCES || request.wireType !== LEN) continue
      let fieldStart = request.start
      let start = request.start
      let end = request.start
      const resources = this.#resources.enter(request)
      while (resources.next()) {
        if (resources.number !== RESOURCE_SPANS.resource || resources.wireType !== LEN) continue
        fieldStart = resources.fieldStart
        start = resources.start
        end = resources.end
        break // A batch has at most one per message.
      }
      const list = this.#list.load(chunk, start, end, RESOURCE.attributes)
      this.#editor.edit(list)
      if (!list.changed) continue
      const contentLength = list.encodedLength
      this.#reserveContents(contentsAt, contentLength)
      list.writeTo(this.#contents, contentsAt)
      const resourcesLength =
        request.end -
        request.start -
        (end - fieldStart) +
        lenFieldLength(RESOURCE_SPANS.resource, contentLength)
      this.#patches.push(
        request.fieldStart,
        request.start,
        fieldStart,
        end,
        contentsAt,
        contentLength,
        resourcesLength,
      )
      contentsAt += contentLength
      length += lenFieldLength(RESOURCES, resourcesLength) - (request.end - request.fieldStart)
    }
    return this.#patches.length === 0 ? chunk : this.#assemble(chunk, length, pooled)
  }

  #reserveContents(used: number, more: number): void {
    if (used + more <= this.#contents.length) return
    const grown = Buffer.allocUnsafeSlow((used + more) * 2)
    grown.set(this.#contents.subarray(0, used))
    this.#contents = grown
  }

  /** Writes the chunk anew, `length` bytes: what lies between the patches is copied in one piece. */
  #assemble(chunk: Uint8Array, length: number, pooled: boolean): Uint8Array {
    // Small ones that are not given back share Node's own pool.
    const output = pooled ? takePayload(length).subarray(0, length) : Buffer.allocUnsafe(length)
    const patches = this.#patches
    let copied = 0
    let at = 0
    for (let index = 0; index < patches.length; index += PATCH) {
      const resourcesStart = patches[index + 1]!
      const contents = patches[index + 4]!
      const contentLength = patches[index + 5]!
      at = putRange(output, at, chunk, copied, patches[index]!)
      at = putLenHeader(output, at, RESOURCES, patches[index + 6]!)
      at = putRange(output, at, chunk, resourcesStart, patches[index + 2]!)
      at = putLenHeader(output, at, RESOURCE_SPANS.resource, contentLength)
      at = putRange(output, at, this.#contents, contents, contents + contentLength)
      copied = patches[index + 3]!
    }
    putRange(output, at, chunk, copied, chunk.length)
    return output
  }
}
