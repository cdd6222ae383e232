import {
  type Contender,
  GO,
  GO_LOKI,
  MAIN,
  type Question,
  type Row,
  WEIR,
  WITH_SINK,
} from '../support/question.ts'

const row = (name: string, config: string, go: Contender): Row => ({
  name,
  config,
  load: { protocol: 'grpc', kind: 'logs', items: 100, connections: 32 },
  contenders: [WEIR, go],
  length: MAIN,
  sink: true,
  goal: 0.5,
  stretch: 0.35,
})

export default {
  name: 'logs',
  title: 'Logs',
  about:
    'Resource, batch, to a sink that decodes nothing. The Go collector has no loki exporter any more. In the one row it sends OTLP, ' +
    "uncompressed, to Loki's OTLP path, while Weir writes Loki's own snappy-compressed push requests; in the other it is an older " +
    'build (test/peers/build.sh otelcol-loki) with the last loki exporter, 0.130.0, and both make the same.',
  rows: [
    row('gRPC logs -> OTLP HTTP, uncompressed', 'logs-otlp-http.yaml', {
      ...GO,
      config: 'logs-otlp-http.yaml',
    }),
    row('gRPC logs -> Loki', 'logs-loki.yaml', { ...GO, config: 'logs-loki-otlp.yaml' }),
    row("gRPC logs -> Loki, against the Go collector's last loki exporter", 'logs-loki.yaml', GO_LOKI),
  ],
  details: WITH_SINK,
} satisfies Question
