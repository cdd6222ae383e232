#!/usr/bin/env node
// The command `weir`. Plain JavaScript that any Node can read, so that one too old is told what to do instead
// of failing on syntax. In a checkout it starts the sources, installed as a package the compiled program.
import { existsSync } from 'node:fs'
import module from 'node:module'

const NEEDED = [24, 12]
const [major, minor] = process.versions.node.split('.').map(Number)

if (major < NEEDED[0] || (major === NEEDED[0] && minor < NEEDED[1])) {
  const needed = NEEDED.join('.')
  console.error(
    `weir needs Node.js ${needed} or newer, and this is ${process.versions.node}: ` +
      'install Node.js 24, then start weir again',
  )
  process.exitCode = 1
} else {
  const source = new URL('./main.ts', import.meta.url)
  const start = existsSync(source) ? source : new URL('../dist/main.js', import.meta.url)
  module.enableCompileCache() // Here already: main.ts would come too late for itself.
  import(start.href).catch((error) => {
    console.error(error)
    process.exitCode = 2
  })
}
