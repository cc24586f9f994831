"""Nouns after numbers."""

from __future__ import annotations

import pytest

from supernets.runtime.wording import plural, size_of_bytes, some, unknown_names


@pytest.mark.parametrize(
    ("num_bytes", "expected"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (10368.0, "10.4 kB"),
        (410_000, "410 kB"),
        (999_600, "1 MB"),
        (99_960_000, "100 MB"),
        (7_526_000_000, "7.53 GB"),
        (3.2e15, "3200 TB"),
    ],
)
def test_bytes(num_bytes: float, expected: str) -> None:
    assert size_of_bytes(num_bytes) == expected


@pytest.mark.parametrize(
    ("number_of", "noun", "expected"),
    [
        (1, "run", "1 run"),
        (2, "run", "2 runs"),
        (0, "random trial", "0 random trials"),
        (2, "query", "2 queries"),
        (1, "class", "1 class"),
        (3, "class", "3 classes"),
    ],
)
def test_a_noun_follows_its_number(number_of: int, noun: str, expected: str) -> None:
    assert plural(number_of, noun) == expected


def test_unknown_names_are_told_with_those_there_are() -> None:
    known = ["channels", "layers"]
    assert unknown_names("Cells", ["chanels"], known) == (
        "Cells have no chanels; there are channels, layers; did you mean channels?"
    )
    assert unknown_names("Cells", ["x", "y"], known) == (
        "Cells have no x, y; there are channels, layers."
    )


def test_long_lists_are_cut() -> None:
    assert some([1, 2, 3]) == "1, 2, 3" and some(range(9)) == "0, 1, 2, 3, 4, 5, …"
    assert some("abc", 2) == "a, b, …"
