/**
 * Loaded before everything else, in each thread: the wall clock is as many milliseconds off as the file at
 * WEIR_CLOCK_FILE says. A thread that sees the clock jump notes it beside that file.
 */
import { appendFileSync, readFileSync } from 'node:fs'
import { threadId } from 'node:worker_threads'

const LOOK_MS = 50
const path = process.env['WEIR_CLOCK_FILE']
const real = Date.now.bind(Date)
let offsetMs = 0
let lookedMs = 0

function now(): number {
  const realMs = real()
  if (path !== undefined && realMs - lookedMs > LOOK_MS) {
    lookedMs = realMs
    const found = Number(readFileSync(path, 'utf8'))
    if (found !== offsetMs) appendFileSync(`${path}.seen`, `${threadId} ${found}\n`)
    offsetMs = found
  }
  return realMs + offsetMs
}

Date.now = now
globalThis.Date = new Proxy(Date, {
  construct: (target, given) =>
    given.length === 0 ? new target(now()) : (Reflect.construct(target, given) as Date), // Date makes a Date.
})
