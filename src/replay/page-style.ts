/** The look of the page, light and dark as the reader's system has it. */
export const STYLE = `
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --text: #1c2430; --soft: #5d6878;
  --line: #e2e6ec; --grid: #e9ecf1; --all: #c3cad4; --a: #2563eb; --b: #d9730d; --bad: #c62f2f; --good: #1f8a4c;
  --track: #edf0f4; }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --card: #1a2028; --text: #e6eaf0; --soft: #98a4b4;
  --line: #2b333e; --grid: #262e38; --all: #4a5564; --a: #6ba1ff; --b: #f2a154; --bad: #ff7d76; --good: #5ecb8d;
  --track: #252d37; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -0.01em; }
h2 { font-size: 17px; margin: 0 0 4px; }
h3 { font-size: 14px; margin: 20px 0 4px; color: var(--soft); font-weight: 600; }
p { margin: 0 0 12px; }
.soft { color: var(--soft); }
.small { font-size: 13px; }
header { margin-bottom: 24px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px;
  margin: 0 0 18px; }
.tiles { display: grid; gap: 14px; margin: 0 0 18px; grid-template-columns: repeat(auto-fit, minmax(280px, 1fr)); }
.tile { background: var(--card); border: 1px solid var(--line); border-top: 3px solid var(--all);
  border-radius: 10px; padding: 16px 18px; min-width: 0; }
.tile.a { border-top-color: var(--a); }
.tile.b { border-top-color: var(--b); }
.tile .name { font-weight: 600; overflow-wrap: anywhere; }
.big { font-size: 32px; font-weight: 650; line-height: 1.25; letter-spacing: -0.02em; font-variant-numeric: tabular-nums; }
dl { display: grid; grid-template-columns: 1fr auto; gap: 2px 14px; margin: 8px 0 0; font-size: 14px; }
dt { color: var(--soft); }
dd { margin: 0; text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.bad { color: var(--bad); font-weight: 600; }
.good { color: var(--good); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 13px; border-bottom: 1px solid var(--line);
  padding: 6px 10px 6px 0; white-space: nowrap; }
td { border-bottom: 1px solid var(--line); padding: 6px 10px 6px 0; vertical-align: middle; }
tr:last-child td { border-bottom: 0; }
th.number, td.number { text-align: right; white-space: nowrap; }
th:last-child, td:last-child { padding-right: 0; }
td.name { overflow-wrap: anywhere; min-width: 110px; }
td.id { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; white-space: nowrap; }
.bar { display: block; min-width: 110px; width: 100%; height: 10px; border-radius: 5px; background: var(--track);
  overflow: hidden; }
.bar + .bar { margin-top: 3px; }
.bar i { display: block; height: 100%; border-radius: 5px; background: var(--all); }
.bar i.a { background: var(--a); }
.bar i.b { background: var(--b); }
.bar i.bad { background: var(--bad); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 13px; color: var(--soft); margin: 4px 0 8px; }
.legend span::before { content: ""; display: inline-block; width: 11px; height: 11px; border-radius: 3px;
  margin-right: 6px; vertical-align: -1px; background: var(--all); }
.legend .a::before { background: var(--a); }
.legend .b::before { background: var(--b); }
.legend .ab::before { background: linear-gradient(90deg, var(--a) 50%, var(--b) 50%); }
.split { display: flex; height: 26px; border-radius: 6px; overflow: hidden; margin: 10px 0; gap: 2px; }
.split i { display: block; background: var(--all); min-width: 2px; }
.split .a { background: var(--a); }
.split .b { background: var(--b); }
.split .ab { background: repeating-linear-gradient(45deg, var(--a) 0 8px, var(--b) 8px 16px); }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font: 12px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif;
  font-variant-numeric: tabular-nums; }
.grid { stroke: var(--grid); stroke-width: 1; }
.fill-all { fill: var(--all); }
.fill-a { fill: var(--a); }
.fill-b { fill: var(--b); }
.area { fill: var(--all); fill-opacity: 0.55; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.line.a { stroke: var(--a); }
.line.b { stroke: var(--b); }
.columns td.name { min-width: 84px; }
.columns { display: grid; gap: 0 28px; grid-template-columns: repeat(auto-fit, minmax(400px, 1fr)); }
details { margin-top: 8px; }
summary { cursor: pointer; color: var(--soft); font-size: 14px; }
@media (max-width: 480px) { .columns { grid-template-columns: 1fr; } main { padding: 20px 12px 40px; } }
@media print { body { background: #fff; } section, .tile { break-inside: avoid; } }
`
