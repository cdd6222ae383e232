/**
 * What a plugin costs that sets one attribute on every span, in the thread of its shard or isolated, beside the
 * built-in `attributes` processor that does the same. By itself, without sockets: bench/micro/plugins.ts.
 */
import { type Question, type Row, SHORT, SIDE_ROUNDS } from '../support/question.ts'

const row = (how: string, config: string): Row => ({
  name: `gRPC traces -> limiter, plugin ${how}, batch -> nop`,
  config: 'plugin-built-in.yaml',
  load: { protocol: 'grpc', items: 100, connections: 32 },
  contenders: [
    { label: 'plugin', collector: 'weir', config },
    { label: 'built-in', collector: 'weir' },
  ],
  length: SHORT,
  maxRounds: SIDE_ROUNDS,
})

export default {
  name: 'plugins',
  title: 'Plugins',
  about:
    'A plugin over friendly items that sets one attribute on every span, in the thread of its shard and isolated in one of its own, ' +
    'beside the `attributes` processor that does the same.',
  rows: [row('inline', 'plugin-inline.yaml'), row('isolated', 'plugin-isolated.yaml')],
} satisfies Question
