"""Arguments of the wrong kind are refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from supernets.runtime.instances import check_instance, check_list, check_switch, checked_path


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


def test_a_path_is_text_or_a_path() -> None:
    assert checked_path("output", "a/b") == checked_path("output", Path("a/b")) == Path("a/b")
    for wrong, shown in ((5, "5"), (None, "None"), (b"a", "b'a'")):
        with pytest.raises(ValueError) as caught:
            checked_path("output", wrong)
        assert str(caught.value) == f"output must be a path or text, got {shown}."


def test_a_switch_is_true_or_false() -> None:
    check_switch("amp", True)
    check_switch("amp", None, may_be_none=True)
    for wrong, may_be_none, message in (
        ("no", True, "amp must be True, False or None, got 'no'."),
        (None, False, "amp must be True or False, got None."),
        (1, False, "amp must be True or False, got 1."),
    ):
        with pytest.raises(ValueError) as caught:
            check_switch("amp", wrong, may_be_none=may_be_none)
        assert str(caught.value) == message
