/** Charts of the page, drawn as SVG without scripts; a title on each mark tells its numbers. */
import { html, type Markup, NOTHING } from './markup.ts'
import { count, milliseconds, percent } from './numbers.ts'
import type { Report } from './report.ts'

const WIDTH = 960
const LEFT = 56
const RIGHT = 12
const COLOURS = ['a', 'b'] as const

/** Spans per second over time: what came in as an area, what each configuration keeps as a line. */
export function timelineChart({ timeline, recording }: Report): Markup {
  const height = 240
  const [all = [], ...kept] = timeline.spans
  if (all.length < 2 || recording.from === null) return NOTHING
  const perSecond = 1000 / timeline.bucketMs
  const top = niceTop(Math.max(...all) * perSecond)
  const area = new Area(height, all.length - 1, top)
  const points = (row: readonly number[]) =>
    row.map((spans, index) => `${area.x(index)},${area.y(spans * perSecond)}`).join(' ')
  const startMs = Date.parse(recording.from)
  const ticks = [0, 1, 2, 3, 4].map((part) => Math.round((part / 4) * (all.length - 1)))
  return html`<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="Spans per second over time">
${area.grid(top)}
<polygon class="area" points="${area.x(0)},${area.y(0)} ${points(all)} ${area.x(all.length - 1)},${area.y(0)}"/>
${kept.map((row, number) => html`<polyline class="line ${COLOURS[number] ?? ''}" points="${points(row)}"/>`)}
${ticks.map(
  (index, part) =>
    html`<text x="${area.x(index)}" y="${height - 6}" text-anchor="${anchor(part, 4)}">${timeLabel(
      startMs + index * timeline.bucketMs,
      recording.seconds,
    )}</text>`,
)}
${all.map(
  (spans, index) =>
    html`<rect x="${area.x(index - 0.5)}" y="10" width="${area.step}" height="${height - 40}" fill="transparent">
<title>${timeLabel(startMs + index * timeline.bucketMs, 60)}: ${rate(spans * perSecond)} spans/s in${kept
      .map(
        (row, number) =>
          `, ${rate((row[index] ?? 0) * perSecond)} kept${kept.length > 1 ? ` by ${'AB'[number]}` : ''}`,
      )
      .join('')}</title></rect>`,
)}
</svg>`
}

/** Traces by duration: all of them, and what each configuration keeps of them. */
export function durationChart({ durations, configs }: Report): Markup {
  const height = 240
  const { upToMs, traces } = durations
  const used = traces.flatMap((number, index) => (number > 0 ? [index] : []))
  const first = used[0]
  const last = used.at(-1)
  if (first === undefined || last === undefined) return NOTHING
  const shown = traces.slice(first, last + 1)
  const top = niceTop(Math.max(...shown))
  const area = new Area(height, shown.length, top)
  const bars = 1 + configs.length
  const bar = (area.step * 0.8) / bars
  const drawn = shown.flatMap((number, index) => {
    const bucket = first + index
    const values = [number, ...configs.map(({ keptDurations }) => keptDurations[bucket] ?? 0)]
    return values.map((value, series) => {
      const x = area.x(index) + area.step * 0.1 + series * bar
      const name = series === 0 ? 'all' : `kept${configs.length > 1 ? ` by ${'AB'[series - 1]}` : ''}`
      const share = series === 0 ? '' : ` (${percent(number === 0 ? 0 : value / number)})`
      const title = `${bucketLabel(upToMs, bucket)}, ${name}: ${count(value)} traces${share}`
      const shape = `fill-${series === 0 ? 'all' : COLOURS[series - 1]}`
      return html`<rect class="${shape}" x="${fixed(x)}" y="${area.y(value)}" rx="1.5"
 width="${fixed(Math.max(1, bar - 1))}" height="${fixed(area.height(value))}">
<title>${title}</title></rect>`
    })
  })
  const labels = shown.map(
    (_, index) =>
      html`<text x="${fixed(area.x(index) + area.step / 2)}" y="${height - 6}" text-anchor="middle">
${bucketLabel(upToMs, first + index)}</text>`,
  )
  return html`<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="Traces by duration">
${area.grid(top)}
${drawn}
${labels}
</svg>`
}

/** Where things are drawn: `steps` across, 0 to `top` upwards. */
class Area {
  readonly #bottom: number
  readonly #top: number
  readonly step: number

  constructor(height: number, steps: number, top: number) {
    this.#bottom = height - 26
    this.#top = top
    this.step = Math.round(((WIDTH - LEFT - RIGHT) / Math.max(1, steps)) * 100) / 100
  }

  x(index: number): number {
    return fixed(LEFT + index * this.step)
  }

  y(value: number): number {
    return fixed(this.#bottom - this.height(value))
  }

  height(value: number): number {
    return (value / this.#top) * (this.#bottom - 12)
  }

  grid(top: number): readonly Markup[] {
    return [0, 0.25, 0.5, 0.75, 1].map(
      (part) =>
        html`<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" 
 y1="${this.y(part * top)}" y2="${this.y(part * top)}"/>
<text x="${LEFT - 8}" y="${this.y(part * top) + 4}" text-anchor="end">${rate(part * top)}</text>`,
    )
  }
}

function fixed(value: number): number {
  return Math.round(value * 100) / 100
}

/** The next round number above: quarters of it are short. */
function niceTop(value: number): number {
  if (!(value > 0)) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  for (const factor of [1, 2, 3, 4, 6, 8]) if (factor * power >= value) return factor * power
  return 10 * power
}

function rate(value: number): string {
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))} M`
  if (value >= 1e4) return `${Number((value / 1e3).toPrecision(3))} k`
  return value >= 100 ? count(value) : String(Number(value.toPrecision(3)))
}

function anchor(part: number, last: number): string {
  return part === 0 ? 'start' : part === last ? 'end' : 'middle'
}

/** In UTC; with the day when the range is longer than one. */
function timeLabel(ms: number, rangeSeconds: number): string {
  const text = new Date(ms).toISOString()
  if (rangeSeconds > 86_400) return `${text.slice(5, 10)} ${text.slice(11, 16)}`
  return rangeSeconds > 3600 ? text.slice(11, 16) : text.slice(11, 19)
}

function bucketLabel(upToMs: readonly number[], bucket: number): string {
  const bound = upToMs[bucket]
  return bound === undefined ? `> ${short(upToMs.at(-1) ?? 0)}` : `< ${short(bound)}`
}

function short(ms: number): string {
  return milliseconds(ms).replace('.0 ', ' ').replace(/ 0 s$/, '')
}
