/** The report as a page of its own: no scripts, nothing from elsewhere, light and dark. */
import { html, type Markup, NOTHING } from './markup.ts'
import { bytes, count, milliseconds, percent, seconds } from './numbers.ts'
import { durationChart, timelineChart } from './page-charts.ts'
import { STYLE } from './page-style.ts'
import type { Amount, ConfigReport, DifferenceReport, PolicyReport, Report } from './report.ts'
import type { TraceExample } from './summary.ts'

const COLOURS = { A: 'a', B: 'b' } as const
/** Services that are shown at once; the others unfold. */
const SERVICES = 25

export function pageOf(report: Report): string {
  const { configs, difference } = report
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Sampling replay</title>
<style>STYLE</style>
</head>
<body>
<main>
${header(report)}
<div class="tiles">${recordingTile(report)}${configs.map((config) => configTile(report, config))}</div>
${difference === null ? NOTHING : differenceSection(difference)}
${timelineSection(report)}
${configs.map((config) => policySection(report, config))}
${durationSection(report)}
${serviceSection(report)}
${configs.map((config) => lossSection(report, config))}
</main>
</body>
</html>
`
  return page.text.replace('STYLE', () => STYLE)
}

const ARRIVALS = {
  recorded: 'Arrival times are those that were recorded.',
  estimated:
    'Arrival times were not recorded: they are taken from the order of the messages and the ends of their spans.',
  mixed: 'Arrival times were recorded for some messages; for the others the ends of their spans stand in.',
}

function header({ recording }: Report): Markup {
  const { from, to } = recording
  const time = from === null ? 'Time unknown' : `${plainTime(from)} to ${plainTime(to ?? from)} UTC`
  const notes: string[] = []
  if (recording.withoutSpans > 0) notes.push(`${count(recording.withoutSpans)} messages had no spans.`)
  if (recording.broken > 0) notes.push(`${count(recording.broken)} messages could not be decoded.`)
  if (recording.cutOffFiles > 0) notes.push(`${count(recording.cutOffFiles)} files end within a message.`)
  return html`<header>
<h1>Sampling replay</h1>
<p class="soft">${time} (${seconds(recording.seconds)}), ${count(recording.files)}
${recording.files === 1 ? 'file' : 'files'}, ${bytes(recording.bytes)}. ${ARRIVALS[recording.arrival]} ${notes.join(' ')}</p>
</header>`
}

function plainTime(iso: string): string {
  return iso.slice(0, 19).replace('T', ' ')
}

function recordingTile({ input }: Report): Markup {
  return html`<div class="tile"><div class="name">Recorded</div>
<div class="big">${count(input.traces)}</div><div class="soft small">traces</div>
<dl><dt>Spans</dt><dd>${count(input.spans)}</dd><dt>Encoded</dt><dd>${bytes(input.encodedBytes)}</dd>
<dt>Traces with errors</dt><dd>${count(input.errorTraces)}</dd>
${dayRow(input.perDay)}</dl></div>`
}

function dayRow(perDay: Report['input']['perDay']): Markup {
  if (perDay === null) return html`<dt>Per day</dt><dd>recording too short</dd>`
  return html`<dt>Encoded per day</dt><dd>${bytes(perDay.bytes)}</dd><dt>Spans per day</dt>
<dd>${count(perDay.spans)}</dd>`
}

function configTile({ configs }: Report, config: ConfigReport): Markup {
  const { kept, share, lostErrors } = config
  const label = configs.length > 1 ? `${config.label}: ` : ''
  return html`<div class="tile ${COLOURS[config.label]}"><div class="name">${label}${config.processor}</div>
<div class="big">${percent(share.traces)}</div><div class="soft small">of the traces kept by ${config.source}</div>
<dl><dt>Traces</dt><dd>${count(kept.traces)}</dd>
<dt>Spans</dt><dd>${count(kept.spans)} (${percent(share.spans)})</dd>
<dt>Encoded</dt><dd>${bytes(config.encodedBytes)}</dd>
<dt>Errors lost</dt><dd class="${lostErrors.traces > 0 ? 'bad' : 'good'}">${count(lostErrors.traces)}</dd>
${dayRow(config.perDay)}
${config.pushedOutTraces > 0 ? html`<dt>Pushed out undecided</dt><dd class="bad">${count(config.pushedOutTraces)}</dd>` : NOTHING}
${config.tooLargeTraces > 0 ? html`<dt>Too large</dt><dd>${count(config.tooLargeTraces)}</dd>` : NOTHING}
${kept.partialTraces > 0 ? html`<dt>Kept in part</dt><dd>${count(kept.partialTraces)}</dd>` : NOTHING}</dl></div>`
}

function legend(report: Report, all: string): Markup {
  const [a, b] = report.configs
  return html`<div class="legend">
<span>${all}</span>${a === undefined ? NOTHING : html`<span class="a">kept${b === undefined ? '' : ' by A'}</span>`}
${b === undefined ? NOTHING : html`<span class="b">kept by B</span>`}</div>`
}

function timelineSection(report: Report): Markup {
  const chart = timelineChart(report)
  if (chart === NOTHING) return NOTHING
  return html`<section><h2>Over time</h2>
<p class="soft small">Spans per second, by when their trace began to arrive (UTC).</p>
${legend(report, 'recorded')}${chart}</section>`
}

function durationSection(report: Report): Markup {
  const chart = durationChart(report)
  if (chart === NOTHING) return NOTHING
  return html`<section><h2>By duration</h2>
<p class="soft small">Traces by the time from their first start to their last end.</p>
${legend(report, 'recorded')}${chart}</section>`
}

function differenceSection(difference: DifferenceReport): Markup {
  const { both, onlyA, onlyB, none } = difference
  const parts: readonly (readonly [string, string, DifferenceReport['both']])[] = [
    ['ab', 'both', both],
    ['a', 'A only', onlyA],
    ['b', 'B only', onlyB],
    ['', 'none', none],
  ]
  const total = both.traces + onlyA.traces + onlyB.traces + none.traces
  const share = ({ traces }: Amount) => (total === 0 ? 0 : traces / total)
  return html`<section><h2>Difference</h2><p class="soft small">Traces by which configuration keeps them.</p>
<div class="split">${parts.map(([shape, name, cell]) =>
    cell.traces === 0
      ? NOTHING
      : html`<i class="${shape}" style="flex: ${cell.traces}" title="${name}: ${count(cell.traces)} traces"></i>`,
  )}</div>
<div class="legend">${parts.map(
    ([shape, name, cell]) =>
      html`<span class="${shape}">${name}: ${count(cell.traces)} traces (${percent(share(cell))}),
${count(cell.spans)} spans, ${bytes(cell.bytes)}</span>`,
  )}</div>
<div class="columns">${exampleTable('Kept by A only, the slowest', onlyA.examples)}
${exampleTable('Kept by B only, the slowest', onlyB.examples)}</div>
</section>`
}

const OUTCOMES = {
  sampled: 'kept',
  dropped: 'dropped',
  not_sampled: 'Not sampled by any policy',
  undecided: 'No decision: pushed out or too large',
  late: 'Kept late, after the decision',
}

function policySection({ configs, input }: Report, config: ConfigReport): Markup {
  const title = configs.length > 1 ? `Policies of ${config.label}` : 'Policies'
  return html`<section><h2>${title}</h2>
<p class="soft small">Which policy decided: the first that sampled or dropped the trace.
"Matches" counts the traces that it would keep by itself,
"alone" those that no other policy would keep.</p>
<div class="scroll"><table><thead><tr><th>Policy</th><th>Type</th>
<th style="width: 30%">Share of traces</th><th class="number">Traces</th><th class="number">Spans</th>
<th class="number">Bytes</th><th class="number">Matches</th><th class="number">Alone</th></tr></thead>
<tbody>${config.policies.map((policy) => policyRow(policy, config, input.traces))}</tbody></table></div></section>`
}

function policyRow(policy: PolicyReport, config: ConfigReport, traces: number): Markup {
  const { decided, outcome } = policy
  const named = policy.policy !== ''
  const share = traces === 0 ? 0 : decided.traces / traces
  const shape =
    outcome === 'sampled' || outcome === 'late' ? COLOURS[config.label] : outcome === 'dropped' ? 'bad' : ''
  return html`<tr><td class="name">${named ? policy.policy : OUTCOMES[outcome]}</td>
<td class="soft">${named ? policy.type : ''}</td>
<td>${bar(share, shape)}<span class="small soft">${percent(share)}${outcome === 'dropped' ? ' dropped' : ''}</span>
</td>
<td class="number">${count(decided.traces)}</td><td class="number">${count(decided.spans)}</td>
<td class="number">${bytes(decided.bytes)}</td>
<td class="number">${named ? count(policy.matchedTraces) : ''}</td>
<td class="number">${outcome === 'sampled' ? count(policy.onlyTraces) : ''}</td></tr>`
}

function bar(share: number, shape: string): Markup {
  return html`<span class="bar"><i class="${shape}" style="width: ${Math.round(share * 10_000) / 100}%"></i></span>`
}

function serviceSection(report: Report): Markup {
  const { services, configs } = report
  if (services.length === 0) return NOTHING
  const two = configs.length > 1
  const head = html`<thead><tr><th>Service</th><th class="number">Traces</th><th class="number">Spans</th>
<th class="number">Bytes</th><th style="width: 24%">Spans kept</th>${configs.map(
    ({ label }) =>
      html`<th class="number">Kept${two ? ` ${label}` : ''}</th>
<th class="number">Errors lost${two ? ` ${label}` : ''}</th>`,
  )}</tr></thead>`
  const rows = services.map((service) => {
    const bars = service.kept.map(({ spans }, number) => bar(spans / service.spans, number === 0 ? 'a' : 'b'))
    const cells = service.kept.map(
      ({ spans, lostErrorTraces }) =>
        html`<td class="number">${percent(spans / service.spans)}</td>
<td class="number ${lostErrorTraces > 0 ? 'bad' : ''}">${count(lostErrorTraces)}</td>`,
    )
    return html`<tr><td class="name">${service.service}</td><td class="number">${count(service.traces)}</td>
<td class="number">${count(service.spans)}</td><td class="number">${bytes(service.bytes)}</td>
<td>${bars}</td>${cells}</tr>`
  })
  const rest = rows.slice(SERVICES)
  return html`<section><h2>Services</h2>
<p class="soft small">A trace belongs to the service of its root span; spans and bytes to their own.</p>
<div class="scroll"><table>${head}<tbody>${rows.slice(0, SERVICES)}</tbody></table></div>
${
  rest.length === 0
    ? NOTHING
    : html`<details><summary>${count(rest.length)} more</summary>
<div class="scroll"><table>${head}<tbody>${rest}</tbody></table></div>
</details>`
}</section>`
}

function lossSection({ configs, input }: Report, config: ConfigReport): Markup {
  const by = configs.length > 1 ? ` by ${config.label}` : ''
  const { lostErrors, slowestLost } = config
  return html`<section><h2>What is lost${by}</h2>
<p class="soft small">${count(lostErrors.traces)} of ${count(input.errorTraces)} traces with an error are not kept.</p>
<div class="columns">${exampleTable('Traces with errors, the slowest', lostErrors.examples, false)}
${exampleTable('The slowest traces', slowestLost)}</div>
</section>`
}

/** `marks`: those with an error are marked. */
function exampleTable(title: string, examples: readonly TraceExample[], marks = true): Markup {
  if (examples.length === 0) return html`<div><h3>${title}</h3><p class="soft">None.</p></div>`
  const rows = examples.map(
    ({ traceId, service, durationMs, spans, error }) =>
      html`<tr><td class="id">${traceId}</td>
<td class="name">${service}${error && marks ? html` <span class="bad">error</span>` : NOTHING}</td>
<td class="number">${milliseconds(durationMs)}</td><td class="number">${count(spans)}</td></tr>`,
  )
  return html`<div><h3>${title}</h3><div class="scroll"><table><thead><tr><th>Trace</th><th>Service</th>
<th class="number">Duration</th><th class="number">Spans</th></tr></thead><tbody>${rows}</tbody></table>
</div></div>`
}
