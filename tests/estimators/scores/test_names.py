"""Scores of records, by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from estimators.scores.names import PROXY_SCORES, SCORES, Score
from estimators.scores.zero_cost import PROXIES

METRICS = {
    "val_top1": 60.0,
    "val_loss": 1.25,
    "val_top1_after": 70.0,
    "val_loss_after": 0.5,
    "params": 7.0,
    "macs": 9.0,
    **{name: -float(i) for i, name in enumerate(PROXY_SCORES)},
}
CURVES = {"train_loss": (4.0, 2.0, 1.0), "val_minibatch_loss": (5.0, 3.0, 0.5)}


def test_the_proxies_are_those_that_exist() -> None:
    assert PROXY_SCORES == tuple(PROXIES)


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("tse", {}, -7.0),
        ("tse", {"num_steps": 2}, -6.0),
        ("tse_e", {}, -3.0),
        ("tse_e", {"window": 1}, -1.0),
        ("tse_e", {"window": 2}, -3.0),
        ("tse_e", {"window": 2, "num_steps": 2}, -6.0),
        ("tse_ema", {"gamma": 0.5}, -(0.25 * 4 + 0.5 * 2 + 1)),
        ("tse_ema", {"gamma": 0.5, "num_steps": 1}, -4.0),
        ("tse_ema", {"gamma": 1.0}, -7.0),
        ("tlmini", {}, -1.0),
        ("tlmini", {"num_steps": 1}, -4.0),
        ("sovl", {}, -8.5),
        ("sovl", {"num_steps": 1}, -5.0),
        ("val_acc", {}, 60.0),
        ("val_loss", {}, -1.25),
        ("val_acc_after", {}, 70.0),
        ("val_loss_after", {}, -0.5),
        ("params", {}, 7.0),
        ("macs", {}, 9.0),
        ("grad_norm", {}, 0.0),
        ("snip", {}, -1.0),
    ],
)
def test_scores_of_a_record(name: str, settings: dict[str, Any], expected: float) -> None:
    assert Score(name, **settings).of(METRICS, CURVES) == pytest.approx(expected)


def test_ema_keeps_nearly_all_by_default() -> None:
    found = Score("tse_ema").of(METRICS, CURVES)
    assert found == pytest.approx(-(0.999**2 * 4 + 0.999 * 2 + 1), abs=1e-12)


@pytest.mark.parametrize("name", SCORES)
def test_what_is_not_finite_has_no_score(name: str) -> None:
    for bad in (math.nan, math.inf):
        metrics = dict.fromkeys(METRICS, bad)
        curves = {key: (*curve[:-1], bad) for key, curve in CURVES.items()}
        assert math.isnan(Score(name).of(metrics, curves))


def test_a_curve_that_fails_later_still_has_a_score() -> None:
    curves = {"train_loss": (4.0, 2.0, math.nan)}
    assert Score("tse", num_steps=2).of({}, curves) == -6.0


def test_more_steps_than_recorded_are_refused() -> None:
    with pytest.raises(ValueError, match="4"):
        Score("tse", num_steps=4).of(METRICS, CURVES)


def test_a_window_beyond_the_steps_is_refused() -> None:
    for settings in ({"window": 4}, {"window": 3, "num_steps": 2}):
        with pytest.raises(ValueError, match="window must be at most the . steps, got"):
            Score("tse_e", **settings).of(METRICS, CURVES)


def test_tse_e_is_not_tlmini_by_default() -> None:
    for num_steps in (2, 5, 10, 100):
        curves = {"train_loss": tuple(1 + 1 / t for t in range(1, num_steps + 1))}
        assert Score("tse_e").of({}, curves) != Score("tlmini").of({}, curves)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "flops"}, "Unknown score 'flops'; choose from tse, tse_e, "),
        ({"num_steps": 0}, "num_steps must be at least 1, got 0"),
        ({"window": 0}, "window must be at least 1, got 0"),
        ({"gamma": 0.0}, "gamma must be above 0 and at most 1, got 0.0"),
        ({"gamma": 1.1}, "gamma must be above 0 and at most 1, got 1.1"),
    ],
)
def test_numbers_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Score(**{"name": "tse", **settings})
