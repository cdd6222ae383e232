/** The questions, in the order of the tables. */
import type { Question } from '../support/question.ts'
import durability from './durability.ts'
import heldSpans from './held-spans.ts'
import logs from './logs.ts'
import metricsRemoteWrite from './metrics-remote-write.ts'
import oneConnection from './one-connection.ts'
import overload from './overload.ts'
import plugins from './plugins.ts'
import requestSize from './request-size.ts'
import rotel from './rotel.ts'
import shards from './shards.ts'
import tracesBatch from './traces-batch.ts'
import tracesJson from './traces-json.ts'
import tracesOtlp from './traces-otlp.ts'
import tracesTailSampling from './traces-tail-sampling.ts'

export const QUESTIONS: readonly Question[] = [
  tracesTailSampling,
  tracesBatch,
  requestSize,
  tracesOtlp,
  metricsRemoteWrite,
  logs,
  tracesJson,
  rotel,
  heldSpans,
  shards,
  oneConnection,
  overload,
  durability,
  plugins,
]
