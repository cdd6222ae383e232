/** What JSON writes in place of a byte, and the digits of ids and bytes. */
export const HEX = Buffer.from('0123456789abcdef')
export const BASE64 = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/')
/** 0: as it is. A letter: backslash and that letter. 1: backslash, u, four digits. 2: a byte of UTF-8 over 127. */
export const ESCAPES = new Uint8Array(256)
ESCAPES.fill(1, 0, 32)
ESCAPES.fill(2, 128)
for (const [letter, byte] of Object.entries({ '"': 34, '\\': 92, b: 8, f: 12, n: 10, r: 13, t: 9 }))
  ESCAPES[byte] = letter.charCodeAt(0)

/** The same, where characters of HTML are not wanted as they are (mark 1), as Go's encoder has it. */
export const HTML_ESCAPES = Uint8Array.from(ESCAPES)
for (const letter of '<>&') HTML_ESCAPES[letter.charCodeAt(0)] = 1
