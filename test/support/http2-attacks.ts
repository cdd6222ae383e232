/**
 * What a hostile client sends over HTTP/2: each ends its connection with this code of GOAWAY, and is counted under this reason.
 * For the tests, and for the bench that watches other clients meanwhile.
 */
import { block, frame, REQUEST, settings, TYPE, uint32 } from './raw-http2.ts'

export const CODE = {
  PROTOCOL: 1,
  FLOW_CONTROL: 3,
  CLOSED: 5,
  SIZE: 6,
  REFUSED: 7,
  COMPRESSION: 9,
  CALM: 11,
} as const

export const repeat = (count: number, make: (index: number) => Buffer) =>
  Buffer.concat(Array.from({ length: count }, (_, index) => make(index)))
const head = block(REQUEST)
export const headers = (stream: number, flags = 4, payload: Uint8Array | number[] = head) =>
  frame(TYPE.HEADERS, flags, stream, payload)

/** An entry of 3900 bytes into the table, then a reference to it in each of 16,000 bytes: a list of 60 MB. */
function hpackBomb(): Buffer {
  const entry = block({ bomb: 'b'.repeat(3900) })
  entry[0] = 0x40
  return Buffer.concat([
    headers(1, 0, Buffer.concat([head, entry])),
    frame(TYPE.CONTINUATION, 4, 1, Buffer.alloc(16_000, 0xbe)),
  ])
}

export const ATTACKS: readonly (readonly [name: string, code: number, reason: string, frames: Buffer])[] = [
  ['HPACK bomb', CODE.CALM, 'flood_headers', hpackBomb()],
  [
    'header lists that are too long, without end',
    CODE.CALM,
    'flood_reset',
    repeat(1500, (i) => headers(i * 2 + 1, 5, Buffer.concat([head, Buffer.alloc(2000, 0x90)]))),
  ],

  [
    'rapid reset',
    CODE.CALM,
    'flood_reset',
    repeat(3000, (i) => Buffer.concat([headers(i * 2 + 1), frame(TYPE.RST_STREAM, 0, i * 2 + 1, uint32(8))])),
  ],
  [
    'made to reset: errors on many streams',
    CODE.CALM,
    'flood_reset',
    repeat(3000, (i) =>
      Buffer.concat([headers(i * 2 + 1), frame(TYPE.WINDOW_UPDATE, 0, i * 2 + 1, uint32(0))]),
    ),
  ],
  [
    'malformed requests without end',
    CODE.CALM,
    'flood_reset',
    repeat(3000, (i) => headers(i * 2 + 1, 4, block({ ...REQUEST, connection: 'close' }))),
  ],
  [
    'CONTINUATION without end',
    CODE.CALM,
    'flood_headers',
    Buffer.concat([headers(1, 0), repeat(500, () => frame(TYPE.CONTINUATION, 0, 1, block({ a: 'b' })))]),
  ],
  [
    'CONTINUATION without content',
    CODE.CALM,
    'flood_headers',
    Buffer.concat([headers(1, 0), repeat(500, () => frame(TYPE.CONTINUATION, 0, 1))]),
  ],
  [
    'a header block of 100 KB',
    CODE.CALM,
    'flood_headers',
    Buffer.concat([
      headers(1, 0),
      repeat(7, () => frame(TYPE.CONTINUATION, 0, 1, block({ a: 'b'.repeat(16_000) }))),
    ]),
  ],
  ['PING', CODE.CALM, 'too_many_pings', repeat(1000, () => frame(TYPE.PING, 0, 0, Buffer.alloc(8)))],
  [
    'acknowledgements of PING',
    CODE.CALM,
    'flood_ping',
    repeat(1000, () => frame(TYPE.PING, 1, 0, Buffer.alloc(8))),
  ],
  ['SETTINGS', CODE.CALM, 'flood_settings', repeat(1000, () => settings([3, 1]))],
  [
    'a SETTINGS frame of 2000 settings',
    CODE.CALM,
    'flood_settings',
    frame(TYPE.SETTINGS, 0, 0, Buffer.alloc(12_000, '\0\x09\0\0\0\x01')),
  ],
  ['PRIORITY', CODE.CALM, 'flood_priority', repeat(5000, () => frame(TYPE.PRIORITY, 0, 3, [0, 0, 0, 1, 5]))],
  [
    'WINDOW_UPDATE',
    CODE.CALM,
    'flood_window_update',
    repeat(10_000, () => frame(TYPE.WINDOW_UPDATE, 0, 0, uint32(1))),
  ],
  [
    'empty DATA',
    CODE.CALM,
    'flood_empty',
    Buffer.concat([headers(1), repeat(2000, () => frame(TYPE.DATA, 0, 1))]),
  ],
  [
    'DATA of nothing but padding',
    CODE.CALM,
    'flood_empty',
    Buffer.concat([headers(1), repeat(2000, () => frame(TYPE.DATA, 8, 1, [3, 0, 0, 0]))]),
  ],
  ['frames of unknown types', CODE.CALM, 'flood_useless', repeat(10_000, () => frame(77, 0, 0, [1]))],
  [
    'overflow of the connection window',
    CODE.FLOW_CONTROL,
    'flow_control',
    repeat(2, () => frame(TYPE.WINDOW_UPDATE, 0, 0, uint32(0x7fffffff))),
  ],
  [
    'overflow of all stream windows by SETTINGS',
    CODE.FLOW_CONTROL,
    'flow_control',
    Buffer.concat([
      headers(1),
      frame(TYPE.WINDOW_UPDATE, 0, 1, uint32(0x7fff0000)),
      settings([4, 0x7fffffff]),
    ]),
  ],
  [
    'broken HPACK',
    CODE.COMPRESSION,
    'compression',
    headers(1, 4, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
  ],
  [
    'DATA on a stream that is not there',
    CODE.PROTOCOL,
    'protocol_error',
    frame(TYPE.DATA, 1, 7, [0, 0, 0, 0, 1, 0]),
  ],
  ['an even stream id', CODE.PROTOCOL, 'protocol_error', headers(2)],
  ['a frame that is too long', CODE.SIZE, 'frame_size', frame(TYPE.DATA, 0, 1, Buffer.alloc(20_000))],
  [
    'DATA after the end',
    CODE.CLOSED,
    'stream_closed',
    Buffer.concat([headers(1, 5), frame(TYPE.DATA, 1, 1, [0])]),
  ],
  [
    'PUSH_PROMISE',
    CODE.PROTOCOL,
    'protocol_error',
    frame(TYPE.PUSH_PROMISE, 4, 1, Buffer.concat([uint32(2), head])),
  ],
  [
    'a frame inside of a header block',
    CODE.PROTOCOL,
    'protocol_error',
    Buffer.concat([headers(1, 0), frame(TYPE.PING, 0, 0, Buffer.alloc(8))]),
  ],
]
