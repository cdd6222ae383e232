/** Figures of a running collector: sums of series on its metrics page, and its memory. */
import { readFileSync } from 'node:fs'

/** For `service.telemetry`. */
export const telemetryAt = (port: number) => ({
  metrics: { readers: [{ pull: { exporter: { prometheus: { host: 'localhost', port } } } }] },
})

/** The sum of the series of this name that have these labels. */
export async function sumOf(port: number, name: string, ...labels: readonly string[]): Promise<number> {
  const text = await (await fetch(`http://localhost:${port}/metrics`)).text()
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) && labels.every((label) => line.includes(label)))
    .reduce((total, line) => total + Number(line.split(' ').at(-1)), 0)
}

/** Resident memory in MiB: now, or the most there ever was. */
export function memoryMib(pid: number, which: 'VmRSS' | 'VmHWM' = 'VmRSS'): number {
  const [, kib] =
    new RegExp(`^${which}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kib) / 1024
}
