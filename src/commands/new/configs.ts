/** The configurations that `weir new` writes, and their tests for `weir test`. */
import type { Names, NewKind } from './index.ts'

export function configText(kind: NewKind, names: Names): string {
  return CONFIGS[kind](names)
}

export function configTestText(kind: NewKind, names: Names): string {
  return TESTS[kind](names)
}

const OTLP = `receivers:
  otlp:
    protocols:
      http:
        endpoint: localhost:4318
`
const LIMITER = `  memory_limiter:
    check_interval: 1s
    limit_mib: 512
`
const DEBUG = `exporters:
  # weir: ignore debug-detailed
  debug:
    verbosity: detailed # Prints what comes out.
`
const plugins = ({ file, extension }: Names) => `plugins:
  - ./${file}.${extension}
`

const CONFIGS: Readonly<Record<NewKind, (names: Names) => string>> = {
  processor: (
    names,
  ) => `# Sets an attribute on everything that comes in. Start it with: weir --config ${names.file}.yaml
${plugins(names)}
${OTLP}
processors:
${LIMITER}  ${names.type}:
    value: shop
  batch:

${DEBUG}
service:
  pipelines:
    traces:
      receivers: [otlp]
      processors: [memory_limiter, ${names.type}, batch]
      exporters: [debug]
    logs:
      receivers: [otlp]
      processors: [memory_limiter, ${names.type}, batch]
      exporters: [debug]
`,
  exporter: (names) => `# Posts how much came in to a URL. Start it with: weir --config ${names.file}.yaml
${plugins(names)}
${OTLP}
processors:
${LIMITER}  batch:
    timeout: 10s

exporters:
  ${names.type}:
    url: \${env:POST_URL:-http://localhost:8080/}

service:
  pipelines:
    traces:
      receivers: [otlp]
      processors: [memory_limiter, batch]
      exporters: [${names.type}]
`,
  receiver: (
    names,
  ) => `# Prints a log record every ten seconds. Start it with: weir --config ${names.file}.yaml
${plugins(names)}
receivers:
  ${names.type}:
    interval: 10s

processors:
${LIMITER}  resource:
    attributes:
      - key: deployment.environment.name
        value: development
        action: upsert

${DEBUG}
service:
  pipelines:
    logs:
      receivers: [${names.type}]
      processors: [memory_limiter, resource]
      exporters: [debug]
`,
  connector: (names) => `# Log records of spans with errors. Start it with: weir --config ${names.file}.yaml
${plugins(names)}
${OTLP}
processors:
${LIMITER}
connectors:
  ${names.type}:

${DEBUG}
service:
  pipelines:
    traces:
      receivers: [otlp]
      processors: [memory_limiter]
      exporters: [${names.type}]
    logs:
      receivers: [${names.type}]
      exporters: [debug]
`,
  extension: (names) => `# Says in the log that it lives. Start it with: weir --config ${names.file}.yaml
${plugins(names)}
${OTLP}
processors:
${LIMITER}
${DEBUG}
extensions:
  ${names.type}:
    interval: 10s

service:
  extensions: [${names.type}]
  pipelines:
    traces:
      receivers: [otlp]
      processors: [memory_limiter]
      exporters: [debug]
`,
}

const TESTS: Readonly<Record<NewKind, (names: Names) => string>> = {
  processor: (names) => `# Run it with: weir test ${names.file}.test.yaml
tests:
  - name: everything gets the attribute
    input:
      - spans:
          - { service: cart, name: GET /, attributes: { team: nobody } }
      - logs: [a line]
    expect:
      output:
        spans:
          - { service: cart, name: GET /, attributes: { team: shop } }
        logs:
          - { body: a line, attributes: { team: shop } }
      dropped: 0
      metrics:
        otelcol_processor_${names.type}_items: 2

  - name: the key can be chosen
    processor: ${names.type}
    set: [processors.${names.type}.key=owner]
    input:
      spans: [GET /]
    expect:
      exact: true
      output:
        spans: [{ name: GET /, attributes: { owner: shop } }]
`,
  exporter: (names) => `# Run it with: weir test ${names.file}.test.yaml
# Exporters are replaced by recorders here: what they would get is looked at. The unit test shows what this one does with it.
tests:
  - name: what comes within ten seconds is one post
    input:
      - spans: [GET /, POST /pay]
      - { at: 8s, spans: [GET /late] }
    expect:
      - { at: 9s, output: { count: 0 } }
      - { at: 10s, output: { count: 3, batches: 1 } }
`,
  receiver: (names) => `# Run it with: weir test ${names.file}.test.yaml
# The test takes the place of the receiver: what the pipeline does with its data is looked at. The unit test shows the receiver itself.
tests:
  - name: records say which environment they come from
    receiver: ${names.type}
    input:
      logs:
        - { service: ${names.type}, body: alive }
    expect:
      output:
        logs:
          - { body: alive, resource: { deployment.environment.name: development } }
`,
  connector: (names) => `# Run it with: weir test ${names.file}.test.yaml
tests:
  - name: a record for each span with an error
    input:
      spans:
        - { service: shop, name: GET / }
        - { service: shop, name: POST /pay, trace: t, status: { code: error, message: declined } }
    expect:
      exporters:
        debug:
          logs:
            - { body: 'POST /pay failed: declined', severity: error, trace: t }
`,
  extension: (names) => `# Run it with: weir test ${names.file}.test.yaml
# Extensions are not started here; the unit test shows what this one does.
tests:
  - name: spans pass
    input:
      spans: [GET /]
    expect:
      output:
        spans: [GET /]
`,
}
