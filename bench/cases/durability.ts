/**
 * What durability costs: a log in front of everything (storage of the receiver) and a queue on the disk (of an
 * exporter), with and without fsync, each beside the same in memory; the queue of the Go collector likewise.
 * A request is answered when it is stored; the disk is that of the folder for temporary files, or WEIR_BENCH_DIR.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { measure } from '../support/measure.ts'
import {
  type Contender,
  CPU,
  type Question,
  type Row,
  type Run,
  SHORT,
  SIDE_ROUNDS,
  USUAL,
} from '../support/question.ts'

const folderFor = () => mkdtempSync(join(process.env['WEIR_BENCH_DIR'] ?? tmpdir(), 'weir-bench-'))

async function measureStored(row: Row, contender: Contender): Promise<Run> {
  const folder = folderFor()
  try {
    const environment = { ...row.environment, BENCH_STORAGE: join(folder, 'storage') }
    return await measure({ ...row, environment }, contender)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

type Case = readonly [name: string, stored: string, volatile: string, collector: Contender['collector']]

const CASES: readonly Case[] = [
  ['log of the receiver', 'traces-batch-stored.yaml', 'traces-batch.yaml', 'weir'],
  ['queue of the exporter', 'traces-queue-stored.yaml', 'traces-queue.yaml', 'weir'],
  ['queue of the exporter, Go collector', 'traces-queue-stored.yaml', 'traces-queue.yaml', 'otelcol'],
]

const row = ([name, stored, config, collector]: Case, fsync: boolean): Row => ({
  name: `${name}${fsync ? ', fsync' : ''}`,
  config,
  load: { protocol: 'grpc', items: 100, connections: 32 },
  contenders: [
    { label: 'stored', collector, config: stored },
    { label: 'in memory', collector },
  ],
  length: SHORT,
  maxRounds: SIDE_ROUNDS,
  sink: config === 'traces-queue.yaml',
  environment: { BENCH_FSYNC: String(fsync) },
})

export default {
  name: 'durability',
  title: 'What durability costs',
  about:
    'gRPC traces that are answered when they are stored, beside the same in memory. Log of the receiver: limiter, resource, batch -> ' +
    'nop, and `storage` on the otlp receiver. Queue of the exporter: limiter, resource -> OTLP gRPC, uncompressed, where ' +
    '`sending_queue` batches, and its `storage`. Without fsync what was answered outlives the process, with it a power cut too; the disk ' +
    'is that of the machine.',
  rows: CASES.flatMap((each) => [row(each, false), row(each, true)]),
  figure: CPU,
  details: USUAL,
  measure: measureStored,
  runSeconds: ({ sink }) => (sink === true ? 11 : 7),
} satisfies Question
