import { expect, test } from 'vitest'
import { JsonBuffer } from '../../otlp/json-buffer.ts'
import { putHex, putInteger, putString, type Text } from './line-text.ts'

function text(content: Uint8Array | number): Text {
  const bytes = Buffer.from(typeof content === 'number' ? Buffer.alloc(content) : content)
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) }
}

const random = (below: number) => Math.floor(Math.random() * below)

test('random strings come out as the general writer has them', () => {
  const pieces = [
    '"',
    '\\',
    '<',
    '>',
    '&',
    '\n',
    '\t',
    '\u0000',
    '\u001f',
    '\u007f',
    '\u20ac',
    '\u2028',
    'abc',
    ' ',
    '#%;=?',
  ]
  const target = text(4096)
  const json = new JsonBuffer()
  for (let round = 0; round < 5000; round++) {
    const plain = round % 3
    const parts = Array.from({ length: random(12) }, () =>
      plain === 0 ? 'word'.slice(random(4)) : (pieces[random(plain === 1 ? 10 : pieces.length)] ?? ''),
    )
    let content = Buffer.from(`${'x'.repeat(random(9))}${parts.join('y'.repeat(random(4)))}`)
    if (round % 50 === 0) content = Buffer.from(content.map((byte) => byte ^ random(256))) // Seldom UTF-8.
    json.clear()
    json.htmlSafeString(content, 0, content.length)
    const end = putString(target, round % 5, text(content), 0, content.length)
    expect(
      Buffer.from(target.bytes.subarray(round % 5, end)).toString('latin1'),
      content.toString('hex'),
    ).toBe(Buffer.from(json.view()).toString('latin1'))
  }
})

test('integers and ids', () => {
  const target = text(64)
  const f = (value: number) =>
    expect(Buffer.from(target.bytes.subarray(0, putInteger(target.bytes, 0, value))).toString()).toBe(
      `${value}`,
    )
  for (const value of [
    0,
    9,
    10,
    -1,
    2 ** 31 - 1,
    2 ** 31,
    -(2 ** 31),
    1e9,
    1e15,
    2 ** 53 - 1,
    -(2 ** 53 - 1),
  ])
    f(value)
  for (let round = 0; round < 2000; round++) f(random(2 ** (1 + random(53))) * (round % 2 ? 1 : -1) + 0)
  const end = putHex(target, 0, Buffer.from('00ff1e', 'hex'), 0, 3)
  expect(Buffer.from(target.bytes.subarray(0, end)).toString()).toBe('"00ff1e"')
})
