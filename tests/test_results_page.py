"""The tables of docs/results.md are what the results of the benchmarks say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "results_page.py"


@pytest.fixture
def script() -> ModuleType:
    """``benchmarks/results_page.py``, imported."""
    spec = importlib.util.spec_from_file_location("results_page", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_has_every_table_and_each_is_up_to_date(script: ModuleType) -> None:
    page = script.PAGE.read_text(encoding="utf-8")
    assert all(f"<!-- table: {name} -->" in page for name in script.TABLES)
    assert script.with_tables(page) == page


def test_a_table_that_was_edited_is_written_anew_and_text_stays(script: ModuleType) -> None:
    page = "before\n<!-- table: from_scratch -->\n| 1 |\n<!-- end: from_scratch -->\nafter\n"
    new = script.with_tables(page)
    assert new.startswith("before\n") and new.endswith("\nafter\n")
    assert "| LcSVR |" in new and "| 1 |\n<" not in new


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("<!-- table: nothing -->", "Unknown table 'nothing'; choose from ranking_live_costs"),
        ("<!-- table: from_scratch -->", "must end with '<!-- end: from_scratch -->'"),
    ],
)
def test_unknown_and_open_tables_are_errors(script: ModuleType, page: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        script.with_tables(page)


@pytest.mark.parametrize(
    ("value", "digits", "text"), [(-0.001, 2, "0.00"), (-0.57, 1, "-0.6"), (9.96, 1, "10.0")]
)
def test_numbers_that_round_to_zero_have_no_sign(
    script: ModuleType, value: float, digits: int, text: str
) -> None:
    assert script.decimal(value, digits) == text
