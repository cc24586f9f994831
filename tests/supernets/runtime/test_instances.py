"""Arguments of the wrong kind are refused in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from supernets.runtime.instances import check_instance, check_list


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ("1", dict, "it must be a dict, got '1'; pass another."),
        (None, (int, str), "it must be an int or text, got None; pass another."),
        (int, (int, type(None)), "it must be an int or None, got the class int; pass another."),
        (range(3), list, "it must be a list, got a range; pass another."),
    ],
)
def test_what_is_of_another_kind_is_refused(value: object, kind: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_instance("it", value, kind, "pass another")
    assert str(caught.value) == message


def test_what_is_of_the_kind_passes() -> None:
    check_instance("it", None, (int, type(None)))
    check_list("them", ("a", "b"), str)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("tse", "them must be a list of texts, got 'tse'."),
        (3, "them must be a list of texts, got 3."),
        (["tse", 4], "them must be a list of texts, got 4 in it."),
    ],
)
def test_what_is_no_list_of_a_kind_is_refused(values: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_list("them", values, str)
    assert str(caught.value) == message
