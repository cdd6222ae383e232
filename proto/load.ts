/**
 * Loads the .proto files of this folder with protobufjs: for the generator and as the oracle of tests.
 * Nothing that runs in the service imports this; the service works on encoded bytes with the generated field
 * numbers.
 */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import protobuf from 'protobufjs'

const FOLDER = fileURLToPath(new URL('.', import.meta.url))

export const OTLP_FILES = [
  'opentelemetry/common.proto',
  'opentelemetry/resource.proto',
  'opentelemetry/trace.proto',
  'opentelemetry/metrics.proto',
  'opentelemetry/logs.proto',
  'opentelemetry/collector-trace.proto',
  'opentelemetry/collector-metrics.proto',
  'opentelemetry/collector-logs.proto',
]

export const OTHER_FILES = [
  'google/protobuf.proto',
  'google/rpc.proto',
  'prometheus/remote-write-1.proto',
  'prometheus/remote-write-2.proto',
  'loki/push.proto',
  'jaeger/api-v2.proto',
]

export function loadProtos(files: readonly string[] = [...OTLP_FILES, ...OTHER_FILES]): protobuf.Root {
  const root = new protobuf.Root()
  root.resolvePath = (_origin, target) => join(FOLDER, target)
  root.loadSync([...files])
  root.resolveAll()
  return root
}
