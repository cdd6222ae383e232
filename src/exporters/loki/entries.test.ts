import { expect, test } from 'vitest'
import { EntryCursor, EntryStore, Stream } from './entries.ts'

/** Writes an entry at this time to a stream, with its number as the line. */
function add(store: EntryStore, stream: Stream, nanos: number, line: string): void {
  const at = store.open(Math.floor(nanos / 1e9), nanos % 1e9, line.length)
  store.bytes.set(Buffer.from(line), at)
  store.close(stream, at + line.length)
}

function lines(store: EntryStore, stream: Stream): [time: number, line: string][] {
  const entries = new EntryCursor(stream.inOrder(store.bytes), store.bytes)
  const found: [number, string][] = []
  while (entries.next()) {
    const text = Buffer.from(store.bytes.subarray(entries.contentStart, entries.end)).toString('latin1')
    found.push([entries.seconds * 1e9 + entries.nanos, /\d+x*$/.exec(text)?.[0] ?? ''])
  }
  return found
}

test('random times in two streams: each stream comes in the order of time, equal times as they came', () => {
  for (let round = 0; round < 300; round++) {
    const store = new EntryStore()
    const streams = [new Stream([['a', '1']], '{a="1"}'), new Stream([['a', '2']], '{a="2"}')]
    const added: [number, string][][] = [[], []]
    let time = 1000
    for (let count = 0; count < round % 40; count++) {
      // Mostly rising, with steps back of some kinds: pieces that follow each other, touch, and overlap.
      if (Math.random() < 0.2) time -= Math.floor(Math.random() * (round % 7) * 2)
      else time += Math.floor(Math.random() * 3)
      const which = Math.random() < 0.2 ? 1 : 0
      const text = String(count)
      add(store, streams[which]!, time, text)
      added[which]!.push([time, text])
    }
    for (const which of [0, 1])
      expect(lines(store, streams[which]!)).toEqual(added[which]!.toSorted(([a], [b]) => a - b))
  }
})

test('times and lines of all lengths', () => {
  const store = new EntryStore()
  const stream = new Stream([['a', '1']], '{a="1"}')
  const want: [number, string][] = []
  const lengths = [0, 1, 60, 110, 127, 128, 200, 16_300, 16_383, 16_384, 20_000, 300_000, 3_000_000]
  for (const [index, length] of lengths.entries())
    for (const nanos of [0, 1, 999_999_999]) {
      const line = `7${'x'.repeat(length)}`
      const time = 3 ** index * 1e9 + nanos
      add(store, stream, time, line)
      want.push([time, line])
    }
  const found = lines(store, stream)
  expect(found.map(([time, line]) => [time, line.length])).toEqual(
    want.map(([time, line]) => [time, line.length]),
  )
  expect(found.every(([, line], index) => line === want[index]?.[1])).toBe(true)
})
