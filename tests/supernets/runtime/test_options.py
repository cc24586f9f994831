"""Dataclasses of options check their values by the kinds that their flags have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import supernets.runtime.option_types as kinds
from supernets.runtime.options import Options, option, options_of


@dataclass(frozen=True)
class Recipe(Options):
    lr: float = option(0.1, "peak rate", kinds.POSITIVE, metavar="LR")
    min_lr: float | None = option(None, "last rate", kinds.NON_NEGATIVE)
    sched: str = option("cosine", "schedule", choices=("cosine", "step"))
    sizes: tuple[int, ...] = option((), "sides", kinds.PIXELS, nargs="+")
    amp: bool = option(False, "autocast")


def test_options_are_the_fields_in_their_order() -> None:
    assert list(options_of(Recipe)) == ["lr", "min_lr", "sched", "sizes", "amp"]


def test_a_flag_is_the_name_with_dashes() -> None:
    assert options_of(Recipe)["min_lr"].flag_of("min_lr") == "--min-lr"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0}, "lr must be positive, got 0."),
        ({"lr": "1"}, "lr must be a number, got '1'."),
        ({"min_lr": -1}, "min_lr must not be negative, got -1."),
        ({"sched": "poly"}, "sched must be one of cosine, step, got 'poly'."),
        ({"sizes": 3}, "sizes must be a list of values, got 3."),
        ({"sizes": (32, 0)}, "sizes must be at least 1, got 0."),
        ({"amp": 1}, "amp must be True or False, got 1."),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Recipe(**settings)
    assert str(caught.value) == message


def test_none_stands_for_not_given() -> None:
    assert Recipe(min_lr=None).min_lr is None


@dataclass(frozen=True)
class Files(Options):
    table: Path | None = option(None, "", kinds.path)
    arch: str | None = option(None, "", kinds.architecture)
    parts: tuple[Path, ...] | None = option(None, "", kinds.path, nargs="+")
    title: str = option("x", "", kinds.name)


def test_paths_may_be_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    files: Any = Files
    assert files(table="a/b.csv").table == files(table=Path("a/b.csv")).table == Path("a/b.csv")
    assert files(table="~/b.csv").table == Path("/home/someone/b.csv")
    assert files(parts=["a", Path("b")]).parts == (Path("a"), Path("b"))
    assert files(arch=Path("best.json")).arch == "best.json"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"table": ""}, "table must be a path, without control characters, got ''."),
        ({"table": 3}, "table must be a path or text, got 3."),
        ({"title": None}, "title must be text, got None."),
    ],
)
def test_what_is_no_path_or_text_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Files(**settings)
    assert str(caught.value) == message


def test_none_is_refused_where_it_does_not_stand_for_not_given() -> None:
    with pytest.raises(ValueError, match=r"^lr must be a number, got None\.$"):
        Recipe(lr=None)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Inferred(Options):
    number: int = option(3)
    share: float = option(0.5)
    text: str = option("a")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"number": 0.5}, "number must be a whole number, got 0.5"),
        ({"share": float("nan")}, "share must be .*, got nan"),
        ({"text": 3}, "text must be text, got 3"),
    ],
)
def test_an_option_of_no_kind_is_of_that_of_its_default(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Inferred(**settings)
    kinds_of = {name: declared.kind for name, declared in options_of(Inferred).items()}
    assert kinds_of["number"]("-4") == -4 and kinds_of["share"]("1e3") == 1000.0
