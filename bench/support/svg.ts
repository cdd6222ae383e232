/** A line chart on two logarithmic axes, as SVG: grid at the decades, points with their range, each line named at its end. */

export interface Series {
  readonly label: string
  readonly colour: string
  readonly dashed: boolean
  readonly points: readonly {
    readonly x: number
    readonly y: number
    readonly low: number
    readonly high: number
  }[]
}

export interface Chart {
  readonly title: string
  readonly subtitle: string
  readonly xLabel: string
  readonly yLabel: string
  readonly series: readonly Series[]
}

const [WIDTH, HEIGHT] = [800, 468]
const AREA = { left: 76, right: 612, top: 100, bottom: 400 }
const LABEL_GAP = 19
const INK = '#1f2937'
const QUIET = '#6b7280'
const GRID = '#e5e7eb'
const FAINT = '#f3f4f6'
const FONT = "font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif\""

interface Axis {
  readonly low: number
  readonly high: number
  /** Lines with a number, and those between them. */
  readonly major: readonly number[]
  readonly minor: readonly number[]
}

/** Whole decades for a wide range; 1, 2, 5 steps for a narrow one. */
function axisOf(values: readonly number[], whole: boolean): Axis {
  const [least, most] = [Math.min(...values), Math.max(...values)]
  const [from, to] = [Math.floor(Math.log10(least)), Math.ceil(Math.log10(most))]
  const decades = Array.from({ length: to - from + 1 }, (_, index) => 10 ** (from + index))
  const steps = decades.flatMap((decade) => Array.from({ length: 9 }, (_, index) => decade * (index + 1)))
  const low = whole ? least : (steps.findLast((step) => step <= least * 0.9) ?? 10 ** from)
  const high = whole ? most : (steps.find((step) => step >= most * 1.1) ?? 10 ** to)
  const inside = (step: number) => step >= low * 0.999 && step <= high * 1.001
  const wide = whole || high / low > 1000
  const major = steps.filter(
    (step) => inside(step) && (leading(step) === 1 || (!wide && [2, 5].includes(leading(step)))),
  )
  return { low, high, major, minor: steps.filter((step) => inside(step) && !major.includes(step)) }
}

const leading = (value: number) => Math.round(value / 10 ** Math.floor(Math.log10(value) + 1e-9))

function place(axis: Axis, value: number, start: number, end: number): number {
  const share = Math.log(value / axis.low) / Math.log(axis.high / axis.low)
  return Math.round((start + share * (end - start)) * 10) / 10
}

function short(value: number): string {
  if (value >= 1e6) return `${value / 1e6} M`
  if (value >= 1e4) return `${value / 1e3} k`
  return value >= 1 ? value.toLocaleString('en-US') : String(Number(value.toPrecision(3)))
}

const escapeText = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')

function text(x: number, y: number, content: string, more: string): string {
  return `<text x="${x}" y="${y}" ${more}>${escapeText(content)}</text>`
}

const line = (x1: number, y1: number, x2: number, y2: number, colour: string) =>
  `<path d="M${x1} ${y1}L${x2} ${y2}" stroke="${colour}"/>`

function axes(chart: Chart, x: Axis, y: Axis): string[] {
  const out: string[] = []
  const at = (value: number) => place(y, value, AREA.bottom, AREA.top)
  for (const value of y.minor) out.push(line(AREA.left, at(value), AREA.right, at(value), FAINT))
  for (const value of y.major) {
    out.push(line(AREA.left, at(value), AREA.right, at(value), GRID))
    out.push(
      text(AREA.left - 10, at(value) + 4, short(value), `text-anchor="end" font-size="12" fill="${QUIET}"`),
    )
  }
  for (const value of x.major) {
    const left = place(x, value, AREA.left, AREA.right)
    out.push(line(left, AREA.top, left, AREA.bottom, GRID))
    out.push(
      text(left, AREA.bottom + 20, short(value), `text-anchor="middle" font-size="12" fill="${QUIET}"`),
    )
  }
  out.push(line(AREA.left, AREA.bottom, AREA.right, AREA.bottom, '#9ca3af'))
  const middle = (AREA.left + AREA.right) / 2
  out.push(text(middle, AREA.bottom + 46, chart.xLabel, `text-anchor="middle" font-size="13" fill="${INK}"`))
  return out
}

