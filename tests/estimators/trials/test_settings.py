"""Settings of files from before are compared with those of now."""

from __future__ import annotations

import json
from typing import Any

import pytest

from estimators.trials.settings import diff_settings, with_units


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({"name": "tse_e"}, {"name": "tse_e", "window": 1, "window_unit": "minibatches"}),
        (
            {"name": "tse_e", "window": 10},
            {"name": "tse_e", "window": 10, "window_unit": "minibatches"},
        ),
        ({"name": "tse_ema"}, {"name": "tse_ema", "gamma": 0.999, "gamma_unit": "minibatch"}),
        (
            {"name": "from_scratch", "score": "tse_e", "window": 2},
            {"name": "from_scratch", "score": "tse_e", "window": 2, "window_unit": "epochs"},
        ),
        (
            {"name": "from_scratch", "score": "tse_ema", "gamma": 0.5},
            {"name": "from_scratch", "score": "tse_ema", "gamma": 0.5, "gamma_unit": "epoch"},
        ),
    ],
)
def test_headers_of_before_get_the_units_they_meant(
    stored: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = with_units({"seed": "0", "estimator": json.dumps(stored)})
    assert found["seed"] == "0"
    assert json.loads(found["estimator"]) == expected
    assert with_units(found) == found


@pytest.mark.parametrize("header", [{}, {"estimator": '{"name": "tse"}'}, {"estimator": '"tse"'}])
def test_other_headers_stay_as_they_are(header: dict[str, str]) -> None:
    assert with_units(header) == header


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
