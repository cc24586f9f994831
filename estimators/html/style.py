"""How pages of reports look, on light and dark screens, wide and narrow ones."""

from __future__ import annotations

from estimators.html.svg import FAINT, INK, RAMP, SERIES


def _variables(scheme: int) -> str:
    """Writes the colour variables of the light scheme, 0, or the dark one, 1."""
    colours = {"ink": INK[scheme], "faint": FAINT[scheme]}
    colours |= {f"series-{i}": series[scheme] for i, series in enumerate(SERIES)}
    colours |= {f"ramp-{i}": step[scheme] for i, step in enumerate(RAMP)}
    colours["ground"] = ("#ffffff", "#16191d")[scheme]
    colours["card"] = ("#f3f5f8", "#21262d")[scheme]
    colours["line"] = ("#d5dae0", "#3a414a")[scheme]
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())


STYLE = f"""
:root {{ color-scheme: light dark; {_variables(0)} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_variables(1)} }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  overflow-wrap: break-word; -webkit-text-size-adjust: 100%; }}
main {{ max-width: 1240px; margin: 0 auto; padding: 16px; }}
h1 {{ font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; }}
h2 {{ font-size: 1.25rem; margin: 2.5rem 0 .5rem; }}
p, ul, dl {{ max-width: 80ch; }}
code, pre {{ font-family: ui-monospace, Consolas, "DejaVu Sans Mono", monospace; font-size: .9em;
  overflow-wrap: anywhere; }}
pre {{ white-space: pre-wrap; background: var(--card); padding: 12px; border-radius: 6px; }}
a {{ color: var(--series-0); }}
nav {{ display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: 1rem 0; }}
.card {{ background: var(--card); border-left: 4px solid var(--series-0); border-radius: 6px;
  padding: 4px 16px; width: fit-content; }}
.card > p {{ font-size: 1.15rem; }}
.card ul {{ padding-left: 1.2rem; }}
li {{ margin: .3rem 0; }}
b.clear {{ color: var(--series-2); }}
b.clearly {{ color: var(--series-1); }}
.scroll {{ overflow-x: auto; margin: .5rem 0 1rem; border: 1px solid var(--line);
  border-radius: 6px; max-width: 100%; width: fit-content; }}
table {{ border-collapse: separate; border-spacing: 0; font-size: .875rem; line-height: 1.35;
  font-variant-numeric: tabular-nums; }}
th, td {{ padding: 5px 9px; text-align: right; vertical-align: top; white-space: nowrap;
  border-bottom: 1px solid var(--line); background: var(--ground); }}
tbody tr:last-child > * {{ border-bottom: 0; }}
thead th {{ vertical-align: bottom; background: var(--card); white-space: normal; }}
tbody th, .text, thead th:first-child {{ text-align: left; }}
th {{ font-weight: 600; }}
th:first-child, td:first-child {{ position: sticky; left: 0; z-index: 1; }}
thead code {{ overflow-wrap: normal; }}
td.text {{ min-width: 17rem; max-width: 34rem; white-space: normal; overflow-wrap: anywhere; }}
.archs thead th:nth-child(2), .found thead th:nth-child(3), .runs thead th:nth-child(2), td.name
  {{ text-align: left; }}
.settings th {{ white-space: normal; overflow-wrap: anywhere; min-width: 9rem; }}
.settings td.text {{ min-width: 10rem; max-width: 50rem; }}
tr.baseline > * {{ background: var(--card); }}
td small, th small {{ display: block; font-size: .8rem; font-weight: 400; opacity: .8; }}
th i {{ font-style: normal; font-weight: 400; display: inline-block; min-width: 1.4em; }}
th small {{ padding-left: 1.6em; }}
th button {{ font: inherit; color: inherit; background: none; border: 0; padding: 0;
  cursor: pointer; text-align: inherit; text-decoration: underline dotted; }}
th[aria-sort=ascending] button::after {{ content: " ▲"; }}
th[aria-sort=descending] button::after {{ content: " ▼"; }}
mark {{ background: none; color: var(--series-1); font-weight: 700; }}
mark::before {{ content: "◆ "; font-size: .7em; }}
summary {{ cursor: pointer; }}
.axis {{ display: flex; justify-content: space-between; width: 140px; }}
svg.interval {{ display: block; width: 140px; height: 24px; fill: var(--series-0);
  stroke: var(--series-0); stroke-width: 2; }}
svg.interval .zero {{ stroke: var(--line); stroke-width: 1; }}
svg.interval .reference {{ stroke: var(--faint); stroke-width: 1; stroke-dasharray: 3 3; }}
@media (max-width: 600px) {{ svg.interval, .axis {{ width: 90px; }} }}
.plots {{ display: grid; gap: 24px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 350px), 1fr)); }}
.panels {{ display: grid; gap: 12px;
  grid-template-columns: repeat(auto-fill, minmax(160px, 1fr)); }}
.maps {{ display: grid; gap: 24px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 270px), 1fr)); }}
.cells {{ --ink: {INK[0]}; background: #ffffff; max-width: 792px; width: 100%; }}
.cells svg.plot {{ min-width: 640px; }}
figure {{ margin: 0; min-width: 0; max-width: 480px; }}
figcaption {{ font-size: .875rem; }}
.panels p {{ margin: 0 0 0 30px; font-size: .875rem; }}
.legend {{ display: flex; flex-wrap: wrap; gap: 0 1rem; font-size: .875rem; }}
svg.plot {{ display: block; width: 100%; height: auto; overflow: visible;
  stroke-linejoin: round; }}
svg.plot text {{ font-family: inherit !important; }}
dt {{ font-weight: 600; margin-top: .6rem; }}
dd {{ margin: 0; }}
"""

#: Lets the heads of a table sort its rows; without it the rows are in the order of Spearman.
SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((head, column) => {
    if (!body.querySelector(`td[data-value]:nth-child(${column + 1})`)) return;
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const order = head.ariaSort === "descending" ? "ascending" : "descending";
      const sign = order === "descending" ? -1 : 1;
      const value = (row) => row.cells[column].dataset.value;
      const compare = (a, b) => (value(a) === undefined) - (value(b) === undefined)
        || sign * (value(a) - value(b));
      table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
      head.ariaSort = order;
      body.append(...[...body.rows].sort(compare));
    });
  });
}
"""