function drawn({ points, colour, dashed }: Series, x: Axis, y: Axis): string[] {
  const left = (value: number) => place(x, value, AREA.left, AREA.right)
  const top = (value: number) => place(y, value, AREA.bottom, AREA.top)
  const path = points
    .map((point, index) => `${index === 0 ? 'M' : 'L'}${left(point.x)} ${top(point.y)}`)
    .join('')
  const dash = dashed ? ' stroke-dasharray="7 5"' : ''
  const ranges = points.map(({ x: at, low, high }) => {
    const range = `M${left(at)} ${top(low)}L${left(at)} ${top(high)}`
    return `<path d="${range}" stroke="${colour}" stroke-width="5" stroke-opacity="0.25" stroke-linecap="round"/>`
  })
  const dots = points.map((point) => {
    const fill = dashed ? '#ffffff' : colour
    const ring = `stroke="${colour}" stroke-width="2"`
    return `<circle cx="${left(point.x)}" cy="${top(point.y)}" r="4.2" fill="${fill}" ${ring}/>`
  })
  const stroke = `stroke="${colour}" stroke-width="2.4" stroke-linejoin="round"`
  return [...ranges, `<path d="${path}" fill="none" ${stroke}${dash}/>`, ...dots]
}

/** The names stand where the lines end, pushed apart where these are close. */
function names(series: readonly Series[], y: Axis): string[] {
  const ends = series
    .map(({ label, colour, points }) => {
      const last = points.at(-1)
      return { label, colour, end: place(y, last?.y ?? y.low, AREA.bottom, AREA.top), top: 0 }
    })
    .toSorted((a, b) => a.end - b.end)
  let free = Number.NEGATIVE_INFINITY
  for (const each of ends) {
    each.top = Math.max(each.end, free)
    free = each.top + LABEL_GAP
  }
  // What was pushed below the area goes up again, and takes the ones above along.
  let floor = AREA.bottom
  for (const each of ends.toReversed()) {
    each.top = Math.min(each.top, floor)
    floor = each.top - LABEL_GAP
  }
  return ends.flatMap(({ label, colour, end, top }) => [
    `<path d="M${AREA.right + 7} ${end}L${AREA.right + 20} ${top}" stroke="${colour}" stroke-opacity="0.5" fill="none"/>`,
    text(AREA.right + 25, top + 4.5, label, `font-size="13" font-weight="600" fill="${colour}"`),
  ])
}

export function drawChart(chart: Chart): string {
  const points = chart.series.flatMap((series) => series.points)
  const x = axisOf(
    points.map((point) => point.x),
    true,
  )
  const y = axisOf(
    points.flatMap((point) => [point.low, point.high]),
    false,
  )
  const clip = `<rect x="0.5" y="0.5" width="${WIDTH - 1}" height="${HEIGHT - 1}" rx="10" fill="#ffffff" stroke="${GRID}"/>`
  const parts = [
    clip,
    text(24, 34, chart.title, `font-size="18" font-weight="700" fill="${INK}"`),
    text(24, 56, chart.subtitle, `font-size="13" fill="${QUIET}"`),
    text(24, AREA.top - 12, chart.yLabel, `font-size="13" fill="${INK}"`),
    ...axes(chart, x, y),
    ...chart.series.flatMap((series) => drawn(series, x, y)),
    ...names(chart.series, y),
  ]
  const size = `width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}"`
  const alt = escapeText(`${chart.title}. ${chart.subtitle}`)
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img" aria-label="${alt}" ${FONT}>\n${parts.join('\n')}\n</svg>\n`
}
