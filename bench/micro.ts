/**
 * `npm run bench:micro`: runs every bench in bench/micro, one after the other, and prints their figures in one table.
 *
 *     npm run bench:micro               all
 *     npm run bench:micro -- json wire  those whose name has one of the words
 *
 * A figure is a line that has `MEDIAN ... (LEAST to MOST)`, as all of them print it; everything else is passed over.
 */
import { execFileSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { basename, join } from 'node:path'

const LIMIT_MS = 120_000
const FIGURE = /^(.*?):?\s+(?:median )?([\d.]+)\s*([^(]*)\(([\d.]+) to ([\d.]+)\)(.*)$/

const words = process.argv.slice(2)
const files = globSync('micro/*.ts', { cwd: import.meta.dirname }).toSorted()
const chosen = files.filter((file) => words.length === 0 || words.some((word) => file.includes(word)))

console.log('| bench | case | CPU, median | range | |\n| --- | --- | --- | --- | --- |')
for (const file of chosen) {
  const startMs = performance.now()
  const path = join(import.meta.dirname, file)
  try {
    const flags = ['--expose-gc', path]
    const output = execFileSync(process.execPath, flags, { encoding: 'utf8', timeout: LIMIT_MS })
    const name = basename(file, '.ts')
    for (const line of output.split('\n')) {
      const [, label, middle, unit, least, most, rest] = FIGURE.exec(line.trim()) ?? []
      if (label === undefined) continue
      const about = `${unit?.trim()}${rest}`.replace(/^[\s,]+/, '').trim()
      console.log(`| ${name} | ${label.trim()} | ${middle} | ${least} to ${most} | ${about} |`)
    }
    const seconds = ((performance.now() - startMs) / 1000).toFixed(0)
    console.log(`| ${name} | (${seconds} s) | | | |`)
  } catch (error) {
    process.exitCode = 1
    console.log(`| ${file} | FAILED: ${String(error).split('\n')[0]} | | | |`)
  }
}
