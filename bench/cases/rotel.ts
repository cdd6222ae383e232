import { MAIN, type Question, ROTEL, type Row, WEIR } from '../support/question.ts'

const row = (protocol: 'grpc' | 'http', goal: number, stretch: number): Row => ({
  name: `${protocol === 'grpc' ? 'gRPC' : 'HTTP'} traces -> resource, batch -> blackhole`,
  config: 'resource-batch.yaml',
  load: { protocol, items: 100, connections: 32 },
  contenders: [WEIR, ROTEL],
  length: MAIN,
  goal,
  stretch,
})

export default {
  name: 'rotel',
  title: 'Beside a collector in Rust',
  about:
    'rotel takes no YAML: it gets one resource attribute, its own batching of 8192 and 200 ms, and its blackhole exporter.',
  rows: [row('grpc', 0.35, 0.2), row('http', 0.65, 0.5)],
} satisfies Question
