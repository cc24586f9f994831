"""What a search of a table found, by values it did not see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from estimators.trials.store import Trial
from search.algorithms.population_search import best_trials
from supernets.spaces import Architecture


@dataclass(frozen=True)
class HeldOutResults:
    """Three ways to report a search; None where there is no value.

    Args:
        best_trial: Test value of the trial with the best score: what the search returns, seeing no
            test value.
        predicted_best: Test value of the architecture that a last predictor of all trials puts
            first, tried or not: the answer of WeakNAS's paper.
        best_tested: Best test value of all trials, chosen by the test values themselves: the number
            in the tables of that paper.
    """

    best_trial: float | None
    predicted_best: float | None
    best_tested: float | None


def held_out_results(
    trials: Sequence[Trial],
    predicted: Architecture | None,
    test_values: Mapping[Architecture, float],
) -> HeldOutResults:
    """Looks up what a search found.

    Args:
        trials: The trials in the order they were told; of equal scores the first counts.
        predicted: The architecture that the last predictor puts first; None where there is none.
        test_values: Test values by architecture, higher is better.
    """
    tested = [test_values.get(trial.arch) for trial in best_trials(trials)]
    return HeldOutResults(
        best_trial=tested[0] if tested else None,
        predicted_best=None if predicted is None else test_values.get(predicted),
        best_tested=max((value for value in tested if value is not None), default=None),
    )
