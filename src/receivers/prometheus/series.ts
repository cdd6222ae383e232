/** One series of a target: the bytes that name it, and where its samples go. */
import type { Group } from './families.ts'
import type { Labels } from './relabel.ts'
import type { Resource } from './resource.ts'

/** What a series is to its group. */
export const VALUE = 0
export const SUM = 1
export const COUNT = 2
export const PART = 3
export const CREATED = 4
/** Read, but no part of a data point. */
export const TARGET_INFO = 5
export const SCOPE_INFO = 6
export const IGNORED = 7
/** Dropped by relabelling. */
export const DROPPED = 8
/** Rejected: counted and logged, but no reason to fail the scrape. */
export const BAD = 9

export interface Series {
  readonly raw: Uint8Array
  /** The one that followed it last time, which is likely to follow again. */
  next: Series | undefined
  seen: number
  forgotten: boolean
  epoch: number
  role: number
  /** Bound of a bucket, or quantile. */
  bound: number
  group: Group | undefined
  /** Of target_info and otel_scope_info. */
  labels: Labels | undefined
  resource: Resource | undefined
}

export function newSeries(raw: Uint8Array): Series {
  return {
    raw,
    next: undefined,
    seen: 0,
    forgotten: false,
    epoch: -1,
    role: IGNORED,
    bound: 0,
    group: undefined,
    labels: undefined,
    resource: undefined,
  }
}
