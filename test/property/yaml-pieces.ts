// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration's expressions.
/** What random configurations are put together from: the syntax of YAML, its odd ends, expressions, and words that mean something. */
export const YAML_PIECES: readonly string[] = [
  ...': |- |? |, |[|]|{|}|&a |*a|<<: |!!str |!!binary |!!float |"|\'|#'.split('|'),
  ...['|', '>', '|\n', '>\n', '\n', '\n  ', '\n    ', '---\n', '...', '...\n', '%YAML 1.2\n'],
  ...['\t', '\0', '\r', '\u2028', '\ufeff'],
  ...['$$', '${', '${A}', '${env:', '${env:A}', '${env:C}', '${env:NO:-x}', '${yaml:', '${yaml:[1]}'],
  ...['${file:/dev/null}', '0777', '1e999', '-1', '.nan', '5m', '1GiB'],
  ...['__proto__: ', '__proto__: {polluted: 1}\n', 'constructor: {prototype: {polluted: 1}}\n'],
  ...['receivers:\n', 'service:\n', 'pipelines:\n', 'otlp', 'otlp:', 'batch', 'traces'],
  ...['timeout: 5s\n', 'endpoint: localhost:1\n', 'policies: ', 'values: ["("]\n'],
]
