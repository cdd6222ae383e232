/** Everything that a request meets behind the door, each as one call: processors, splits, partitions, the encoders of exporters. */

import type { AnyProcessor } from '../../../src/component/define.ts'
import { registry as load } from '../../../src/components.ts'
import { InvalidError, WeirError } from '../../../src/errors.ts'
import { detailedText } from '../../../src/exporters/debug/detailed.ts'
import { normalText } from '../../../src/exporters/debug/normal.ts'
import { groupByResource } from '../../../src/exporters/jaeger/group.ts'
import { encodePostSpans } from '../../../src/exporters/jaeger/translate.ts'
import { config as lokiConfig } from '../../../src/exporters/loki/config.ts'
import { jsonBody, protobufBody } from '../../../src/exporters/loki/push-request.ts'
import { Converter } from '../../../src/exporters/loki/streams.ts'
import { Accumulator } from '../../../src/exporters/prometheus/accumulate.ts'
import { baseOptions, config as pullConfig } from '../../../src/exporters/prometheus/config.ts'
import { FamilyStore } from '../../../src/exporters/prometheus/families.ts'
import { writePart } from '../../../src/exporters/prometheus/join.ts'
import {
  familyOptions,
  config as pushConfig,
  RW1,
  RW2,
} from '../../../src/exporters/prometheus-remote-write/config.ts'
import { metadataRequests } from '../../../src/exporters/prometheus-remote-write/families.ts'
import { cutRequests } from '../../../src/exporters/prometheus-remote-write/requests.ts'
import { Translator } from '../../../src/exporters/prometheus-remote-write/translate.ts'
import { cutRequests2 } from '../../../src/exporters/prometheus-remote-write/version-2.ts'
import { type Batch, SIGNALS, type Signal } from '../../../src/otlp/batch.ts'
import { decodeJson } from '../../../src/otlp/json-decode.ts'
import { encodeJson, JsonBuffer } from '../../../src/otlp/json-encode.ts'
import { checkChunk } from '../../../src/otlp/receive.ts'
import { splitBatch, splitByBytes } from '../../../src/otlp/split.ts'
import { Partitioner } from '../../../src/workers/partition.ts'
import { createProcessor } from '../../support/create-test.ts'
import { TestHost } from '../../support/host.ts'

export interface Path {
  readonly name: string
  run(batch: Batch): undefined | Promise<void>
}

const NOW_MS = 1_700_000_000_000
/** Items that the stages which hold some may hold. */
const HELD = 200
const SHARDS = 3
/** After so many batches the clock of a stage moves, so that what it holds goes. */
const BATCHES_PER_TICK = 64

/** Edits of every kind, with keys that random requests have. */
const ACTIONS = [
  { key: 'service.name', action: 'hash' },
  { key: 'env', value: 'prod', action: 'upsert' },
  { key: 'host', from_attribute: 'env', action: 'insert' },
  { key: 'http.route', action: 'delete' },
  { pattern: 'long.*', action: 'delete' },
  { key: 'n', value: 7, action: 'upsert' },
  { key: 'n', action: 'convert', converted_type: 'string' },
]
const POLICIES = [
  { name: 'slow', type: 'latency', latency: { threshold_ms: 100 } },
  { name: 'bad', type: 'status_code', status_code: { status_codes: ['ERROR', 'UNSET'] } },
  { name: 'state', type: 'trace_state', trace_state: { key: 'a', values: ['1'] } },
  { name: 'n', type: 'numeric_attribute', numeric_attribute: { key: 'env', min_value: 1, max_value: 9 } },
  {
    name: 'text',
    type: 'string_attribute',
    string_attribute: { key: 'host', values: ['^a.*'], enabled_regex_matching: true },
  },
  { name: 'some', type: 'probabilistic', probabilistic: { sampling_percentage: 50 } },
]

const CONFIGS: Readonly<Record<string, unknown>> = {
  resource: { attributes: ACTIONS },
  attributes: { actions: ACTIONS },
  probabilistic_sampler: { sampling_percentage: 40, attribute_source: 'record' },
  tail_sampling: { decision_wait: '1s', num_traces: HELD, policies: POLICIES },
  batch: { send_batch_size: 20, send_batch_max_size: 30, timeout: '1s' },
}

export async function makePaths(): Promise<Readonly<Record<Signal, readonly Path[]>>> {
  const { processors } = await load()
  const paths: Record<Signal, Path[]> = { traces: [], metrics: [], logs: [] }
  for (const signal of SIGNALS) {
    paths[signal].push(splits(signal), json(signal))
    for (const definition of processors)
      if (definition.signals.includes(signal) && CONFIGS[definition.type] !== undefined)
        paths[signal].push(await processor(definition, signal))
  }
  paths.traces.push(jaeger(), partitions('traces'))
  paths.logs.push(...loki())
  paths.metrics.push(partitions('metrics'), remoteWrite(RW1), remoteWrite(RW2), pull())
  return paths
}

