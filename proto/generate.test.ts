import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { expect, test } from 'vitest'
import { generate } from './generate.ts'

for (const file of generate()) {
  test(`${basename(file.path.pathname)} is what the .proto files say`, () => {
    expect(readFileSync(file.path, 'utf8'), 'run: node proto/generate.ts').toBe(file.text)
  })
}
