"""A staged search: what it asks for, within which budget, and that it beats one level alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from search.algorithms.base import SpaceExhaustedError
from search.algorithms.problem import SearchProblem
from search.staged.algorithm import StagedSearch
from search.staged.options import StagedOptions
from search.staged.records import Answer, LevelTrial, Measurement
from search.staged.sampling import heaviest_of, some_of
from supernets.spaces import Architecture, NASBench201Space, SearchSpace
from supernets.spaces.factory import create_space

#: What the levels cost, in seconds.
SECONDS = (1.0, 20.0)
Score = Callable[[int, Architecture], float]


def quality(arch: Architecture) -> float:
    """Of a cell of NAS-Bench-201: 3x3 convolutions count, and a skip to the end more than one."""
    weights = (1.0, 0.6, 0.8, 0.5, 0.9, 1.1)
    convolved = sum(w for w, op in zip(weights, arch.choices, strict=True) if op == 3)
    return convolved + 1.5 * (arch.choices[3] == 1)


def of_two_levels(noise: float = 0.5) -> Score:
    """The top level is the quality, the one below that and noise."""

    def score(level: int, arch: Architecture) -> float:
        rng = np.random.default_rng([level, *arch.choices])
        return quality(arch) + (noise if level == 0 else 0.05) * float(rng.normal())

    return score


def run(
    search: StagedSearch, score: Score, seconds: Sequence[float] = SECONDS, most: int = 10_000
) -> StagedSearch:
    for _ in range(most):
        asked = search.ask()
        if asked is None:
            break
        search.tell([LevelTrial(*asked, score(*asked), seconds[asked.level])])
    return search


def make(
    budget: float = 200.0,
    *,
    num_levels: int = 2,
    seed: int = 0,
    space: SearchSpace | None = None,
    are_feasible: Callable[[NDArray[np.int64]], NDArray[np.bool_]] | None = None,
    num_initial: int = 10,
    first: Sequence[Architecture] = (),
) -> StagedSearch:
    problem = SearchProblem(space or NASBench201Space(), seed, are_feasible)
    options = StagedOptions(num_initial=num_initial, pool_size=300)
    return StagedSearch(problem, num_levels, budget, options, first)


def answer_of(search: StagedSearch) -> Answer:
    answer = search.answer()
    assert answer is not None
    return answer


def test_the_budget_is_spent_and_not_exceeded() -> None:
    search = run(make(budget=105), of_two_levels())
    assert 104 < search.spent <= 105  # one of the first level fits into what is left over
    assert search.ask() is None
    counts = Counter(trial.level for trial in search.trials)
    assert counts[0] >= 10 and counts[1] >= 1


def test_nothing_is_measured_twice_at_a_level() -> None:
    search = run(make(budget=150), of_two_levels())
    assert len({(t.level, t.arch) for t in search.trials}) == len(search.trials)
    with pytest.raises(ValueError, match="was told at level"):
        search.tell(search.trials[-1:])


def test_what_is_asked_depends_on_what_was_told_alone() -> None:
    whole = run(make(), of_two_levels())
    again = make()
    for trial in whole.trials:
        assert again.ask() == (trial.level, trial.arch)
        again.tell([trial])
    part = make()
    part.tell(whole.trials[:17])
    assert part.ask() == (whole.trials[17].level, whole.trials[17].arch)


def test_it_finds_better_ones_than_the_top_level_alone_in_equal_seconds() -> None:
    score, budget = of_two_levels(), 100
    staged, alone = [], []
    for seed in range(6):
        staged.append(quality(answer_of(run(make(budget, seed=seed), score)).arch))
        search = make(budget, num_levels=1, seed=seed)
        run(search, lambda _, arch: score(1, arch), SECONDS[1:])
        alone.append(quality(answer_of(search).arch))
    assert np.mean(staged) > np.mean(alone) + 0.5


def test_a_level_that_is_noise_is_found_out_and_dropped() -> None:
    def score(level: int, arch: Architecture) -> float:
        rng = np.random.default_rng([level, *arch.choices])
        return float(rng.normal()) if level == 0 else quality(arch) + 0.05 * float(rng.normal())

    search = run(make(budget=600), score)
    noise, top = answer_of(search).trust
    assert abs(noise.value) < 0.4 and noise.low < 0 < noise.high
    assert top.value > 0.8
    spent = sum(trial.seconds for trial in search.trials if trial.level == 0)
    assert spent <= 0.25 * search.spent


def test_a_level_that_says_the_opposite_is_not_trusted() -> None:
    def score(level: int, arch: Architecture) -> float:
        return quality(arch) * (-1 if level == 0 else 1)

    search = run(make(budget=200), score)
    assert answer_of(search).trust[0].low < 0
    spent = sum(trial.seconds for trial in search.trials if trial.level == 1)
    assert spent > 0.2 * search.spent  # which is how it was found out


def test_what_is_pending_is_not_asked_for_again_and_its_seconds_are_reserved() -> None:
    search = run(make(budget=2000), of_two_levels(), most=40)
    pending: list[Measurement] = []
    for _ in range(6):
        asked = search.ask(pending)
        assert asked is not None
        assert asked not in pending
        pending.append(asked)
    search = make(budget=21)
    search.tell([LevelTrial(0, arch, 1.0, 1.0) for arch in NASBench201Space().architectures(
        NASBench201Space().all_choices()[:10])])  # fmt: skip
    first = search.ask()
    assert first is not None and first.level == 1  # nobody knows yet what the top level costs
    search.tell([LevelTrial(*first, 2.0, 10.9)])
    assert search.ask([Measurement(0, NASBench201Space().architecture([3] * 6))]) is None


def test_failed_measurements_count_their_seconds_and_are_not_repeated() -> None:
    search = make(budget=60)
    score = of_two_levels()
    while (asked := search.ask()) is not None:
        fails = sum(asked.arch.choices) % 3 == 0
        value = None if fails else score(*asked)
        search.tell([LevelTrial(*asked, value, SECONDS[asked.level])])
    assert any(trial.score is None for trial in search.trials)
    assert len({(t.level, t.arch) for t in search.trials}) == len(search.trials)
    assert answer_of(search).arch is not None


def test_all_failed_is_no_answer() -> None:
    search = make(budget=30)
    while (asked := search.ask()) is not None:
        search.tell([LevelTrial(*asked, None, 1.0)])
    assert search.answer() is None


def test_only_feasible_architectures_are_asked_for_and_answered() -> None:
    def even(choices: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(choices.sum(axis=1) % 2 == 0)

    search = run(make(budget=120, are_feasible=even), of_two_levels())
    archs = [trial.arch for trial in search.trials] + [answer_of(search).arch]
    assert all(sum(arch.choices) % 2 == 0 for arch in archs)


def test_too_few_feasible_architectures_are_an_error() -> None:
    search = make(are_feasible=lambda choices: np.zeros(len(choices), np.bool_))
    with pytest.raises(SpaceExhaustedError):
        search.ask()


def test_a_pool_that_is_measured_whole_ends_the_search() -> None:
    space = NASBench201Space()
    pool = space.architectures(space.all_choices()[:12])
    search = StagedSearch(SearchProblem(space, pool=pool), 2, 10_000, StagedOptions(num_initial=4))
    run(search, of_two_levels())
    assert len(search.trials) == 24


def test_a_pool_may_be_smaller_than_what_a_search_begins_with() -> None:
    space = NASBench201Space()
    pool = space.architectures(space.all_choices()[3000:3005])
    search = run(StagedSearch(SearchProblem(space, pool=pool), 2, 10_000), of_two_levels())
    assert len(search.trials) == 10 and answer_of(search).arch in pool


def test_of_very_many_scores_the_process_sees_the_best_and_some() -> None:
    space = NASBench201Space()
    archs = space.architectures(space.all_choices()[::12])
    search = make(budget=1e5)
    score = of_two_levels()
    search.tell([LevelTrial(0, arch, score(0, arch), 1.0) for arch in archs])
    search.tell([LevelTrial(1, arch, score(1, arch), 20.0) for arch in archs[:5]])
    observed = search._kept(search.trials)
    assert Counter(observed.levels.tolist()) == {0: 400, 1: 5}
    assert (
        observed.scores[observed.levels == 0].max()
        == search._observations(search.trials).scores[:-5].max()
    )
    assert search.ask() is not None


def test_a_space_too_large_to_rank_whole_is_searched_by_mutants() -> None:
    space = create_space("mobilenetv3")

    def score(level: int, arch: Architecture) -> float:
        return float(sum(arch.choices)) + level

    search = run(make(budget=60, space=space), score)
    drawn = [sum(arch.choices) for arch in space.architectures(some_of(search.problem, 200))]
    assert sum(answer_of(search).arch.choices) > np.quantile(drawn, 0.95)


def test_the_first_architectures_are_those_given() -> None:
    space = NASBench201Space()
    heaviest = space.architecture([3, 3, 3, 3, 3, 3])
    search = make(first=[heaviest])
    assert search.ask() == (0, heaviest)
    problem = SearchProblem(space)
    assert heaviest_of(problem, lambda choices: (choices == 3).sum(axis=1), 10) == heaviest


def test_an_answer_says_its_score_in_the_unit_of_the_top_level() -> None:
    search = run(make(budget=300), lambda level, arch: 90 + of_two_levels()(level, arch))
    answer = answer_of(search)
    assert answer.score is not None
    assert answer.score.low <= 90 + quality(answer.arch) <= answer.score.high + 0.2
    (expected,) = search.expected([answer.arch])
    assert expected == pytest.approx(answer.score)


def test_without_two_scores_at_the_top_there_is_no_unit() -> None:
    search = run(make(budget=12), of_two_levels())
    assert answer_of(search).score is None
    with pytest.raises(ValueError, match="two different ones"):
        search.expected([answer_of(search).arch])


@pytest.mark.parametrize(
    ("changed", "message"), [({"budget": 0.0}, "budget"), ({"num_levels": 0}, "num_levels")]
)
def test_no_budget_and_no_level_are_refused(changed: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changed)  # type: ignore[arg-type]
