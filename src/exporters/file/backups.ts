/**
 * Backups of a rotated file: `data.json` becomes `data-2022-09-14T05-02-14.173.json`, and those that are too many or too
 * old are deleted. Only files whose name has exactly this form are ever touched.
 */
import { readdir, rename, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import type { Rotation } from './config.ts'

const DAY_MS = 24 * 60 * 60 * 1000
/** Backups made within one millisecond get the next free one. */
const MOST_ATTEMPTS = 1000

/** `2022-09-14T05-02-14.173`, in UTC or in the time of this machine. */
export function formatTime(timeMs: number, localTime: boolean): string {
  const time = new Date(timeMs)
  const shifted = localTime ? new Date(timeMs - time.getTimezoneOffset() * 60_000) : time
  return shifted.toISOString().slice(0, -1).replaceAll(':', '-')
}

function parseTime(text: string, localTime: boolean): number | undefined {
  const match = /^(\d{4})-(\d\d)-(\d\d)T(\d\d)-(\d\d)-(\d\d)\.(\d{3})$/.exec(text)
  if (!match) return undefined
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, ms = 0] = match.slice(1).map(Number)
  return localTime
    ? new Date(year, month - 1, day, hour, minute, second, ms).getTime()
    : Date.UTC(year, month - 1, day, hour, minute, second, ms)
}

function nameParts(file: string): { directory: string; stem: string; extension: string } {
  const { dir, name, ext } = path.parse(file)
  return { directory: dir, stem: `${name}-`, extension: ext }
}

/** Renames the file to the name of a backup made at this time. */
export async function backUp(file: string, nowMs: number, rotation: Rotation): Promise<void> {
  const { directory, stem, extension } = nameParts(file)
  for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
    const time = formatTime(nowMs + attempt, rotation.localTime)
    const backup = path.join(directory, `${stem}${time}${extension}`)
    if (await stat(backup).catch(() => undefined)) continue
    await rename(file, backup)
    return
  }
  throw new Error(`no free name for a backup of ${path.basename(file)}`)
}

/** Deletes the oldest backups over max_backups and those over max_days. */
export async function deleteOldBackups(file: string, nowMs: number, rotation: Rotation): Promise<void> {
  if (rotation.maxBackups === 0 && rotation.maxDays === 0) return
  const { directory, stem, extension } = nameParts(file)
  const backups: { name: string; timeMs: number }[] = []
  for (const name of await readdir(directory)) {
    if (!name.startsWith(stem) || !name.endsWith(extension)) continue
    const timeMs = parseTime(name.slice(stem.length, name.length - extension.length), rotation.localTime)
    if (timeMs !== undefined) backups.push({ name, timeMs })
  }
  backups.sort((a, b) => b.timeMs - a.timeMs)
  for (const [index, { name, timeMs }] of backups.entries()) {
    const tooMany = rotation.maxBackups > 0 && index >= rotation.maxBackups
    const tooOld = rotation.maxDays > 0 && nowMs - timeMs > rotation.maxDays * DAY_MS
    if (tooMany || tooOld) await rm(path.join(directory, name), { force: true })
  }
}
