import { type Contender, HOLDING, MAIN, type Question, type Row } from '../support/question.ts'

const shards = (count: number): Contender => ({
  label: count === 1 ? '1 shard' : `${count} shards`,
  collector: 'weir',
  arguments: ['--set', `service.shards=${count}`],
})

const row = (name: string, config: string, goal: number, stretch: number): Row => ({
  name,
  config,
  load: { protocol: 'grpc', items: 100, connections: 32 },
  contenders: [shards(2), shards(1)],
  length: config.includes('tail') ? HOLDING : MAIN,
  goal,
  stretch,
})

export default {
  name: 'shards',
  title: 'Two shards against one',
  about:
    'What a second shard adds to the cost of a span: nothing is shared, but tail sampling must bring traces together.',
  rows: [
    row('CPU a span, without affinity', 'traces-batch.yaml', 1.1, 1.05),
    row('CPU a span, with tail sampling', 'traces-tail-sampling.yaml', 1.3, 1.15),
  ],
} satisfies Question
