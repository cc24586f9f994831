"""What scores are computed from, in measurements that were stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from estimators.scores.names import Score
from estimators.scores.score_tables import check_measured
from estimators.trials.store import Trial
from supernets.spaces import Architecture

SCORES = [Score("tse"), Score("val_acc")]
WHOLE = Trial(
    0, Architecture("toy", (0,)), 1.0, {"val_top1": 50.0}, 0.0, None, {"train_loss": (2.0, 1.0)}
)


def test_stored_measurements_that_lack_something_are_refused_by_trial() -> None:
    path = Path("measurements.db")
    given_up = replace(WHOLE, score=None, metrics={}, curves={}, error="loss is nan")
    check_measured(path, [WHOLE, given_up, replace(WHOLE, number=2)], SCORES)
    for broken, message in (
        (replace(WHOLE, number=1, metrics={"x": 1.0}), "trial 1 lacks what val_acc is computed"),
        (replace(WHOLE, number=1, curves={}), "trial 1 lacks what tse is computed from"),
        (replace(WHOLE, number=1, curves={"train_loss": (1.0,)}), "trial 1 has 1 steps, others"),
    ):
        with pytest.raises(ValueError, match=f"measurements.db: .*{message}"):
            check_measured(path, [WHOLE, broken], SCORES)
