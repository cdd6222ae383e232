import { GO, MAIN, type Question, type Row, WEIR, WITH_SINK } from '../support/question.ts'

const row = (name: string, config: string, gzip: boolean, goals: Partial<Row>): Row => ({
  name,
  config,
  load: { protocol: 'grpc', items: 100, connections: 32, gzip },
  contenders: [WEIR, GO],
  length: MAIN,
  sink: true,
  ...goals,
})

export default {
  name: 'traces-otlp',
  title: 'Traces to another collector',
  about:
    'Limiter, resource, batch -> OTLP over gRPC, to a sink that decodes nothing. With gzip the bytes sent must be about the same ' +
    '(+-5 %); compressed requests cannot be renewed in place, so the same traces come again.',
  rows: [
    row('gRPC traces -> OTLP gRPC, uncompressed', 'traces-otlp.yaml', false, { goal: 0.45, stretch: 0.3 }),
    row('gRPC traces -> OTLP gRPC, gzip in and out', 'traces-otlp-gzip.yaml', true, {
      goal: 0.9,
      stretch: 0.6,
    }),
  ],
  details: WITH_SINK,
} satisfies Question
