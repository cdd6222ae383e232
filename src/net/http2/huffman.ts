/**
 * The Huffman code of HPACK (RFC 7541 section 5.2 and appendix B). The code is canonical: symbols of one length have
 * consecutive codes, in order, so that the lengths are all there is to know.
 */
import { ConnectionError, ERROR } from './frames.ts'

/** Bits of each symbol's code, a digit of base 36 each; the last one is EOS. */
const LENGTHS =
  'dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6ca' +
  'd67777777777777777777777878djde6f56565666577666567655677777fbeds' +
  'kmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn' +
  'qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrq' +
  'u'
const SYMBOLS = 257
const EOS = 256

const codes = new Uint32Array(SYMBOLS)
const lengths = new Uint8Array(SYMBOLS)

/**
 * The decoder takes four bits at a time: NEXT[state * 16 + bits] is the state after them, EMIT the symbol that they completed
 * (-1: none, -2: EOS). No code is shorter than five bits, so four complete one symbol at most.
 */
let next: Uint16Array
let emit: Int16Array
/** States where a string may end: what is left is at most 7 bits of ones (RFC 7541 section 5.2). */
let accepting: Uint8Array

build()

function build(): void {
  const order = Array.from({ length: SYMBOLS }, (_, symbol) => symbol)
  for (const symbol of order) lengths[symbol] = Number.parseInt(LENGTHS[symbol]!, 36)
  order.sort((a, b) => lengths[a]! - lengths[b]! || a - b)
  // Nodes of the tree: children[node * 2 + bit] is a node when positive, a symbol when negative (~symbol).
  const children = new Int32Array(SYMBOLS * 2)
  let nodes = 1
  let code = 0
  let length = 0
  for (const symbol of order) {
    code <<= lengths[symbol]! - length
    length = lengths[symbol]!
    codes[symbol] = code
    let node = 0
    for (let bit = length - 1; bit > 0; bit--) {
      const place = node * 2 + ((code >>> bit) & 1)
      if (children[place] === 0) children[place] = nodes++
      node = children[place]!
    }
    children[node * 2 + (code & 1)] = ~symbol
    code++
  }
  next = new Uint16Array(nodes * 16)
  emit = new Int16Array(nodes * 16).fill(-1)
  accepting = new Uint8Array(nodes)
  for (let node = 0, ones = 0; ones < 8; ones++) {
    accepting[node] = 1
    node = children[node * 2 + 1]!
  }
  for (let state = 0; state < nodes; state++) {
    for (let bits = 0; bits < 16; bits++) {
      let node = state
      for (let bit = 3; bit >= 0; bit--) {
        const child = children[node * 2 + ((bits >>> bit) & 1)]!
        node = Math.max(child, 0)
        if (child < 0) emit[state * 16 + bits] = ~child === EOS ? -2 : ~child
      }
      next[state * 16 + bits] = node
    }
  }
}

let scratch = Buffer.allocUnsafeSlow(4096)

/** The string of one character a byte that stands coded between `start` and `end`. */
export function decodeHuffman(bytes: Uint8Array, start: number, end: number): string {
  // Five bits a symbol at best.
  const room = Math.ceil(((end - start) * 8) / 5)
  if (scratch.length < room) scratch = Buffer.allocUnsafeSlow(room)
  let state = 0
  let length = 0
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!
    let place = state * 16 + (byte >>> 4)
    let symbol = emit[place]!
    if (symbol !== -1) {
      if (symbol === -2) throw broken()
      scratch[length++] = symbol
    }
    place = next[place]! * 16 + (byte & 15)
    symbol = emit[place]!
    if (symbol !== -1) {
      if (symbol === -2) throw broken()
      scratch[length++] = symbol
    }
    state = next[place]!
  }
  if (accepting[state] === 0) throw broken()
  return scratch.toString('latin1', 0, length)
}

function broken(): ConnectionError {
  return new ConnectionError(ERROR.COMPRESSION_ERROR, 'broken Huffman code')
}

/** Bytes that the code of `text` (one byte a character) takes. */
export function huffmanLength(text: string): number {
  let bits = 0
  for (let index = 0; index < text.length; index++) bits += lengths[text.charCodeAt(index) & 255]!
  return (bits + 7) >>> 3
}

/** Writes the code of `text`; gives the place after it. */
export function encodeHuffman(text: string, target: Uint8Array, at: number): number {
  let pending = 0
  let count = 0
  for (let index = 0; index < text.length; index++) {
    const symbol = text.charCodeAt(index) & 255
    const code = codes[symbol]!
    // At most 7 bits wait and a code has up to 30, so it is taken in two pieces.
    for (let left = lengths[symbol]!; left > 0; ) {
      const take = Math.min(left, 16)
      left -= take
      pending = (pending << take) | ((code >>> left) & ((1 << take) - 1))
      count += take
      while (count >= 8) {
        count -= 8
        target[at++] = pending >>> count
        pending &= (1 << count) - 1
      }
    }
  }
  if (count > 0) target[at++] = (pending << (8 - count)) | (0xff >>> count)
  return at
}
