"""The style sheet of report.html: light and dark, narrow and wide, screen and paper."""

# The variables train, validation, ... are the roles of `figure_style.COLOURS`: the figures'
# colours on a light page, and lighter ones of the same hue on a dark page.
CSS = """
:root {
  color-scheme: light dark;
  --page: #f5f7f9; --card: #ffffff; --line: #dfe4ea; --text: #1d2733; --quiet: #5b6776;
  --accent: #0072b2; --warn: #a34700; --warn-card: #fdf0e6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #10151b; --card: #19212a; --line: #2f3a46; --text: #e6ebf0; --quiet: #a3afbc;
    --accent: #63b8ea; --warn: #ffb27a; --warn-card: #3a2a1c;
    --ink: #e6ebf0; --muted: #a3afbc; --grid: #33404d;
    --train: #63b8ea; --validation: #ff9a52; --rate: #4fd0b0; --eigenvalue: #dd9cc8;
    --exploration: #1d2c3b; --convergence: #30291e;
    --adversarial: #d8c560; --communication: #f0c44c; --input: #2a7fb8; --other: #66727f;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums;
}
main { max-width: 1120px; margin: 0 auto; padding: 2.2rem 1.25rem 3rem; }
header { margin-bottom: 1.5rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .8rem; }
header p { margin: 0; color: var(--quiet); }
.notice {
  margin-top: .9rem; padding: .6rem .9rem; border-left: 4px solid var(--warn); border-radius: 4px;
  background: var(--warn-card); color: var(--warn); font-weight: 600;
}
.tiles {
  display: grid; gap: .75rem; margin: 0;
  grid-template-columns: repeat(var(--columns), minmax(0, 1fr));
}
.tiles div, figure, details {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px;
}
.tiles div { padding: .8rem 1rem; display: flex; flex-direction: column; }
.tiles dt { color: var(--quiet); font-size: .86rem; }
.tiles dd { margin: 0; }
.tiles .value { font-size: 1.6rem; font-weight: 650; line-height: 1.25; letter-spacing: -.01em; }
.tiles .first .value { color: var(--accent); }
.tiles .note { color: var(--quiet); font-size: .84rem; }
.figures { display: grid; gap: .9rem; grid-template-columns: repeat(2, minmax(0, 1fr)); }
figure { margin: 0; padding: 1rem 1.1rem .9rem; min-width: 0; }
figure.whole { grid-column: 1 / -1; }
figure h3 { margin: 0 0 .35rem; font-size: 1rem; }
figure .drawing { overflow-x: auto; }
figure svg { display: block; width: 100%; height: auto; }
figure svg text {
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial,
    sans-serif !important;
}
figcaption {
  color: var(--quiet); font-size: .89rem; margin-top: .5rem; max-width: 100ch; text-wrap: pretty;
}
details { margin-top: .75rem; padding: 0 1rem; }
summary { cursor: pointer; padding: .75rem 0; font-weight: 600; }
summary span { color: var(--quiet); font-weight: 400; }
.scroll { overflow: auto; max-height: 34rem; margin: 0 -1rem; border-top: 1px solid var(--line); }
table { border-collapse: collapse; width: 100%; font-size: .86rem; }
th, td { padding: .32rem .7rem; text-align: right; white-space: nowrap; }
th { color: var(--quiet); font-weight: 600; }
thead th {
  position: sticky; top: 0; background: var(--card); box-shadow: inset 0 -1px var(--line);
}
tbody tr + tr > * { border-top: 1px solid var(--line); }
tr.mark > * { background: color-mix(in srgb, var(--accent) 10%, transparent); }
th:first-child, td:first-child { padding-left: 1rem; }
td.words { text-align: left; white-space: normal; min-width: 22rem; overflow-wrap: anywhere; }
a { color: var(--accent); }
pre {
  margin: 0; padding: .8rem 1rem; overflow-x: auto; background: var(--card);
  border: 1px solid var(--line); border-radius: 10px; font-size: .89rem;
}
table.pairs th, table.pairs td { text-align: left; vertical-align: top; }
table.pairs td { white-space: pre-wrap; overflow-wrap: anywhere; width: 70%; }
footer { margin-top: 2rem; color: var(--quiet); font-size: .84rem; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
@media (max-width: 760px) {
  main { padding: 1.3rem .8rem 2rem; }
  .figures { grid-template-columns: minmax(0, 1fr); }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .5rem; }
  .tiles div { padding: .6rem .75rem; }
  .tiles .value { font-size: 1.3rem; }
  figure.whole svg { min-width: 680px; }
}
@media print {
  :root { color-scheme: light; --page: #fff; }
  main { max-width: none; padding: 0; }
  figure, .tiles div { break-inside: avoid; }
  .scroll { max-height: none; overflow: visible; }
}
"""
