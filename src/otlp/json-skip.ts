/**
 * Steps over JSON values that have no place in the message. They are checked to be JSON, and bounded in depth.
 */
import { CLOSE, CLOSE_LIST, COLON, COMMA, type JsonText, OPEN, OPEN_LIST, QUOTE } from './json-text.ts'
import { MAX_DEPTH } from './wire.ts'

/** Steps over a value of any kind. `depth` counts what is open around it. */
export function skipValue(text: JsonText, depth: number): void {
  const first = text.space()
  if (first === QUOTE) skipString(text)
  else if (first === OPEN || first === OPEN_LIST) skipInside(text, first, depth + 1)
  else if (first === 0x74 || first === 0x66) text.boolean()
  else if (!text.nullHere()) skipNumber(text)
}

function skipString(text: JsonText): void {
  const { put } = text
  text.at++
  text.copyString()
  text.put = put
}

function skipInside(text: JsonText, open: number, depth: number): void {
  if (depth > MAX_DEPTH) text.fail('nested too deeply')
  const close = open === OPEN ? CLOSE : CLOSE_LIST
  text.at++
  if (text.space() === close) {
    text.at++
    return
  }
  while (true) {
    if (open === OPEN) {
      if (text.space() !== QUOTE) text.fail('expected a key')
      skipString(text)
      text.expect(COLON)
    }
    skipValue(text, depth)
    const byte = text.space()
    if (byte !== COMMA && byte !== close) text.fail(`expected , or ${String.fromCharCode(close)}`)
    text.at++
    if (byte === close) return
  }
}

function skipNumber(text: JsonText): void {
  const { source, at: start } = text
  let byte = source[start]!
  while (
    (byte >= 0x30 && byte <= 0x39) ||
    byte === 0x2b ||
    byte === 0x2d ||
    byte === 0x2e ||
    (byte | 32) === 0x65
  )
    byte = source[++text.at]!
  const number = Buffer.from(source.subarray(start, text.at)).toString('latin1')
  if (!/^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$/.test(number)) text.fail('expected a value', start)
}
