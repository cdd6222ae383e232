/**
 * The process entry. Importing this file starts the program (src/weir.mjs does); everything worth importing is in index.ts.
 *
 * The compile cache comes first: what is imported after it starts faster the second time, and with all of the
 * sources in it Node does not load its type stripper at all.
 */
import { enableCompileCache } from 'node:module'

enableCompileCache()
await import('./command-line.ts')
