"""StructuralBO: what it asks for, by hand where possible, and how soon it finds a planted best."""

from __future__ import annotations

import numpy as np
import pytest

from estimators.trials.store import Trial
from search import SearchProblem, SpaceExhaustedError, StructuralBOOptions
from search.algorithms.acquisition import log_expected_improvement
from search.algorithms.log_regret_gp import log_regrets
from search.algorithms.structural_bo import StructuralBO
from search.predictors.gaussian_process import Features, GaussianProcess
from supernets.spaces import Architecture, NASBench201Space, NASNetSpace

CELLS = NASBench201Space()


def value(arch: Architecture) -> float:
    """Convolutions are good, 3x3 better, and a skip from the input to the output best of all."""
    gains = np.array([0.0, 0.3, 0.6, 1.0, 0.2])[list(arch.choices)]
    return float(gains.sum() + 1.5 * (arch.choices[3] == 1))


def told(algorithm: StructuralBO, archs: list[Architecture], score=value) -> None:
    start = len(algorithm.trials)
    algorithm.tell(
        [Trial(start + i, arch, score(arch), {}, 0.0, None) for i, arch in enumerate(archs)]
    )


def queries_until_best(seed: int, batch_size: int, score=value, limit: int = 60) -> int:
    """Queries until the best of all 15,625 cells was asked for; ``limit`` + 1 if never."""
    algorithm = StructuralBO(SearchProblem(CELLS, seed=seed))
    best = max(CELLS.enumerate(), key=score)
    while len(algorithm.trials) < limit:
        archs = algorithm.ask(algorithm.next_batch_size(batch_size))
        if best in archs:
            return len(algorithm.trials) + archs.index(best) + 1
        told(algorithm, archs, score)
    return limit + 1


@pytest.mark.parametrize("batch_size, limit", [(1, 40), (5, 50)])
def test_finds_the_best_of_all_cells_in_few_queries(batch_size: int, limit: int) -> None:
    found = [queries_until_best(seed, batch_size) for seed in range(2)]
    assert np.mean(found) <= limit, found


def test_permuted_scores_are_not_found() -> None:
    rng = np.random.default_rng(0)
    archs = list(CELLS.enumerate())
    permuted = dict(zip(archs, rng.permutation([value(arch) for arch in archs]), strict=True))
    assert queries_until_best(0, 5, score=permuted.__getitem__, limit=25) == 26


def test_asks_for_the_highest_expected_improvement() -> None:
    algorithm = StructuralBO(SearchProblem(CELLS, seed=3))
    told(algorithm, algorithm.ask(8))
    (asked,) = algorithm.ask(1)
    archs = [trial.arch for trial in algorithm.trials]
    labels = log_regrets(np.array([trial.score for trial in algorithm.trials]))
    process = GaussianProcess(CELLS)
    process.fit(CELLS.choices_of(archs), labels)
    others = [arch for arch in CELLS.enumerate() if arch not in archs]
    table = Features(CELLS).of(CELLS.choices_of(others))
    belief = process.posterior.belief(table)
    gains = log_expected_improvement(belief.mean, belief.score_std, labels.max())
    assert gains[others.index(asked)] == pytest.approx(gains.max(), rel=1e-9)


def test_of_a_batch_no_two_say_the_same() -> None:
    """What is asked for together is spread: as a batch, not as the best by themselves."""
    algorithm = StructuralBO(SearchProblem(CELLS, seed=1))
    told(algorithm, algorithm.ask(10))
    asked = algorithm.ask(6)
    assert asked[:1] == StructuralBO.ask(algorithm, 1)
    archs = [trial.arch for trial in algorithm.trials]
    labels = log_regrets(np.array([trial.score for trial in algorithm.trials]))
    process = GaussianProcess(CELLS)
    process.fit(CELLS.choices_of(archs), labels)
    others = [arch for arch in CELLS.enumerate() if arch not in archs]
    table = Features(CELLS).of(CELLS.choices_of(others))
    belief = process.posterior.belief(table)
    gains = log_expected_improvement(belief.mean, belief.score_std, labels.max())
    greedy = {others[i] for i in np.argsort(-gains)[:6]}
    assert set(asked) != greedy
    assert all(gains[others.index(arch)] > np.quantile(gains, 0.9) for arch in asked)


def test_equals_are_taken_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "search.algorithms.structural_bo.log_expected_improvement", lambda mean, std, best: 0 * mean
    )
    asked = []
    for seed in range(3):
        algorithm = StructuralBO(SearchProblem(CELLS, seed=seed))
        told(algorithm, [CELLS.architecture([i] * 6) for i in range(5)])
        asked += algorithm.ask(4)
    assert len(set(asked)) == 12


def test_failures_are_left_out_and_never_asked_for_again() -> None:
    algorithm = StructuralBO(SearchProblem(CELLS, seed=0))
    archs = algorithm.ask(8)
    algorithm.tell(
        [
            Trial(i, arch, None if i % 2 else value(arch), {}, 0.0, "failed" if i % 2 else None)
            for i, arch in enumerate(archs)
        ]
    )
    assert not set(algorithm.ask(20)) & set(archs)


@pytest.mark.slow
def test_improves_a_space_too_large_to_rank_whole() -> None:
    space = NASNetSpace(distinct_inputs=False)

    def score(arch: Architecture) -> float:
        ops = [edge.op for edge in space.cells(arch)["normal"]]
        return sum(op == "sep_conv_3x3" for op in ops) + 0.5 * sum(
            op == "skip_connect" for op in ops
        )

    algorithm = StructuralBO(SearchProblem(space, seed=0), StructuralBOOptions(pool_size=500))
    while len(algorithm.trials) < 40:
        told(algorithm, algorithm.ask(algorithm.next_batch_size(5)), score)
    scores = [trial.score or 0.0 for trial in algorithm.trials]
    # of 2,000 random ones the best has 6
    assert max(scores) >= 7 > max(scores[:5])


def test_feasible_and_starved(monkeypatch: pytest.MonkeyPatch) -> None:
    def has_few_choices(choices: np.ndarray) -> np.ndarray:
        return np.asarray((choices[:, :4] == 0).all(axis=1))

    algorithm = StructuralBO(SearchProblem(CELLS, seed=0, are_feasible=has_few_choices))
    told(algorithm, algorithm.ask(10))
    archs = algorithm.ask(15)
    assert has_few_choices(np.array([arch.choices for arch in archs])).all()
    told(algorithm, archs)
    with pytest.raises(SpaceExhaustedError, match="0 of the 25 feasible ones"):
        algorithm.ask(1)


def test_log_regrets_by_hand() -> None:
    scores = np.array([10.0, 2.0, 8.0, 7.0, 0.0])  # upper quartile 8, scale 2
    labels = -np.log1p(np.array([0, 4, 1, 1.5, 5]))
    np.testing.assert_allclose(log_regrets(scores), (labels - labels.mean()) / labels.std())
    same = log_regrets(np.array([3.0, 3.0, 3.0, 1.0]))  # the quartile is the best
    assert same.argmin() == 3 and np.isfinite(same).all()
    assert log_regrets(np.array([3.0, 3.0])).tolist() == [0, 0]
