"""Pages of reports, written by jinja2 templates, and how their numbers look."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from estimators.html.svg import FAINT, INK, RAMP, SERIES
from supernets.runtime.atomic_write import atomic_write
from supernets.runtime.wording import plural

if TYPE_CHECKING:
    from jinja2 import Environment

_SHARED = Path(__file__).parent


def write_page(path: Path, template: Path, facts: Mapping[str, Any]) -> None:
    """Writes a page that needs no other file; the same facts give the same bytes.

    Args:
        path: The file, replaced atomically.
        template: The page's template, which extends ``base.html.j2``.
        facts: What the template names.
    """
    text = environment_of(template.parent).get_template(template.name).render(facts)
    with atomic_write(path) as file:
        file.write(text)


def environment_of(folder: Path) -> Environment:
    """Returns what templates of a folder see: each other, those of this folder, and the filters."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([folder, _SHARED], encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters = (fixed, significant, amount, with_unit, duration, flattened, code, in_words, plural)
    environment.filters |= {function.__name__: function for function in filters}
    environment.globals |= {"INK": INK, "FAINT": FAINT, "RAMP": RAMP, "SERIES": SERIES}
    return environment


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
        value = fixed(self.value, self.digits, sign="+")
        return f"{value} [{fixed(self.low, self.digits)}, {fixed(self.high, self.digits)}]"


def fixed(value: float | None, digits: int = 3, *, sign: str = "") -> str:
    """Formats a number as ``0.812``, None as a dash, and too many digits as ``2.4e+13``."""
    if value is None:
        return "–"
    is_long = abs(value) >= 1e9 or (digits >= 8 and 0 < abs(value) < 1e-6)
    text = f"{value:{sign}.4g}" if is_long else f"{value:{sign}.{digits}f}"
    if not text.strip("+-0."):  # no minus zero
        text = text.lstrip("+-")
    return text.replace("-", "−")


def significant(value: float) -> str:
    """Formats a number with five significant digits."""
    return (f"{value:,.0f}" if abs(value) >= 1e5 else f"{value:.5g}").replace("-", "−")


def amount(value: float) -> str:
    """Formats a count as ``73,306``, or as ``7.78 M`` where that is long."""
    return f"{value / 1e6:,.2f} M" if value >= 1e5 else f"{value:,.0f}"


def with_unit(value: float | None, unit: str) -> str:
    """Formats a truth with its unit, such as ``93.12 %``."""
    if value is None:
        return "–"
    return fixed(value, 2 if unit else 4) + (f" {unit}" if unit else "")


def duration(seconds: float) -> str:
    """Formats a time in a unit that leaves it at most three digits before the point."""
    if seconds < 0.001:
        return "< 1 ms"
    if seconds < 0.0995:
        return f"{1000 * seconds:.2g} ms"
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 36_000 else f"{seconds / 3600:,.0f} h"


def flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flattens nested settings to names such as ``outer.inner``."""
    found: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= flattened(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            found[f"{prefix}{key}"] = text
    return found


def code(text: str) -> Markup:
    """Sets a text in the letters of programs."""
    return Markup("<code>{}</code>").format(text)


def in_words(items: Iterable[str]) -> Markup:
    """Joins texts, or HTML, as ``a, b and c``."""
    *first, last = items
    return Markup("{} and {}").format(Markup(", ").join(first), last) if first else escape(last)
