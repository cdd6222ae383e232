import { GO, MAIN, type Question, type Row, WEIR, WITH_SINK } from '../support/question.ts'

const row = (name: string, config: string, go: string): Row => ({
  name,
  config,
  load: { protocol: 'grpc', kind: 'logs', items: 100, connections: 32 },
  contenders: [WEIR, { ...GO, config: go }],
  length: MAIN,
  sink: true,
  goal: 0.5,
  stretch: 0.35,
})

export default {
  name: 'logs',
  title: 'Logs',
  about:
    'Resource, batch, to a sink that decodes nothing. The Go collector has no loki exporter any more: for that row it sends OTLP, ' +
    "uncompressed, to Loki's OTLP path, while Weir writes Loki's own snappy-compressed push requests.",
  rows: [
    row('gRPC logs -> OTLP HTTP, uncompressed', 'logs-otlp-http.yaml', 'logs-otlp-http.yaml'),
    row('gRPC logs -> Loki', 'logs-loki.yaml', 'logs-loki-otlp.yaml'),
  ],
  details: WITH_SINK,
} satisfies Question
