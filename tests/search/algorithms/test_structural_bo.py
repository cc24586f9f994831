"""StructuralBO: what it asks for, by hand where possible, and how soon it finds a planted best."""

from __future__ import annotations

import numpy as np
import pytest

from estimators.trials.store import Trial
from search import SearchProblem, SpaceExhaustedError, StructuralBOOptions
from search.algorithms.acquisition import log_expected_improvement
from search.algorithms.log_regret_gp import log_regrets
from search.algorithms.structural_bo import StructuralBO, fitted_numbers
from search.predictors.gaussian_process import Features, GaussianProcess
from search.predictors.gp_posterior import Belief, Posterior, Table
from supernets.spaces import Architecture, NASBench201Space, NASNetSpace, SearchSpace

CELLS = NASBench201Space()
SOME_CELLS = CELLS.architectures(
    CELLS.all_choices()[np.random.default_rng(1).permutation(CELLS.size)[:80]]
)


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


def test_fits_wait_for_a_tenth_more_trials_once_there_are_many() -> None:
    assert [fitted_numbers(n) for n in (5, 59, 60, 65, 66, 72)] == [
        *((5, 6), (59, 60), (60, 66), (60, 66), (66, 72), (72, 79))
    ]
    assert [fitted_numbers(n, 300) for n in (299, 329)] == [(299, 300), (300, 330)]
    algorithm = StructuralBO(SearchProblem(CELLS, seed=0))
    told(algorithm, SOME_CELLS[:62])
    algorithm.ask(1)
    process = algorithm._last_fit.process  # type: ignore[union-attr]
    before = process.posterior._parameters
    told(algorithm, algorithm.ask(3))
    algorithm.ask(1)
    assert process.posterior._parameters is before and process.posterior.num_observed == 65
    told(algorithm, algorithm.ask(1))
    algorithm.ask(1)
    assert algorithm._last_fit.num_fitted == 66  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "space", [CELLS, NASNetSpace(distinct_inputs=False)], ids=lambda space: space.name
)
def test_what_was_asked_for_before_does_not_matter(
    space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Across fits and blocks, one by one or not, with failures: as if all were told at once."""
    monkeypatch.setattr("search.algorithms.structural_bo.NUM_MUTANTS", 50)
    monkeypatch.setattr("search.algorithms.structural_bo.ALWAYS_FITTED_IN_POOL", 60)
    rng = np.random.default_rng(0)
    weights = rng.normal(size=len(space.decisions))
    algorithm = StructuralBO(SearchProblem(space, seed=0), StructuralBOOptions(pool_size=300))
    archs = list(dict.fromkeys(space.sample(rng) for _ in range(80)))[:70]

    def score(arch: Architecture) -> float:
        return float(np.array(arch.choices) @ weights)

    told(algorithm, archs[:61], score)
    algorithm.tell([Trial(61, archs[61], None, {}, 0.0, "failed")])
    for size in (1, 3, 2, 1):
        asked = algorithm.ask(size)
        fresh = StructuralBO(algorithm.problem, StructuralBOOptions(pool_size=300))
        fresh.tell(algorithm.trials)
        assert fresh.ask(size) == asked == algorithm.ask(size)
        told(algorithm, asked, score)


def test_of_more_candidates_than_are_kept_the_most_promising_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The memory of what is kept is bounded, and the best of all candidates is among it."""
    asked = []
    for max_tracked in (2**24, 66 * 60):
        monkeypatch.setattr("search.algorithms.structural_bo.MAX_TRACKED", max_tracked)
        algorithm = StructuralBO(SearchProblem(CELLS, seed=0))
        told(algorithm, SOME_CELLS[:63])
        asked.append(algorithm.ask(1))
        candidates = algorithm._last_fit.candidates  # type: ignore[union-attr]
        shape = candidates._whitened.shape  # type: ignore[union-attr]
        assert shape == (66, 60 if max_tracked < 2**24 else CELLS.size - 60)
    assert asked[0] == asked[1]
    assert len(set(algorithm.ask(70))) == 70  # more than are kept


def test_many_trials_leave_few_variances(monkeypatch: pytest.MonkeyPatch) -> None:
    space, sizes = NASNetSpace(distinct_inputs=False), []
    monkeypatch.setattr("search.algorithms.structural_bo.MAX_WORK", 70**2 * 40)
    monkeypatch.setattr("search.algorithms.structural_bo.MIN_UNCERTAIN", 5)
    algorithm = StructuralBO(SearchProblem(space, seed=0), StructuralBOOptions(pool_size=300))
    rng = np.random.default_rng(0)
    archs = list(dict.fromkeys(space.sample(rng) for _ in range(80)))[:70]
    told(algorithm, archs, lambda arch: float(sum(arch.choices)))
    belief_of = Posterior.belief

    def spy(posterior: Posterior, table: Table) -> Belief:
        sizes.append(len(table.labels))
        return belief_of(posterior, table)

    monkeypatch.setattr(Posterior, "belief", spy)
    assert len(algorithm.ask(2)) == 2
    assert sizes[0] == 40 and max(sizes) <= 40 and len(sizes) == 4
