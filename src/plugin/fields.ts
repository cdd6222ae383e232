/** Fields for the schemas of plugins, beside duration() and secret() of config/fields.ts. */
import { z } from 'zod'

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KIB: 1024,
  MIB: 1024 ** 2,
  GIB: 1024 ** 3,
}

/** `64MiB`, `1.5GB`, or a number of bytes: in bytes. */
export function size() {
  return z
    .union([z.string(), z.int()], { error: 'expected a size such as 64MiB or 10MB' })
    .transform((value, context) => {
      const [, amount = '', unit = ''] = /^\s*(\d+(?:\.\d+)?)\s*([KMG]?i?B?)\s*$/i.exec(String(value)) ?? []
      const bytes = amount === '' ? Number.NaN : Number(amount) * (UNITS[unit.toUpperCase()] ?? Number.NaN)
      if (Number.isFinite(bytes)) return Math.floor(bytes)
      context.addIssue({ code: 'custom', message: `"${value}" is not a size such as 64MiB or 10MB` })
      return z.NEVER
    })
    .meta({ type: 'string', title: 'size' })
}

/** `host:port`, `:port` or `[::1]:port`, as host.listen() takes it. */
export function endpoint() {
  return z
    .string()
    .regex(/^(?:\[[0-9a-fA-F:.%]+\]|[^\s:/]*):\d{1,5}$/, {
      error: 'expected an address such as localhost:4318',
    })
    .refine((text) => Number(text.slice(text.lastIndexOf(':') + 1)) <= 65_535, {
      error: 'a port is at most 65535',
    })
    .meta({ title: 'endpoint' })
}
