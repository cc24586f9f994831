"""What pages of reports are made of: numbers and sentences, tables, figures, the page itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from estimators.html.style import STYLE
from estimators.html.svg import SERIES
from supernets.runtime.atomic_write import atomic_write

#: Longer notations are folded; characters.
MAX_SHOWN = 100

#: Cells of a row of a table, and its class.
Row = tuple[Iterable[str], str]


class Section(NamedTuple):
    """A part of a page; left out where its body is empty.

    Args:
        key: Identifier of the section in the page, which links lead to.
        title: Heading of the section, as HTML.
        body: Content of the section, as HTML.
        link: Text of the link to it from the top, as HTML; None for the title, no link if empty.
    """

    key: str
    title: str
    body: str
    link: str | None = None


def write_page(
    path: Path,
    *,
    title: str,
    heading: str,
    subtitle: str,
    findings: Sequence[str],
    sections: Iterable[Section],
    script: str = "",
) -> None:
    """Writes a page that needs no other file; the same arguments give the same bytes.

    Args:
        path: The file, replaced atomically.
        title: Title of the browser's window, as plain text, like ``heading``.
        heading: Heading of the page, as plain text.
        subtitle: Line under the heading, as HTML.
        findings: Findings as HTML; the first is shown large, the others as a list.
        sections: The sections in the order they are shown in.
        script: Script that runs in the page; none by default.
    """
    shown = [section for section in sections if section.body]
    links = " ".join(
        f'<a href="#{key}">{name if link is None else link}</a>'
        for key, name, _, link in shown
        if link != ""
    )
    bodies = [
        f'<section id="{key}">\n<h2>{name}</h2>\n{body}\n</section>' for key, name, body, _ in shown
    ]
    first, *rest = findings
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>",
        f"<h1>{escape(heading)}</h1>",
        f"<p>{subtitle}</p>",
        f'<div class="card"><p>{first}</p>\n{bullets(rest)}</div>',
        f"<nav>{links}</nav>",
        *bodies,
        "</main>\n" + (f"<script>{script}</script>\n" if script else "") + "</body>\n</html>\n",
    ]
    with atomic_write(path) as file:
        file.write("\n".join(parts))


@dataclass(frozen=True)
class Difference:
    """How much better one thing is than another.

    Args:
        value: The difference, above 0 if the first is better.
        low: Lower end of its 95 % interval.
        high: Upper end of its 95 % interval.
        digits: Number of digits shown after the point.
        is_judged: Whether there are enough values behind the interval for a verdict.
    """

    value: float
    low: float
    high: float
    digits: int = 3
    is_judged: bool = True

    @property
    def verdict(self) -> str:
        """``"clear"`` if the interval is above 0, ``"clearly worse"`` below, ``"within noise"``.

        ``"too few to tell"`` where it is not judged.
        """
        if not self.is_judged:
            return "too few to tell"
        if self.low > 0:
            return "clear"
        return "clearly worse" if self.high < 0 else "within noise"

    def __str__(self) -> str:
        value = number(self.value, self.digits, sign="+")
        return f"{value} [{number(self.low, self.digits)}, {number(self.high, self.digits)}]"


def number(value: float | None, digits: int = 3, *, sign: str = "") -> str:
    """Formats a number as ``0.812``, None as a dash, and too many digits as ``2.4e+13``."""
    if value is None:
        return "–"
    is_long = abs(value) >= 1e9 or (digits >= 8 and 0 < abs(value) < 1e-6)
    text = f"{value:{sign}.4g}" if is_long else f"{value:{sign}.{digits}f}"
    if not text.strip("+-0."):  # no minus zero
        text = text.lstrip("+-")
    return text.replace("-", "−")


def short(value: float) -> str:
    """Formats a number with five significant digits."""
    return (f"{value:,.0f}" if abs(value) >= 1e5 else f"{value:.5g}").replace("-", "−")


def count(value: float) -> str:
    """Formats a count as ``73,306``, or as ``7.78 M`` where that is long."""
    return f"{value / 1e6:,.2f} M" if value >= 1e5 else f"{value:,.0f}"


def with_unit(value: float | None, unit: str) -> str:
    """Formats a truth with its unit, such as ``93.12 %``."""
    if value is None:
        return "–"
    digits = 2 if unit else 4
    return number(value, digits) + (f" {escape(unit)}" if unit else "")


def duration(seconds: float) -> str:
    """Formats a time in a unit that leaves it at most three digits before the point."""
    if seconds < 0.001:
        return "&lt; 1 ms"
    if seconds < 0.0995:
        return f"{1000 * seconds:.2g} ms"
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 36_000 else f"{seconds / 3600:,.0f} h"


def marked(found: Difference) -> str:
    """Formats a verdict in words, coloured."""
    return f'<b class="{found.verdict.split()[0]}">{found.verdict}</b>'


def verdict(found: Difference | None) -> str:
    """Formats a difference with its verdict as a sign, None as a dash."""
    if found is None:
        return "–"
    signs = {"clear": "▲", "clearly worse": "▼", "within noise": "≈", "too few to tell": "?"}
    sign = signs[found.verdict]
    return f'<b class="{found.verdict.split()[0]}">{sign}</b> {found}'


def code(text: str) -> str:
    """Escapes a text and sets it in the letters of programs."""
    return f"<code>{escape(text)}</code>"


def notation(text: str) -> str:
    """Formats an architecture, folded if it is long; it may break after its parts."""
    full = f"<code>{re.sub('(?<=[+|])', '<wbr>', escape(text))}</code>"
    if len(text) <= MAX_SHOWN:
        return full
    summary = f"<code>{escape(text[:48])}…{escape(text[-24:])}</code>"
    return f"<details><summary>{summary}</summary>{full}</details>"


def bullets(items: Iterable[str]) -> str:
    """Builds a list of HTML items."""
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"


def definitions(terms: Mapping[str, str]) -> str:
    """Builds a list of terms and their sentences, both HTML."""
    return "<dl>" + "".join(f"<dt>{t}</dt><dd>{s}</dd>\n" for t, s in terms.items()) + "</dl>"


def table(label: str, heads: Sequence[str], rows: Iterable[Row], *, kind: str = "") -> str:
    """Builds a table in a box that scrolls on narrow screens.

    Args:
        label: Name of the box for those who cannot see it, as plain text.
        heads: Headings of the columns, as HTML.
        rows: The cells of each row, as HTML with their tags, and the row's CSS class.
        kind: CSS class of the table.
    """
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    body = "\n".join(
        f"<tr{f' class={kind!r}' if kind else ''}>{''.join(cells)}</tr>" for cells, kind in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">\n'
        f'<table class="{kind}">\n'
        + (f"<thead><tr>{head}</tr></thead>\n" if heads else "")
        + f"<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def settings_table(settings: Mapping[str, str]) -> str:
    """Builds a table of names and values as they are."""
    rows = [
        ([f'<th scope="row">{escape(name)}</th><td class="text">{escape(value)}</td>'], "")
        for name, value in settings.items()
    ]
    return table("Settings", [], rows, kind="settings")


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flattens nested settings to names such as ``outer.inner``."""
    found: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            found[f"{prefix}{key}"] = text
    return found


def figure(plot: str, caption: str) -> str:
    """Builds a figure of a plot and a caption, both HTML."""
    return f"<figure>{plot}<figcaption>{caption}</figcaption></figure>\n"


def legend(curves: Iterable[str], series: Mapping[str, int] | None = None) -> str:
    """Builds a legend: names with the sign, colour and line of their series.

    Args:
        curves: Names of the curves.
        series: Number of each name's series, which colours go by; None to number them in their
            order.
    """
    lines = ("", "╌", "┈")
    numbered = [(i if series is None else series[name], name) for i, name in enumerate(curves)]
    keys = "".join(
        f'<span><span style="color:var(--series-{i % len(SERIES)})">{SERIES[i % len(SERIES)][3]}'
        f"{lines[i // len(SERIES) % len(lines)]}</span> {code(name)}</span> "
        for i, name in numbered
    )
    return f'<div class="legend">{keys}</div>'
