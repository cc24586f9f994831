"""Nouns after numbers."""

from __future__ import annotations

import pytest

from supernets.runtime.wording import plural, some, unknown_names


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
