/** Configuration of `memory_limiter`: fields and checks of the Go collector's. */
import os from 'node:os'
import { z } from 'zod'
import { duration } from '../../config/fields.ts'

const mebibytes = () => z.int().min(0).max(0xffffffff).default(0)
const percentage = () => z.int().min(0).max(100).default(0)

export const config = z
  .strictObject({
    check_interval: duration().default(0),
    limit_mib: mebibytes(), // The hard limit; wins over limit_percentage.
    spike_limit_mib: mebibytes(), // 0: a fifth of the limit.
    limit_percentage: percentage(), // Of the memory of the container or else of the machine.
    spike_limit_percentage: percentage(), // 0: a fifth of the limit.
    min_gc_interval_when_soft_limited: duration().default(10_000),
    min_gc_interval_when_hard_limited: duration().default(0),
    max_gc_interval_when_soft_limited: duration().default(30_000), // 0: the interval does not grow.
    max_gc_interval_when_hard_limited: duration().default(30_000),
  })
  .superRefine((config, context) => {
    const complain = (field: keyof typeof config, message: string) =>
      context.addIssue({ code: 'custom', path: [field], message })
    if (config.check_interval <= 0) complain('check_interval', 'must be greater than zero, for example 1s')
    if (config.limit_mib === 0 && config.limit_percentage === 0)
      complain('limit_mib', 'limit_mib or limit_percentage is required')
    if (config.limit_mib > 0 && config.spike_limit_mib >= config.limit_mib)
      complain('spike_limit_mib', 'must be less than limit_mib')
    if (config.limit_percentage > 0 && config.spike_limit_percentage >= config.limit_percentage)
      complain('spike_limit_percentage', 'must be less than limit_percentage')
    const soft = config.min_gc_interval_when_soft_limited
    const hard = config.min_gc_interval_when_hard_limited
    const softMost = config.max_gc_interval_when_soft_limited
    const hardMost = config.max_gc_interval_when_hard_limited
    if (hard < 0) complain('min_gc_interval_when_hard_limited', 'must not be negative')
    if (soft < hard)
      complain('min_gc_interval_when_soft_limited', 'must not be less than min_gc_interval_when_hard_limited')
    if (softMost < 0) complain('max_gc_interval_when_soft_limited', 'must not be negative')
    if (hardMost < 0) complain('max_gc_interval_when_hard_limited', 'must not be negative')
    if (softMost > 0 && softMost < soft)
      complain('max_gc_interval_when_soft_limited', 'must not be less than min_gc_interval_when_soft_limited')
    if (hardMost > 0 && hardMost < hard)
      complain('max_gc_interval_when_hard_limited', 'must not be less than min_gc_interval_when_hard_limited')
    if (softMost > 0 && hardMost > 0 && softMost < hardMost)
      complain('max_gc_interval_when_soft_limited', 'must not be less than max_gc_interval_when_hard_limited')
  })

export type Config = z.infer<typeof config>

export interface Limits {
  readonly hardBytes: number
  readonly softBytes: number
}

const MIB = 1024 * 1024

/**
 * The limits in bytes. Data is refused from the soft limit on; the hard limit only makes collections more
 * urgent.
 */
export function limitsOf(config: Config, totalBytes: () => number = totalMemoryBytes): Limits {
  let hard: number
  let spike: number
  if (config.limit_mib > 0) {
    hard = config.limit_mib * MIB
    spike = config.spike_limit_mib * MIB
  } else {
    const total = totalBytes()
    hard = Math.floor((total * config.limit_percentage) / 100)
    spike = Math.floor((total * config.spike_limit_percentage) / 100)
  }
  if (spike === 0) spike = Math.floor(hard / 5)
  return { hardBytes: hard, softBytes: hard - spike }
}

/**
 * The memory that this process may use: what its cgroup (version 1 or 2) allows, else that of the
 * machine.
 */
export function totalMemoryBytes(
  constrained: number = process.constrainedMemory(),
  machine: number = os.totalmem(),
): number {
  // Without a cgroup limit the runtime says 0, or a number larger than any memory.
  return constrained > 0 ? Math.min(constrained, machine) : machine
}
