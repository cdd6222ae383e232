/** How Weir names itself to servers: `Weir/0.1.0 (linux/x64)`. */
import { VERSION } from '../version.ts'

export const USER_AGENT = `Weir/${VERSION} (${process.platform}/${process.arch})`
