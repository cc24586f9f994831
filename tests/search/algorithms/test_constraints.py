"""Bounds of the command line, and what a starved search is told."""

from __future__ import annotations

import pytest

from search.algorithms.base import SpaceExhaustedError
from search.algorithms.constraints import constraints_within, explained_exhaustion
from supernets.cost.analytic import Constraint


def test_metrics_with_a_bound_are_constrained():
    bounds = {"params": (None, 5e6), "macs": (None, None), "latency": (2.5, None)}
    assert constraints_within(bounds) == [
        Constraint("params", 0.0, 5e6),
        Constraint("latency", 0.0025, float("inf")),
    ]
    assert constraints_within({}) == []
    with pytest.raises(ValueError, match="minimum of macs"):
        constraints_within({"macs": (2.0, 1.0)})


def test_starvation_is_explained_by_the_share_of_each_constraint(mobilenetv3_costs):
    constraints = [Constraint("macs", maximum=130e6), Constraint("params", minimum=3e6)]
    with pytest.raises(SpaceExhaustedError) as caught:
        with explained_exhaustion(mobilenetv3_costs, constraints):
            raise SpaceExhaustedError("Found nothing.")
    text = str(caught.value)
    assert text.startswith(
        "Found nothing. Of random architectures macs from 0 to 1.3e+08 holds for"
    )
    assert "holds for 0.00% (they have 1." in text
    assert "params from 3e+06 to inf holds for 100.00% (they have 3." in text


def test_without_constraints_there_is_nothing_to_explain(mobilenetv3_costs):
    with pytest.raises(SpaceExhaustedError, match="^Found nothing.$"):
        with explained_exhaustion(mobilenetv3_costs, []):
            raise SpaceExhaustedError("Found nothing.")


def test_other_errors_pass(mobilenetv3_costs):
    with pytest.raises(ValueError, match="^Something else.$"):
        with explained_exhaustion(mobilenetv3_costs, [Constraint("macs", 0, 1)]):
            raise ValueError("Something else.")
