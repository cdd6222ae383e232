import { type Contender, HOLDING, type Question, USUAL } from '../support/question.ts'

const shards = (count: number): Contender => ({
  label: count === 1 ? '1 shard' : `${count} shards`,
  collector: 'weir',
  arguments: ['--set', `service.shards=${count}`],
})

export default {
  name: 'one-connection',
  title: 'One connection, more than one core',
  about:
    'A single gRPC connection with 32 calls open, tail sampling: what it can bring when a busy shard hands requests to an idle one. ' +
    'The ratio is of throughput, and more is better; the load shares the two cores with both shards.',
  rows: [
    {
      name: 'throughput of one gRPC connection, tail sampling',
      config: 'traces-tail-sampling.yaml',
      load: { protocol: 'grpc', items: 100, connections: 1, calls: 32 },
      contenders: [shards(2), shards(1)],
      length: HOLDING,
      goal: 1.4,
      stretch: 1.7,
    },
  ],
  figure: { label: '1000 items/s', digits: 0, pick: (run) => run.itemsPerSecond / 1000 },
  moreIsBetter: true,
  details: [
    { label: 'CPU us/item', digits: 2, pick: (run) => run.cpuMicrosPerItem },
    ...USUAL.filter(({ label }) => label !== '1000 items/s'),
  ],
} satisfies Question
