/** The gRPC load: one call at a time on each connection, or calls at a given rate over all of them. */
import { writeFileSync } from 'node:fs'
import type { Request } from '../support/requests.ts'
import { callHeaders, type FramedRequest, frameRequest } from './framing.ts'
import { GrpcConnection } from './grpc-connection.ts'
import { GRPC_METHODS, type LoadPlan, type Refusals, Times } from './plan.ts'

export interface Counts {
  readonly requests: number
  readonly errors: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly nextSerial: number
  readonly refusals?: Refusals
}

const UNAVAILABLE = 14
/** Requests laid out beyond one for each connection, so that a connection sends different ones. */
const SPARE_REQUESTS = 8

/** Requests that no call uses, oldest first. */
class Pool {
  readonly #free: FramedRequest[] = []
  readonly #make: (index: number) => FramedRequest
  #made = 0

  constructor(plan: LoadPlan, variants: readonly Request[]) {
    const headers = callHeaders(
      plan.port,
      GRPC_METHODS[plan.kind ?? 'traces'],
      plan.gzip ? 'gzip' : undefined,
    )
    this.#make = (index) =>
      frameRequest(variants[index % variants.length] as Request, headers, plan.gzip === true)
    for (let index = 0; index < SPARE_REQUESTS; index++) this.give(this.#make(this.#made++))
  }

  take(): FramedRequest {
    return this.#free.shift() ?? this.#make(this.#made++)
  }

  give(framed: FramedRequest): void {
    this.#free.push(framed)
  }
}

/** Each connection begins its next call when one is answered. */
export function closedLoop(plan: LoadPlan, variants: readonly Request[]): Promise<Counts> {
  const pool = new Pool(plan, variants)
  const times = new Times()
  const release = (framed: FramedRequest) => pool.give(framed)
  const deadline = performance.now() + (plan.seconds ?? 1e6) * 1000
  const limit = plan.requests ?? Number.POSITIVE_INFINITY
  let started = 0
  let requests = 0
  let errors = 0
  return new Promise((resolve) => {
    const calls = plan.calls ?? 1
    let running = plan.connections * calls
    const connections = Array.from({ length: plan.connections }, () => {
      const next = () => {
        if (started < limit && !connection.dead && performance.now() < deadline)
          connection.call(pool.take(), plan.serial + started++)
        else if (--running === 0) finish()
      }
      const connection = new GrpcConnection(
        plan.port,
        (_call, ok, ms) => {
          times.add(ms)
          if (ok) requests++
          else errors++
          next()
        },
        release,
      )
      for (let call = 0; call < calls; call++) queueMicrotask(next)
      return connection
    })
    const finish = () => {
      for (const connection of connections) connection.close()
      resolve({ requests, errors, ...times.percentiles(), nextSerial: plan.serial + started })
    }
  })
}

const TICK_MS = 5
/** How long answers are waited for after the last call. */
const LINGER_MS = 20_000

/** Calls begin at `rate` a second, whatever the answers are, as far as `calls` on each connection allows. */
export async function openLoop(plan: LoadPlan, variants: readonly Request[]): Promise<Counts> {
  const pool = new Pool(plan, variants)
  const times = new Times()
  const seconds = plan.seconds ?? 10
  const rate = plan.rate ?? 1
  const acknowledged = new Uint8Array(Math.ceil((rate * seconds * 1.1) / 8) + 1024)
  const counts = {
    requests: 0,
    errors: 0,
    unavailable: 0,
    withRetryInfo: 0,
    otherStatus: 0,
    lost: 0,
    notSent: 0,
  }
  const connect = () =>
    new GrpcConnection(
      plan.port,
      (call, ok, ms, status, retryInfo) => {
        if (ok) {
          counts.requests++
          times.add(ms)
          const bit = call.serial - plan.serial
          acknowledged[bit >> 3]! |= 1 << (bit & 7)
          return
        }
        counts.errors++
        if (status === UNAVAILABLE) counts.unavailable++
        else if (status < 0) counts.lost++
        else counts.otherStatus++
        if (status === UNAVAILABLE && retryInfo) counts.withRetryInfo++
      },
      (framed) => pool.give(framed),
    )
  const connections = Array.from({ length: plan.connections }, connect)
  const startMs = performance.now()
  let due = 0
  let sent = 0
  for (let turn = 0; performance.now() - startMs < seconds * 1000; ) {
    const target = Math.floor(((performance.now() - startMs) / 1000) * rate)
    for (; due < target; due++) {
      const index = turn++ % connections.length
      if (connections[index]?.dead) connections[index] = connect()
      const connection = connections[index] as GrpcConnection
      if (connection.open >= (plan.calls ?? 1)) counts.notSent++
      else connection.call(pool.take(), plan.serial + sent++)
    }
    await sleep(TICK_MS)
  }
  const lingerUntil = performance.now() + LINGER_MS
  while (connections.some(({ open }) => open > 0) && performance.now() < lingerUntil) await sleep(50)
  const unanswered = connections.reduce((sum, { open }) => sum + open, 0)
  for (const connection of connections) connection.close()
  if (plan.acknowledgedFile !== undefined) writeFileSync(plan.acknowledgedFile, acknowledged)
  const { requests, errors, ...refusals } = counts
  refusals.lost += unanswered
  return {
    requests,
    errors: errors + unanswered,
    ...times.percentiles(),
    nextSerial: plan.serial + sent,
    refusals,
  }
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
