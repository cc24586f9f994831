"""How well the predictor of a search foresaw what the search then measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from estimators.rank_metrics import kendall_tau_b
from estimators.trials.store import Trial
from search.predictors.base import OnScaleOfScores, Predictor

Floats = NDArray[np.float64]

#: Rounds that are replayed, as each takes a fit.
MAX_ROUNDS = 12
#: Smaller rounds are judged together with those after them.
MIN_SIZE = 5


class RoundQuality(NamedTuple):
    """What was predicted and then measured of the trials that succeeded.

    Args:
        num_before: Number of trials that were told before the round.
        predicted: Predicted scores, (num_archs,), on the scale of the scores.
        measured: Measured scores, (num_archs,).
    """

    num_before: int
    predicted: Floats
    measured: Floats

    @property
    def kendall_tau(self) -> float:
        """Kendall's tau-b between both."""
        return kendall_tau_b(self.predicted, self.measured)


def predictor_rank_correlation(
    make_predictor: Callable[[int], Predictor],
    trials: Sequence[Trial],
    rounds: Iterable[range],
    *,
    seed: int,
    num_fitted: int | None = None,
) -> list[RoundQuality]:
    """Fits a predictor to the trials before each round, and compares it with the round.

    These are the very predictors of a WeakNAS search that fits one of them to all its trials; of a
    neural predictor's only if no trial failed, as failures change its seed.

    Args:
        make_predictor: Builds an unfitted predictor from a seed below 2**32.
        trials: The trials of the search.
        rounds: Positions in ``trials``; see ``rounds_to_judge``.
        seed: Seed of the search.
        num_fitted: Number of first trials that are ever fitted to; None for no such limit.

    Returns:
        The quality of each round in which, and before which, at least two trials succeeded.
    """
    judged: list[RoundQuality] = []
    predict, num_told = None, 0  # of the predictor that was fitted last
    for positions in rounds:
        told = trials[: positions.start][:num_fitted]
        choices, measured = _measured(trials[positions.start : positions.stop])
        if len(measured) < 2 or sum(trial.score is not None for trial in told) < 2:
            continue
        if predict is None or len(told) > num_told:
            predict, num_told = _fit(make_predictor, told, seed), len(told)
        judged.append(RoundQuality(positions.start, predict(choices), measured))
    return judged


def rounds_to_judge(rounds: Sequence[range]) -> list[range]:
    """Returns at most ``MAX_ROUNDS``, evenly spread, with the last and without the first."""
    joined: list[range] = []
    for positions in rounds[1:]:
        if joined and len(joined[-1]) < MIN_SIZE:
            joined[-1] = range(joined[-1].start, positions.stop)
        else:
            joined.append(positions)
    if len(joined) > 1 and len(joined[-1]) < MIN_SIZE:
        last = joined.pop()
        joined[-1] = range(joined[-1].start, last.stop)
    chosen = np.linspace(0, len(joined) - 1, min(MAX_ROUNDS, len(joined))).round().astype(int)
    return [joined[i] for i in chosen]


def _fit(
    make_predictor: Callable[[int], Predictor], told: Sequence[Trial], seed: int
) -> Callable[[NDArray[np.int64]], Floats]:
    """Predicts scores of choices as a predictor does that was fitted to ``told``."""
    choices, scores = _measured(told)
    entropy = np.random.SeedSequence((seed, len(told), 1))
    return OnScaleOfScores(
        make_predictor(int(entropy.generate_state(1)[0])), choices, scores
    ).predict


def _measured(trials: Sequence[Trial]) -> tuple[NDArray[np.int64], Floats]:
    """Choices (num_archs, num_decisions) and scores (num_archs,) of the successful trials."""
    scored = [(trial.arch.choices, trial.score) for trial in trials if trial.score is not None]
    choices = np.array([each for each, _ in scored], np.int64)
    return choices, np.array([score for _, score in scored], np.float64)
