"""Trials of equal score: how many there are, and what tells them apart."""

from __future__ import annotations

import math
from typing import Any

import pytest

from estimators.trials.store import Trial, place
from estimators.trials.ties import num_tied, score_name, tie_breaker
from supernets.spaces import Architecture


def trial(number: int, score: float | None, **metrics: float) -> Trial:
    error = "failed" if score is None else None
    return Trial(number, Architecture("toy", (number,)), score, metrics, 0.0, error)


@pytest.mark.parametrize(
    ("settings", "score", "breaker"),
    [
        ({"name": "val_acc"}, "val_acc", "val_loss"),
        ({"name": "val_acc_after"}, "val_acc_after", "val_loss_after"),
        ({"name": "from_scratch", "score": "val_acc"}, "val_acc", "val_loss"),
        ({"name": "from_scratch", "score": "tse"}, "tse", None),
        ({"name": "tse"}, "tse", None),
        ({"name": "combined", "scores": ["val_acc"]}, "combined", None),
    ],
)
def test_accuracies_are_told_apart_by_the_loss_of_their_pass(
    settings: dict[str, Any], score: str, breaker: str | None
) -> None:
    assert score_name(settings) == score
    assert tie_breaker(settings) == breaker


def test_equal_scores_are_ordered_by_loss_and_then_as_they_came() -> None:
    trials = [
        trial(0, 90.0, val_loss=0.5),
        trial(1, 90.0, val_loss=math.nan),
        trial(2, 90.0, val_loss=0.4),
        trial(3, 95.0, val_loss=9.0),
        trial(4, 90.0, val_loss=0.4),
        trial(5, 90.0),
    ]
    by_loss = sorted(trials, key=lambda each: place(each, "val_loss"))
    assert [each.number for each in by_loss] == [3, 2, 4, 0, 1, 5]
    assert [each.number for each in sorted(trials, key=place)] == [3, 0, 1, 2, 4, 5]


def test_the_tied_are_those_of_the_best_score() -> None:
    trials = [trial(0, 90.0), trial(1, None), trial(2, 95.0), trial(3, 95.0)]
    assert (num_tied(trials), num_tied(trials[:2]), num_tied(trials[1:2])) == (2, 1, 0)
