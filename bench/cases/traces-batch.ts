import { GO, MAIN, type Question, type Row, SHORT, SIDE_ROUNDS, WEIR } from '../support/question.ts'

const row = (name: string, load: Partial<Row['load']>, more: Partial<Row>): Row => ({
  name: `${name} traces -> limiter, resource, batch -> nop`,
  config: 'traces-batch.yaml',
  load: { protocol: 'grpc', items: 100, connections: 32, ...load },
  contenders: [WEIR, GO],
  length: MAIN,
  ...more,
})
const side = { length: SHORT, maxRounds: SIDE_ROUNDS }

export default {
  name: 'traces-batch',
  title: 'Traces, nothing held',
  about:
    'What receiving, one edit of the resource and batching cost. 32 calls are open at a time over gRPC, however many connections ' +
    'there are; over HTTP one a connection.',
  rows: [
    row('gRPC', {}, { goal: 0.35, stretch: 0.22 }),
    row('HTTP', { protocol: 'http' }, { goal: 0.5, stretch: 0.4 }),
    row('gRPC (1 connection)', { connections: 1, calls: 32 }, side),
    row('gRPC (2 connections)', { connections: 2, calls: 16 }, side),
    row('HTTP (1 connection)', { protocol: 'http', connections: 1 }, side),
    row('HTTP (2 connections)', { protocol: 'http', connections: 2 }, side),
  ],
} satisfies Question
