/** The questions that `npm run bench` answers: one row of the table each. */
import type { LoadPlan } from './load/driver.ts'

export interface Case {
  readonly name: string
  readonly config: string
  readonly protocol: LoadPlan['protocol']
  readonly items: number
  readonly connections: number
  readonly requests: number
  /** Goal: Weir's CPU per item over the Go collector's, at most. */
  readonly goal: number | undefined
}

const TAIL = 'traces-tail-sampling.yaml'
const BATCH = 'traces-batch.yaml'

const row = (
  name: string,
  config: string,
  protocol: LoadPlan['protocol'],
  goal?: number,
  more: Partial<Case> = {},
): Case => ({ name, config, protocol, items: 100, connections: 32, requests: 4000, goal, ...more })

export const CASES: readonly Case[] = [
  row('gRPC traces -> limiter, resource, tail sampling, batch -> nop', TAIL, 'grpc', 0.6),
  row('HTTP traces -> limiter, resource, tail sampling, batch -> nop', TAIL, 'http', 0.4),
  row('gRPC traces -> limiter, resource, batch -> nop', BATCH, 'grpc'),
  row('HTTP traces -> limiter, resource, batch -> nop', BATCH, 'http'),
  row('the first, 1 connection', TAIL, 'grpc', undefined, { connections: 1, requests: 2500 }),
  row('the first, 2 connections', TAIL, 'grpc', undefined, { connections: 2, requests: 2500 }),
  row('the first, 1000 spans a request', TAIL, 'grpc', undefined, { items: 1000, requests: 600 }),
  row('gRPC, one span a request -> limiter, resource, batch -> nop', BATCH, 'grpc', undefined, {
    items: 1,
    requests: 20_000,
  }),
  row('HTTP, one span a request -> limiter, resource, batch -> nop', BATCH, 'http', undefined, {
    items: 1,
    requests: 20_000,
  }),
]
