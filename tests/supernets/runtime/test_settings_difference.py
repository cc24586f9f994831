"""What differs between settings is said in few words."""

from __future__ import annotations

from supernets.runtime.settings_difference import diff_settings


def test_settings_within_settings_are_named_where_they_differ() -> None:
    old = {"seed": 0, "estimator": {"name": "tse", "lr": 0.1, "of": {"a": 1, "b": 2}}}
    new = {"seed": 0, "estimator": {"name": "tse", "window": 3, "of": {"a": 1, "b": 4}}}
    assert diff_settings(old, old) == ""
    assert diff_settings(old, new) == (
        "estimator window was not set and is now 3; estimator of b was 2 and is now 4; "
        "estimator lr was 0.1 and is now not set"
    )
    many = {str(i): i for i in range(13)}
    assert diff_settings({}, many).endswith("9 was not set and is now 9; and 3 more")


def test_long_values_are_shortened_to_what_differs() -> None:
    cells = [f"cell {i}" for i in range(100)]
    other = [*cells[:2], "another", *cells[3:], "one more"]
    assert diff_settings({"archs": cells}, {"archs": other}) == (
        "archs was 100 values and is now 101 values (value 3 was cell 2 and is now another)"
    )
    assert diff_settings({"archs": cells}, {"archs": other[:2]}).endswith(
        "is now 2 values (value 3 was cell 2 and is now not set)"
    )
    assert diff_settings({"archs": [1, 2]}, {"archs": [1]}) == "archs was [1, 2] and is now [1]"
    text = "x" * 1000
    assert diff_settings({"a": text}, {"a": f"{text[:500]}y"}) == (
        f"a was …{'x' * 80}… and is now …{'x' * 20}y"
    )
    assert diff_settings({"a": text}, {"a": "y"}) == f"a was {'x' * 80}… and is now y"
