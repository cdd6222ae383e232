/**
 * OTLP requests in protobuf: the door against the plain reference of its rules and, for part of them, protobufjs; what passes goes
 * on through one of the paths behind it, which may refuse nothing that the door let in.
 *
 * An input is a byte that chooses the path and the signal, then the request.
 */
import { isDeepStrictEqual } from 'node:util'
import { WireError } from '../../../src/errors.ts'
import { Batch, SIGNALS, type Signal } from '../../../src/otlp/batch.ts'
import { checkChunk, receiveRequest } from '../../../src/otlp/receive.ts'
import { decodeLoosely } from '../../support/otlp.ts'
import { randomRequest } from '../../support/random-otlp.ts'
import { type Draw, mutateBytes } from '../draw.ts'
import type { Target } from '../target.ts'
import { mutateTree } from '../wire-mutations.ts'
import { reference, type Verdict } from '../wire-reference.ts'
import { makePaths, type Path } from './paths.ts'

const SEEDS = 60
/** Of so many inputs one is compared with protobufjs, which takes long. */
const COMPARED = 16

export async function protobufTarget(): Promise<Target> {
  const paths = await makePaths()
  let runs = 0
  return {
    seeds(draw) {
      const seeds: Uint8Array[] = []
      for (let index = 0; index < SEEDS; index++) {
        const signal = index % SIGNALS.length
        const { bytes, oddBytes } = randomRequest(SIGNALS[signal] ?? 'traces', draw.unit, 1)
        seeds.push(Buffer.concat([Buffer.from([signal]), index % 2 === 0 ? bytes : oddBytes]))
      }
      return seeds.filter(({ length }) => length < 4000)
    },
    next(draw, pool) {
      const base = draw.pick(pool)
      const path = draw.below(64) << 2
      if (draw.chance(0.02)) return Buffer.concat([Buffer.from([path | draw.below(3)]), draw.bytes(60)])
      const request = mutate(draw, base.subarray(1), draw.pick(pool).subarray(1))
      return Buffer.concat([Buffer.from([path | ((base[0] ?? 0) & 3)]), request])
    },
    run(input) {
      const signal = SIGNALS[((input[0] ?? 0) & 3) % 3] ?? 'traces'
      const bytes = input.subarray(1)
      const verdict = reference(signal, bytes)
      const chunk = judged(signal, bytes, verdict)
      if (chunk === undefined) return false
      if (runs++ % COMPARED === 0 && verdict?.legacy === false) compare(signal, bytes, chunk)
      const batch = new Batch(signal, [chunk])
      const mine = paths[signal]
      const path = mine[(input[0] ?? 0) % mine.length]
      return path === undefined ? true : through(path, batch)
    },
  }
}

function mutate(draw: Draw, bytes: Uint8Array, other: Uint8Array): Uint8Array {
  let request = bytes
  for (let count = draw.below(4); count > 0; count--) request = mutateTree(draw, request, other)
  if (request === bytes || draw.chance(0.2)) request = mutateBytes(draw, request, other)
  return request.length > 20_000 ? request.subarray(0, 20_000) : request
}

/** The chunk, or undefined when the door refuses it, which it does when the reference does. */
function judged(signal: Signal, bytes: Uint8Array, verdict: Verdict | undefined): Uint8Array | undefined {
  try {
    const { chunk, itemCount } = receiveRequest(signal, bytes)
    if (verdict?.accepted === false) throw new Error(`accepted, which has ${verdict.why}`)
    if (checkChunk(signal, chunk) !== itemCount) throw new Error('another number of items')
    if (new Batch(signal, [chunk]).itemCount !== itemCount) throw new Error('another walk counts otherwise')
    return chunk
  } catch (error) {
    if (!(error instanceof WireError)) throw error
    if (!(error.offset >= 0 && error.offset <= bytes.length)) throw new Error(`offset ${error.offset}`)
    if (verdict?.accepted === true) throw new Error(`refused: ${error.message}`)
    return undefined
  }
}

/** protobufjs reads the same from the chunk as from the request. */
function compare(signal: Signal, bytes: Uint8Array, chunk: Uint8Array): void {
  if (!isDeepStrictEqual(decodeLoosely(signal, chunk), decodeLoosely(signal, bytes)))
    throw new Error('the chunk means something else')
}

function through(path: Path, batch: Batch): true | Promise<true> {
  const before = Buffer.from(batch.bytes())
  const finish = (): true => {
    if (!before.equals(batch.bytes())) throw new Error(`${path.name} wrote to its input`)
    return true
  }
  const outcome = path.run(batch)
  return outcome === undefined ? finish() : outcome.then(finish)
}
