/** Every way in which editors and volumes change a file is seen once; what leaves the content alone is not. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, expect, test } from 'vitest'
import { eventually } from '../../test/support/peers.ts'
import { silentLogger } from '../component/logger.ts'
import { FileWatch } from './file-watch.ts'

const folder = mkdtempSync(join(tmpdir(), 'weir-watch-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

test('written in place, replaced, behind links, away and back; not when only touched', async () => {
  const plain = join(folder, 'plain.yaml')
  const mounted = join(folder, 'mounted.yaml')
  writeFileSync(plain, 'a')
  for (const version of ['v1', 'v2']) {
    mkdirSync(join(folder, version))
    writeFileSync(join(folder, version, 'mounted.yaml'), version)
  }
  symlinkSync('v1', join(folder, '..data'))
  symlinkSync('..data/mounted.yaml', mounted)
  let changes = 0
  const watch = new FileWatch(() => changes++, silentLogger)
  watch.set([plain, mounted])
  const seen = async (act: () => void) => {
    const before = changes
    act()
    await eventually(
      async () => changes,
      (now) => now > before,
      10_000,
    )
    expect(changes).toBe(before + 1)
  }
  await seen(() => writeFileSync(plain, 'b'))
  await seen(() => {
    writeFileSync(`${plain}~`, 'c')
    renameSync(`${plain}~`, plain)
  })
  await seen(() => writeFileSync(plain, 'd')) // The file that was moved there is watched, too.
  await seen(() => {
    symlinkSync('v2', join(folder, '..new'))
    renameSync(join(folder, '..new'), join(folder, '..data'))
  })
  await seen(() => writeFileSync(join(folder, 'v2', 'mounted.yaml'), 'v2, changed'))
  await seen(() => rmSync(plain))
  await seen(() => writeFileSync(plain, 'e'))
  const before = changes
  utimesSync(plain, new Date(), new Date())
  writeFileSync(join(folder, 'other.yaml'), 'not watched')
  await sleep(500)
  expect(changes).toBe(before)
  watch.close()
  writeFileSync(plain, 'f')
  await sleep(500)
  expect(changes).toBe(before)
})
