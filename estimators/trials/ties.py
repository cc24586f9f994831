"""Trials of equal score: which of them comes first, and how much one image decides.

Accuracies on few images are often equal. Of such trials that of the lower loss, measured in the
same pass over the same images, is the better one; of trials that are equal in that too, the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from estimators.trials.store import Trial

#: The metric, lower is better, by which trials of equal score are told apart.
TIE_BREAKERS: Mapping[str, str] = {"val_acc": "val_loss", "val_acc_after": "val_loss_after"}


def score_name(estimator: Mapping[str, Any]) -> str:
    """Returns the name of the score that an estimator goes by.

    Args:
        estimator: Settings of the estimator, as in the header of a search.
    """
    name: str = estimator["name"]
    return str(estimator.get("score", name)) if name == "from_scratch" else name


def tie_breaker(estimator: Mapping[str, Any]) -> str | None:
    """Returns the metric that tells trials of equal score apart; None if there is none.

    Args:
        estimator: Settings of the estimator, as in the header of a search.
    """
    return TIE_BREAKERS.get(score_name(estimator))


def num_tied(trials: Iterable[Trial]) -> int:
    """Counts the trials that have the best score; 1 if it is alone."""
    scores = [trial.score for trial in trials if trial.score is not None]
    return scores.count(max(scores)) if scores else 0
