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


def test_settings_of_a_list_that_have_names_are_compared_one_by_one() -> None:
    cheap, top = {"name": "cheap", "lr": 0.1, "kernels": "a"}, {"name": "top", "of": {"b": 1}}
    old, new = {"levels": [cheap, top]}, {"levels": [{**cheap, "lr": 1}, {**top, "of": {"b": 2}}]}
    assert diff_settings(old, new) == (
        "levels cheap lr was 0.1 and is now 1; levels top of b was 1 and is now 2"
    )
    assert diff_settings(old, {"levels": [top]}) == (
        "levels was ['cheap', 'top'] and is now ['top']"
    )
    assert diff_settings({"levels": [1]}, {"levels": [top]}).startswith("levels was [1] and is now")


def test_others_can_say_how_a_setting_differs() -> None:
    def told(within: object, old: object, new: object) -> str:
        return f"{within}: {old} to {new}"

    with_lr = {"name": "tse", "lr": 1}
    old, new = {"lr": 1, "estimator": with_lr}, {"lr": 2, "estimator": {"name": "tse"}}
    assert diff_settings(old, new, {"lr": told}) == "(): 1 to 2; ('estimator',): 1 to None"
    levels = [{"levels": [{**with_lr, "lr": lr}]} for lr in (1, 2)]
    assert diff_settings(*levels, {"lr": told}) == "('levels', 'tse'): 1 to 2"
    assert diff_settings(old, old, {"lr": told}) == ""


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
