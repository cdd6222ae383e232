import { GO, MAIN, type Question, type Row, SHORT, SIDE_ROUNDS, WEIR } from '../support/question.ts'

const row = (protocol: 'grpc' | 'http', items: number, more: Partial<Row> = {}): Row => ({
  name: `${protocol === 'grpc' ? 'gRPC' : 'HTTP'} traces, ${items === 1 ? 'one span' : `${items} spans`} a request`,
  config: 'traces-batch.yaml',
  load: { protocol, items, connections: items < 10_000 ? 32 : 8 },
  contenders: [WEIR, GO],
  length: SHORT,
  maxRounds: SIDE_ROUNDS,
  ...more,
})

export default {
  name: 'request-size',
  title: 'Cost against request size',
  about:
    'Limiter, resource, batch -> nop. 32 connections, for the largest (4 MB) 8. The cost of a request must grow no faster than its size.',
  rows: [
    row('grpc', 1, { goal: 0.5, stretch: 0.3, length: MAIN, maxRounds: 5 }),
    row('http', 1, { goal: 1.15, stretch: 1.05, length: MAIN, maxRounds: 5 }),
    ...[10, 100, 1000, 10_000].flatMap((items) => [row('grpc', items), row('http', items)]),
  ],
} satisfies Question
