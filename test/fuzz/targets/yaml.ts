/**
 * Configurations: text is loaded, or refused with every problem at its place, one line each. No key reaches a prototype, and
 * redacting what was loaded for print-config does not fail.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { registry as load } from '../../../src/components.ts'
import { loadConfig } from '../../../src/config/load.ts'
import { redactTree } from '../../../src/config/print.ts'
import { ConfigError } from '../../../src/errors.ts'
import { YAML_PIECES } from '../../property/yaml-pieces.ts'
import { type Draw, mutateBytes } from '../draw.ts'
import type { Target } from '../target.ts'

const PIPELINES = join(import.meta.dirname, '../../../pipelines')
const ENV = { A: '$' + '{env:B}', B: '[1, x]', C: '$$' }

export async function yamlTarget(): Promise<Target> {
  const registry = await load()
  const configs = readdirSync(PIPELINES).filter((name) => name.endsWith('.yaml'))
  return {
    seeds: () =>
      configs.map((name) => readFileSync(join(PIPELINES, name))).filter(({ length }) => length < 4000),
    next: (draw, pool) => mutate(draw, draw.pick(pool), draw.pick(pool)),
    async run(input) {
      const text = Buffer.from(input).toString()
      const accepted = await loadConfig({ sources: [`yaml:${text}`], sets: [], env: ENV, registry }).then(
        ({ tree }) => {
          redactTree(tree, registry)
          return true
        },
        (error: unknown) => {
          if (!(error instanceof ConfigError)) throw error
          if (error.problems.length === 0) throw new Error('refused without a problem')
          if (error.message.split('\n').length !== error.problems.length)
            throw new Error('more lines than problems')
          return false
        },
      )
      if (Object.hasOwn(Object.prototype, 'polluted')) throw new Error('a prototype was reached')
      return accepted
    },
  }
}

/** Without includes of files, and without plugins, which would be looked for on the disk. */
function mutate(draw: Draw, text: Uint8Array, other: Uint8Array): Buffer {
  let mutant: Buffer = Buffer.from(text)
  for (let count = 1 + draw.below(3); count > 0; count--) {
    if (draw.chance(0.3)) {
      mutant = mutateBytes(draw, mutant, other)
      continue
    }
    const at = draw.below(mutant.length + 1)
    const end = draw.chance(0.6) ? at : lineEnd(mutant, at)
    const piece = Buffer.from(draw.pick(YAML_PIECES))
    const times = draw.chance(0.01) ? draw.below(400) : 1
    mutant = Buffer.concat([mutant.subarray(0, at), ...Array(times).fill(piece), mutant.subarray(end)])
  }
  const safe = mutant
    .subarray(0, 6000)
    .toString()
    .replace(/file:|plugins/g, 'x')
  return Buffer.from(safe)
}

function lineEnd(text: Buffer, at: number): number {
  const end = text.indexOf(10, at)
  return end < 0 ? text.length : end
}
