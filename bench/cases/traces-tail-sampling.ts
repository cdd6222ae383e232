import { GO, HOLDING, type Question, type Row, SIDE_ROUNDS, WEIR } from '../support/question.ts'

const row = (name: string, load: Partial<Row['load']>, more: Partial<Row>): Row => ({
  name: `${name} traces -> limiter, resource, tail sampling, batch -> nop`,
  config: 'traces-tail-sampling.yaml',
  load: { protocol: 'grpc', items: 100, connections: 32, ...load },
  contenders: [WEIR, GO],
  length: HOLDING,
  ...more,
})
const side = { maxRounds: SIDE_ROUNDS }

export default {
  name: 'traces-tail-sampling',
  title: 'Traces through tail sampling',
  about:
    'Three policies (status code, latency, 10 %), a decision wait of 2 s, traces of five spans. The decisions of all that was sent ' +
    'are part of the cost. 32 calls are open at a time over gRPC, however many connections there are; over HTTP one a connection.',
  rows: [
    row('gRPC', {}, { goal: 0.18, stretch: 0.12 }),
    row('HTTP', { protocol: 'http' }, { goal: 0.22, stretch: 0.16 }),
    row('gRPC (1 connection)', { connections: 1, calls: 32 }, side),
    row('gRPC (2 connections)', { connections: 2, calls: 16 }, side),
    row('HTTP (1 connection)', { protocol: 'http', connections: 1 }, side),
    row('HTTP (2 connections)', { protocol: 'http', connections: 2 }, side),
  ],
} satisfies Question