/** What a stage hands on is a chunk by itself, and has no more items than came. */
async function processor(definition: AnyProcessor, signal: Signal): Promise<Path> {
  const next = {
    consume: async (batch: Batch) => {
      let items = 0
      for (const chunk of batch.chunks) items += checkChunk(signal, chunk)
      if (items !== batch.itemCount)
        throw new Error(`${definition.type} says ${batch.itemCount}, has ${items}`)
    },
  }
  const host = new TestHost()
  const made = createProcessor(definition, CONFIGS[definition.type], {
    signal,
    next,
    host,
    holdsCaller: false,
  })
  await made.start()
  let batches = 0
  return {
    name: definition.type,
    async run(batch) {
      await made.consume(batch).catch(refusedOnly)
      if (++batches % BATCHES_PER_TICK === 0) await made.clock.advance(1100)
      if (host.budget('num_traces', HELD).used() > HELD) throw new Error('more traces than num_traces')
    },
  }
}

function refusedOnly(error: unknown): void {
  if (!(error instanceof WeirError) || error instanceof InvalidError) throw error
}

function splits(signal: Signal): Path {
  return {
    name: 'split',
    run(batch) {
      let items = 0
      for (const part of splitBatch(batch, 2)) {
        if (part.itemCount > 2) throw new Error('a part is too large')
        for (const chunk of part.chunks) items += checkChunk(signal, chunk)
      }
      if (items !== batch.itemCount) throw new Error(`parts have ${items} items of ${batch.itemCount}`)
      let again = 0
      for (const part of splitByBytes(batch, 300))
        for (const chunk of part.chunks) again += checkChunk(signal, chunk)
      if (again !== batch.itemCount)
        throw new Error(`parts by bytes have ${again} items of ${batch.itemCount}`)
      return undefined
    },
  }
}

/** JSON is written for the debug and file exporters, and means the same when it is read again. */
function json(signal: Signal): Path {
  const out = new JsonBuffer()
  return {
    name: 'json',
    run(batch) {
      out.clear()
      encodeJson(signal, batch.chunks, out)
      const text = Buffer.from(out.view())
      const request = JSON.parse(text.toString())
      normalText(signal, request)
      detailedText(signal, request)
      if (checkChunk(signal, decodeJson(signal, text)) !== batch.itemCount)
        throw new Error('JSON loses items')
      return undefined
    },
  }
}

function partitions(signal: Signal): Path {
  const partitioner = new Partitioner(SHARDS, signal === 'traces' ? 'trace' : 'series')
  return {
    name: 'partition',
    run(batch) {
      let items = 0
      for (const chunk of batch.chunks)
        for (const part of partitioner.divide(chunk).chunks) if (part) items += checkChunk(signal, part)
      if (items !== batch.itemCount) throw new Error(`parts have ${items} items of ${batch.itemCount}`)
      return undefined
    },
  }
}

function jaeger(): Path {
  return {
    name: 'jaeger',
    run(batch) {
      let spans = 0
      for (const pieces of groupByResource(batch.chunks)) spans += encodePostSpans(pieces).spanCount
      if (spans !== batch.itemCount) throw new Error(`jaeger has ${spans} spans of ${batch.itemCount}`)
      return undefined
    },
  }
}

function loki(): Path[] {
  const formats = [
    { format: 'json' },
    { format: 'logfmt', structured_metadata: true },
    { format: 'raw' },
    { format: 'body', structured_metadata: true },
  ]
  return formats.map((more) => {
    const config = lokiConfig.parse({ endpoint: 'http://loki/push', ...more })
    const converter = new Converter(config, 'tenant')
    return {
      name: `loki ${more.format}`,
      run(batch) {
        const { pushes, droppedRecords } = converter.convert(batch, NOW_MS)
        let records = droppedRecords
        for (const push of pushes) {
          protobufBody(push)
          JSON.parse(Buffer.from(jsonBody(push)).toString())
          records += push.records
        }
        if (records !== batch.itemCount) throw new Error(`loki has ${records} records of ${batch.itemCount}`)
        return undefined
      },
    }
  })
}

function remoteWrite(message: typeof RW1 | typeof RW2): Path {
  const config = pushConfig.parse({
    endpoint: 'http://push',
    protobuf_message: message,
    send_metadata: true,
    resource_to_telemetry_conversion: { enabled: true },
    convert_explicit_histograms_to_nhcb: message === RW2,
  })
  const translator = new Translator(familyOptions(config, message), 50_000, () => {})
  return {
    name: message,
    run(batch) {
      translator.translate(batch.chunks)
      const { table, families } = translator
      if (message === RW2) cutRequests2(table, families)
      else {
        cutRequests(table)
        metadataRequests(families, 50_000)
      }
      return undefined
    },
  }
}

function pull(): Path {
  const config = pullConfig.parse({ endpoint: 'localhost:0', max_series: HELD })
  const budget = new TestHost().budget('series', HELD)
  const store = new FamilyStore(budget)
  let nowMs = NOW_MS
  const accumulator = new Accumulator({
    store,
    base: baseOptions(config),
    namespace: '',
    keepExemplars: true,
    nowMs: () => nowMs,
    wallMs: () => nowMs,
    onDropped: () => {},
    onHelpConflict: () => {},
  })
  let batches = 0
  return {
    name: 'prometheus',
    async run(batch) {
      accumulator.add(batch.chunks)
      if (budget.used() > HELD) throw new Error('more series than max_series')
      if (++batches % BATCHES_PER_TICK !== 0) return
      for (const openMetrics of [false, true])
        await writePart(store, { openMetrics, utf8: openMetrics, timestamps: true })
      nowMs += 1000
      store.expire(nowMs - (batches % 1024 === 0 ? 0 : 5000))
    },
  }
}
