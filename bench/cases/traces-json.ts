import { GO, MAIN, type Question, WEIR } from '../support/question.ts'

export default {
  name: 'traces-json',
  title: 'Traces as JSON',
  about: 'OTLP/JSON over HTTP, as browsers and serverless functions send it: batch -> nop.',
  rows: [
    {
      name: 'HTTP JSON traces -> batch -> nop',
      config: 'traces-json.yaml',
      load: { protocol: 'http', kind: 'json-traces', items: 100, connections: 32 },
      contenders: [WEIR, GO],
      length: MAIN,
      goal: 0.9,
      stretch: 0.6,
    },
  ],
} satisfies Question
