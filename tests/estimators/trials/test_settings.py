"""Headers of files from before are compared with those of now."""

from __future__ import annotations

import json
from typing import Any

import pytest

from estimators.trials.settings import with_units


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
