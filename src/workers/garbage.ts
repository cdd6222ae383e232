/** V8's collector, called by hand. V8 gives it out through a flag that may be set at run time. */
import { flushCompileCache } from 'node:module'
import v8 from 'node:v8'
import vm from 'node:vm'

type Collect = (options?: { readonly type: 'major'; readonly flavor: 'regular' | 'last-resort' }) => void

let collect: Collect | undefined

function expose(): Collect {
  v8.setFlagsFromString('--expose-gc')
  return vm.runInNewContext('gc') as Collect // The context has `gc` because of the flag.
}

export function collectGarbage(): void {
  collect ??= expose()
  collect()
}

/**
 * Everything that can be given up is, and the heap shrinks to what is left: a start leaves source texts, bytecode that ran once
 * and an emptied young generation behind, 8 MB a thread. Takes some 40 ms, so it is for a thread that has nothing to do.
 */
export function shrinkHeap(): void {
  flushCompileCache() // While the bytecode is there; it stays in memory until it is written.
  expose()({ type: 'major', flavor: 'last-resort' })
}
