/** How Weir names itself to servers: `Weir/0.1.0 (linux/x64)`. */
import { readFileSync } from 'node:fs'

const manifest: { version: string } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
)

export const USER_AGENT = `Weir/${manifest.version} (${process.platform}/${process.arch})`
