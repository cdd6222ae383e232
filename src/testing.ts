/**
 * The test kit for authors of components, `weir-collector/testing`: builders of telemetry, a recording sink, a clock that tests move, a
 * harness around one component, and the contract that every component keeps. For any test runner.
 */
export {
  buildLogs as logs,
  buildMetrics as metrics,
  buildTraces as traces,
} from './plugin/build.ts'
export { ScriptedClock, settle } from './testing/clock.ts'
export { type ContractCase, type ContractOptions, contract } from './testing/contract.ts'
export { type Harness, type HarnessOptions, harness, type LoggedLine } from './testing/harness.ts'
export { TestHost } from './testing/host.ts'
export { TestMeter } from './testing/meter.ts'
export {
  jsonOf,
  logsOf,
  pointsOf,
  type ReadLog,
  type ReadPoint,
  type ReadSpan,
  spansOf,
} from './testing/read.ts'
export { Sink } from './testing/sink.ts'
