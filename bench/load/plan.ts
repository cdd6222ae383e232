/** What the driver is asked to do, and what it answers. */
import type { RequestSettings } from '../support/requests.ts'

export interface LoadPlan extends Partial<RequestSettings> {
  readonly protocol: 'grpc' | 'http'
  readonly port: number
  readonly connections: number
  readonly items: number
  /** First serial of the requests: each brings traces and times of its own. */
  readonly serial: number
  /** The end: a number of requests, or a time after which no more are begun. One of the two. */
  readonly requests?: number
  readonly seconds?: number
  /** gRPC: calls that a connection has open at a time; 1 if not said. */
  readonly calls?: number
  /**
   * gRPC: requests a second, begun whether or not answers come; otherwise the next call begins when one is answered. What is due
   * beyond `calls` is not sent, and counted.
   */
  readonly rate?: number
  /** With a rate: where the serials that were acknowledged are written, one bit each. */
  readonly acknowledgedFile?: string
}

export interface LoadResult {
  /** Answered with success. */
  readonly requests: number
  readonly errors: number
  readonly items: number
  readonly seconds: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly driverCpuMicrosPerItem: number
  /** Share of one core that the driver used. */
  readonly driverCpuShare: number
  /** The serial after the last. */
  readonly nextSerial: number
  readonly refusals?: Refusals
}

/** How requests were turned away, of a load with a rate. */
export interface Refusals {
  readonly unavailable: number
  /** Of those: answers with google.rpc.RetryInfo. */
  readonly withRetryInfo: number
  readonly otherStatus: number
  readonly lost: number
  readonly notSent: number
}

/** Milliseconds of each answer, without a limit on their number and without an object each. */
export class Times {
  #values = new Float64Array(65_536)
  #count = 0

  add(ms: number): void {
    if (this.#count === this.#values.length) {
      const grown = new Float64Array(this.#count * 2)
      grown.set(this.#values)
      this.#values = grown
    }
    this.#values[this.#count++] = ms
  }

  percentiles(): { p50Ms: number; p99Ms: number } {
    const sorted = this.#values.subarray(0, this.#count).sort()
    const at = (share: number) => sorted[Math.floor(sorted.length * share)] ?? 0
    return { p50Ms: at(0.5), p99Ms: at(0.99) }
  }
}

export const TRACES_METHOD = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
export const GRPC_METHODS = {
  traces: TRACES_METHOD,
  'json-traces': TRACES_METHOD,
  metrics: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
  logs: '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
} as const
export const HTTP_PATHS = {
  traces: '/v1/traces',
  'json-traces': '/v1/traces',
  metrics: '/v1/metrics',
  logs: '/v1/logs',
} as const
