"""What all pages share: the parts that templates are made of, and where templates are installed."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from jinja2 import UndefinedError

import estimators.html.page
from estimators.html.page import Difference, environment_of, in_words, with_unit

ROOT = Path(__file__).parents[3]
PACKAGES = ("supernets", "estimators", "search")
ENVIRONMENT = environment_of(Path(estimators.html.page.__file__).parent)


def rendered(source: str, **facts: object) -> str:
    """The text of a template with the macros of pages."""
    imports = '{% from "macros.html.j2" import difference_cell, notation %}'
    return " ".join(ENVIRONMENT.from_string(imports + source).render(facts).split())


def test_texts_are_escaped_and_what_is_missing_is_an_error() -> None:
    assert rendered("{{ text }}", text="<b>&") == "&lt;b&gt;&amp;"
    with pytest.raises(UndefinedError, match="'text' is undefined"):
        rendered("{{ text }}")


def test_long_architectures_are_folded_and_break_after_their_parts() -> None:
    assert rendered("{{ notation(text) }}", text="|a~0|+<") == (
        "<code>|<wbr>a~0|<wbr>+<wbr>&lt;</code>"
    )
    folded = rendered("{{ notation(text) }}", text="x" * 60 + "y" * 41)
    assert folded == (
        f"<details><summary><code>{'x' * 48}…{'y' * 24}</code></summary>"
        f"<code>{'x' * 60}{'y' * 41}</code></details>"
    )


def test_differences_have_a_sign_by_their_verdict() -> None:
    found = {None: "<td>–</td>", (1.0, 2.0): "▲", (-2.0, -1.0): "▼", (-1.0, 1.0): "≈"}
    for interval, text in found.items():
        difference = None if interval is None else Difference(sum(interval) / 2, *interval)
        assert text in rendered("{{ difference_cell(found) }}", found=difference)


def test_lists_and_units_in_words() -> None:
    assert [in_words(each) for each in (["a"], ["a", "b"], ["a", "b", "c"])] == [
        "a",
        "a and b",
        "a, b and c",
    ]
    assert rendered("{{ names|map('code')|in_words }}", names=["a", "<"]) == (
        "<code>a</code> and <code>&lt;</code>"
    )
    assert [with_unit(v, u) for v, u in ((93.116, "%"), (0.5, ""), (None, "%"))] == [
        "93.12 %",
        "0.5000",
        "–",
    ]


def test_a_wheel_holds_all_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    setuptools = pytest.importorskip("setuptools")
    monkeypatch.chdir(ROOT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of setuptools about its own future
        distribution = setuptools.Distribution()
        distribution.parse_config_files()
    packed = {
        path
        for package, patterns in distribution.package_data.items()
        for pattern in patterns
        for path in Path(package).glob(pattern)
    }
    templates = {path for package in PACKAGES for path in Path(package).rglob("*.j2")}
    assert len(templates) > 5 and templates <= packed


@pytest.mark.slow
def test_what_writes_pages_is_loaded_with_the_first_page() -> None:
    code = "import sys, estimators.ranking.report, search.report.page; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert not {"jinja2", "matplotlib", "sklearn.manifold"} & set(done.stdout.split())
    assert "search.report.page" in done.stdout.split()
