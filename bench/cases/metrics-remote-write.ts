import { GO, type Question, SHORT, WEIR, WITH_SINK } from '../support/question.ts'

export default {
  name: 'metrics-remote-write',
  title: 'Metrics to Prometheus by remote write',
  about:
    'Requests of 40 sums, 30 gauges and 30 histograms of 12 bounds from 16 instances; resource, batch -> remote write 1.0 with ' +
    'resource attributes as labels, to a sink that decodes nothing; what queues up while the load runs is waited for. An item is a data point.',
  rows: [
    {
      name: 'HTTP metrics -> resource, batch -> remote write',
      config: 'metrics-remote-write.yaml',
      load: { protocol: 'http', kind: 'metrics', items: 100, connections: 32 },
      contenders: [WEIR, GO],
      length: SHORT,
      sink: true,
      goal: 0.4,
      stretch: 0.25,
    },
  ],
  details: WITH_SINK,
} satisfies Question
