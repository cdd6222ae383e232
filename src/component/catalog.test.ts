import { expect, test } from 'vitest'
import { z } from 'zod'
import { registry } from '../components.ts'
import { entry, registryOf } from './catalog.ts'
import { defineExporter } from './define.ts'

const definition = (type: string, deprecatedTypes: readonly string[]) =>
  defineExporter({
    type,
    deprecatedTypes,
    stability: 'stable',
    summary: 'For tests.',
    telemetry: {},
    signals: ['traces'],
    config: z.strictObject({}),
    create: () => ({ consume: async () => {} }),
  })

test('only what the tree names is loaded, by its present or an old name', async () => {
  const f = async (tree: unknown, want: string[]) => {
    const loaded: string[] = []
    const one = (type: string, old: string[]) =>
      entry(
        type,
        async () => {
          loaded.push(type)
          return { default: definition(type, old) }
        },
        old,
      )
    const catalog = {
      receivers: [],
      processors: [],
      exporters: [one('new_name', ['oldname']), one('other', []), one('third', [])],
      connectors: [],
      extensions: [],
      refused: {},
    }
    const { exporters, names } = await registryOf(catalog)(tree)
    expect(loaded).toEqual(want)
    expect(exporters.map(({ type }) => type)).toEqual(want)
    expect(names?.exporter).toEqual(['new_name', 'oldname', 'other', 'third'])
  }
  await f({ exporters: { new_name: null } }, ['new_name'])
  await f({ exporters: { 'oldname/x': {}, ' third / y': {} } }, ['new_name', 'third'])
  await f({ processors: { other: {} }, exporters: { '': {}, '1': {} } }, [])
  for (const junk of [null, 'text', [], { exporters: 1 }, { exporters: null }]) await f(junk, [])
  await f(undefined, ['new_name', 'other', 'third'])
})

test('every name of the catalog is the name of its component', async () => {
  const { names, receivers, processors, exporters, connectors, extensions } = await registry()
  const all = [receivers, processors, exporters, connectors, extensions].flat()
  const own: Record<string, string[]> = {}
  for (const { kind, type, deprecatedTypes } of all) {
    own[kind] = [...(own[kind] ?? []), type, ...(deprecatedTypes ?? [])]
  }
  expect(names).toEqual(own)
})
