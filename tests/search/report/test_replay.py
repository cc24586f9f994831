"""Predictors fitted again to what a search knew, judged on what it measured next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from estimators.trials.store import Trial
from search.algorithms.neural_predictor import NeuralPredictorOptions, NeuralPredictorSearch
from search.algorithms.problem import SearchProblem
from search.algorithms.weaknas import WeakNAS
from search.report.replay import predictor_rank_correlation, rounds_to_judge
from supernets.spaces import SearchSpace


def ranges(*stops: int) -> list[range]:
    return [range(a, b) for a, b in zip((0, *stops), stops, strict=False)]


@pytest.mark.parametrize(
    ("rounds", "judged"),
    [
        ([], []),
        (ranges(10), []),
        (ranges(10, 20, 30), [(10, 20), (20, 30)]),
        (ranges(10, 20, 23), [(10, 23)]),  # the last would be too small
        (ranges(10, 12), [(10, 12)]),
        (ranges(4, *range(5, 16)), [(4, 9), (9, 15)]),  # one at a time
        (ranges(*range(10, 250, 10)), [(10 + 20 * i, 20 + 20 * i) for i in range(12)]),
    ],
)
def test_rounds_that_are_judged(rounds: list[range], judged: list[tuple[int, int]]) -> None:
    assert [(each.start, each.stop) for each in rounds_to_judge(rounds)] == judged


class SumPredictor:
    """Predicts the sum of choices plus a fraction that tells seeds apart."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self.fraction = seed % 1009 / 2018
        self.fitted: NDArray[np.float64] | None = None

    def fit(self, choices: NDArray[np.int64], scores: NDArray[np.float64]) -> None:
        self.fitted = scores

    def predict(self, choices: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(choices.sum(axis=1) + self.fraction)


def test_a_replay_fits_the_predictors_of_weaknas(
    small_space: SearchSpace, measure: Callable[..., list[Trial]]
) -> None:
    def make(seed: int) -> SumPredictor:
        return SumPredictor(small_space, seed)

    archs = list(small_space.enumerate())
    trials = measure(archs[:10])
    algorithm = WeakNAS(SearchProblem(small_space, seed=7), make_predictor=make)
    algorithm.tell(trials)
    best, predicted = algorithm.predict_best()
    assert best == archs[-1]  # all digits at their highest
    trials += measure([archs[20], best], start=10)

    (judged,) = predictor_rank_correlation(make, trials, [range(10, 12)], seed=7)
    assert judged.num_before == 10
    assert judged.predicted[1] == pytest.approx(predicted, rel=1e-12)
    assert judged.measured.tolist() == [trials[10].score, trials[11].score]
    (other,) = predictor_rank_correlation(make, trials, [range(10, 12)], seed=8)
    assert other.predicted[1] != judged.predicted[1]


def test_a_replay_fits_the_predictor_of_a_neural_predictor_once(
    small_space: SearchSpace, measure: Callable[..., list[Trial]]
) -> None:
    made: list[SumPredictor] = []

    def make(seed: int) -> SumPredictor:
        made.append(SumPredictor(small_space, seed))
        return made[-1]

    archs = list(small_space.enumerate())
    trials = measure(archs[:12])
    algorithm = NeuralPredictorSearch(
        SearchProblem(small_space, seed=7),
        NeuralPredictorOptions(num_initial=9),
        make_predictor=make,
    )
    algorithm.tell(trials)
    best, predicted = algorithm.predict_best()
    trials += measure([archs[20], best], start=12)
    made.clear()

    early, late = predictor_rank_correlation(
        make, trials, [range(9, 12), range(12, 14)], seed=7, num_fitted=9
    )
    assert (early.num_before, late.num_before) == (9, 12)
    assert late.predicted[1] == pytest.approx(predicted, rel=1e-12)
    (predictor,) = made
    assert predictor.fitted is not None and len(predictor.fitted) == 9


def test_predictions_are_on_the_scale_of_scores(
    small_space: SearchSpace, make_linear_predictor: Any
) -> None:
    archs = list(small_space.enumerate())
    trials = [
        Trial(i, arch, 90.0 + 0.5 * sum(arch.choices), {}, 0.0, None)
        for i, arch in enumerate(archs)
    ]
    make = lambda seed: make_linear_predictor(small_space, seed)  # noqa: E731
    (judged,) = predictor_rank_correlation(make, trials, [range(60, 81)], seed=0)
    assert judged.predicted == pytest.approx(judged.measured, abs=0.1)
    assert judged.kendall_tau > 0.9


def test_kendalls_tau_by_hand(small_space: SearchSpace) -> None:
    archs = [small_space.parse(text) for text in ("0-0-0-1", "0-0-0-2", "0-0-1-2", "0-0-2-2")]
    told = [small_space.parse("1-0-0-0"), small_space.parse("2-0-0-0")]
    scores = [0.0, 1.0, 3.0, 2.0, 5.0, 4.0]  # of pairs of the last four, 4 in order, 2 not
    trials = [
        Trial(i, arch, score, {}, 0.0, None)
        for i, (arch, score) in enumerate(zip(told + archs, scores, strict=True))
    ]
    (judged,) = predictor_rank_correlation(
        lambda seed: SumPredictor(small_space, seed), trials, [range(2, 6)], seed=0
    )
    assert judged.kendall_tau == pytest.approx((4 - 2) / 6)


def test_failed_trials_are_neither_known_nor_judged(
    small_space: SearchSpace, measure: Callable[..., list[Trial]], make_estimator: Any
) -> None:
    archs = list(small_space.enumerate())[:12]
    failing = {archs[0], archs[2], archs[3], archs[4], archs[6], archs[8], archs[9]}
    trials = measure(archs, estimator=make_estimator(fails=lambda arch: arch in failing))
    made: list[SumPredictor] = []

    def make(seed: int) -> SumPredictor:
        made.append(SumPredictor(small_space, seed))
        return made[-1]

    rounds = [range(2, 6), range(6, 8), range(8, 12)]
    judged = predictor_rank_correlation(make, trials, rounds, seed=0)
    # before 2 one succeeded, of 6 and 7 one; before 8 three: 1, 5 and 7
    assert [each.num_before for each in judged] == [8]
    assert judged[0].measured.tolist() == [trials[10].score, trials[11].score]
    fitted = made[0].fitted
    assert fitted is not None and fitted.shape == (3,)
    assert (fitted.mean(), fitted.std()) == pytest.approx((0, 1))
