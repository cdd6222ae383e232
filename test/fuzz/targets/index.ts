/** The targets by name, and what part of a run over all of them each gets. HTTP/2 has a fuzzer of its own (test/property). */
import type { Target } from '../target.ts'
import { bodiesTarget } from './bodies.ts'
import { expositionTarget } from './exposition.ts'
import { hpackTarget } from './hpack.ts'
import { jsonTarget } from './json.ts'
import { protobufTarget } from './protobuf.ts'
import { storageTarget } from './storage.ts'
import { yamlTarget } from './yaml.ts'

export const TARGETS: Readonly<Record<string, () => Target | Promise<Target>>> = {
  protobuf: protobufTarget,
  json: jsonTarget,
  bodies: bodiesTarget,
  hpack: hpackTarget,
  exposition: expositionTarget,
  yaml: yamlTarget,
  storage: storageTarget,
}

export const HTTP2 = 'http2'

/** Parts of 1000. Configurations and logs take a thousand times as long as the others. */
export const SHARES: Readonly<Record<string, number>> = {
  protobuf: 330,
  json: 200,
  bodies: 120,
  hpack: 120,
  exposition: 125,
  [HTTP2]: 100,
  yaml: 3,
  storage: 2,
}
