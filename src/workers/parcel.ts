/**
 * What a link sends in a message: batches that do not fit into a record of the mailbox, and the news about
 * them.
 */
import { isMarkedAsUntransferable } from 'node:worker_threads'
import { NO_CONTEXT, type RequestContext, type Signal } from '../otlp/batch.ts'
import type { Delivery } from '../otlp/delivery.ts'
import type { DeliveryMessage, PackedDelivery } from './link-deliveries.ts'
import type { PackedError } from './packed-error.ts'

/** A chunk of a parcel: its bytes, or where they lie in the sender's arena. */
export type ParcelChunk = Uint8Array | { readonly place: number; readonly length: number }

export interface Parcel {
  readonly id: number
  readonly stage: string
  /** What the stage is called in records from now on. */
  readonly stageNumber: number
  readonly owned: boolean
  readonly signal: Signal
  readonly items: number
  readonly chunks: readonly ParcelChunk[]
  /** Undefined when nothing of it matters over there. */
  readonly context: PackedContext | undefined
  readonly delivery: PackedDelivery | undefined
}
/** A parcel under way: the caller that waits for its acknowledgement. */
export interface Waiting {
  readonly resolve: (items: number) => void
  readonly reject: (error: Error) => void
  readonly bytes: number
  /** The place of its only chunk, or -1: see `parcel`. */
  readonly place: number
  readonly parcel: Parcel | undefined
}

interface PackedContext extends Omit<RequestContext, 'metadata' | 'delivery'> {
  readonly metadata?: RequestContext['metadata']
}
export interface Message extends DeliveryMessage {
  /** Mailbox and arena of the sender; comes first of all. */
  memory?: SharedArrayBuffer
  parcels?: Parcel[]
  acks?: { id: number; items: number }[]
  failures?: { id: number; error: PackedError }[]
}
/** Nothing in it that does not fit into a record. */
export function isPlain(context: RequestContext): boolean {
  if (context === NO_CONTEXT) return true
  const { metadata, auth, clientAddress, transport } = context
  return metadata.size === 0 && auth === undefined && clientAddress === undefined && transport === undefined
}

/**
 * A copy in a buffer of its own. Buffer.slice would be a view, and a clone would take the whole buffer along.
 */
export function copyBytes(chunk: Uint8Array): Uint8Array {
  const copy = new Uint8Array(chunk.length)
  copy.set(chunk)
  return copy
}

/** Cloning costs by the key: what is empty stays here. */
export function packContext(context: RequestContext): PackedContext | undefined {
  if (context === NO_CONTEXT) return undefined
  const { metadata, delivery: _toldElsewhere, lease: _staysHere, ...rest } = context
  return metadata.size > 0 ? { ...rest, metadata } : rest
}

export function unpackContext(
  packed: PackedContext | undefined,
  delivery: Delivery | undefined,
): RequestContext {
  if (packed === undefined) return NO_CONTEXT
  return { ...packed, metadata: packed.metadata ?? NO_CONTEXT.metadata, delivery }
}

export function isEmpty(message: Message): boolean {
  for (const _ in message) return false
  return true
}

/** Transferring another kind of buffer throws, long after the sender was told that its data is under way. */
export function canTransfer({ buffer }: Uint8Array): boolean {
  return buffer instanceof ArrayBuffer && !isMarkedAsUntransferable(buffer)
}

/** The distinct buffers under the chunks: they change owner with the message. */
export function buffersOf(message: Message): ArrayBuffer[] {
  const buffers = new Set<ArrayBuffer>()
  for (const parcel of message.parcels ?? []) {
    for (const chunk of parcel.chunks) {
      if (chunk instanceof Uint8Array && chunk.buffer instanceof ArrayBuffer) buffers.add(chunk.buffer)
    }
  }
  return [...buffers]
}
