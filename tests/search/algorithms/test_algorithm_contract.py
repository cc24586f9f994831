"""What every search algorithm keeps to."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from search import (
    ALGORITHMS,
    SearchAlgorithm,
    SpaceExhaustedError,
    TrialStore,
    run_search,
)
from search.algorithms.pool_search import PoolSearch
from supernets.cost.analytic import Constraint, feasibility_check
from supernets.spaces import NASBench201Space, NASNetSpace

#: Of every algorithm, settings that make every phase short.
SETTINGS = {
    "random": {},
    "weaknas": {"num_initial": 6, "top_n": 20, "pool_size": 200},
    "structural-bo": {"pool_size": 200},
    "neural-predictor": {"num_initial": 6, "pool_size": 200},
    "bo": {"num_initial": 6, "pool_size": 200, "rand_prob": 0.1},
    "proxybo": {"num_initial": 6, "pool_size": 200, "predictor_inputs": ("macs",)},
    "evolution": {"num_initial": 6, "num_parents": 4},
    "regularized-evolution": {"population_size": 6, "tournament_size": 3},
    "local-search": {"num_initial": 6},
    "tpe": {"num_initial": 6},
}
#: Those that can be given any predictor.
WITH_PREDICTOR = ("weaknas", "neural-predictor", "bo", "proxybo")


@pytest.fixture(params=list(SETTINGS))
def make_algorithm(request, make_linear_predictor, build_algorithm):
    """Builds the algorithm under test on a space, at a size that makes every phase short."""

    def make(space, **settings) -> SearchAlgorithm:
        if request.param in WITH_PREDICTOR:
            settings["make_predictor"] = partial(make_linear_predictor, space)
        if request.param == "proxybo":
            settings["zero_cost_features"] = _sum
        return build_algorithm(request.param, space, **SETTINGS[request.param], **settings)

    return make


def test_every_algorithm_is_here():
    assert SETTINGS.keys() == ALGORITHMS.keys()


@pytest.fixture(
    params=["small_space", "medium_space", "large_space", "mobilenetv3", "nasnet", "darts"]
)
def space(request):
    if request.param == "nasbench201":
        return NASBench201Space()
    if request.param in ("nasnet", "darts"):
        return NASNetSpace(distinct_inputs=request.param == "darts")
    if request.param == "mobilenetv3":
        return request.getfixturevalue("mobilenetv3_costs").space
    return request.getfixturevalue(request.param)


@pytest.fixture
def are_feasible(space, mobilenetv3_costs):
    """Half of the points, or the hundredth of a window of 50 million MACs at the expensive end."""
    if space.name == "mobilenetv3":
        return feasibility_check(mobilenetv3_costs, [Constraint("macs", 371e6, 421e6)])
    return _even


def _sum(choices):
    """A proxy."""
    return choices.sum(axis=1, keepdims=True).astype(np.float64)


def _even(choices):
    return choices.sum(axis=1) % 2 == 0


def _none(choices):
    return np.zeros(len(choices), np.bool_)


def _fails(arch) -> bool:
    return sum(arch.choices) % 3 == 0


def test_asks_distinct_unseen_feasible(
    make_algorithm, space, are_feasible, measure, make_estimator
):
    algorithm = make_algorithm(space, seed=3, are_feasible=are_feasible)
    estimator = make_estimator(fails=_fails)
    seen = set()
    for num_archs in (6, 5, 1, 7, 7):
        archs = algorithm.ask(num_archs)
        assert len(archs) == len(set(archs)) == num_archs
        assert not seen & set(archs)
        assert are_feasible(np.array([arch.choices for arch in archs])).all()
        for arch in archs:
            space.validate(arch)
        seen |= set(archs)
        algorithm.tell(measure(archs, start=len(algorithm.trials), estimator=estimator))
    assert any(trial.score is None for trial in algorithm.trials)


def test_ask_is_pure(make_algorithm, space, measure):
    algorithm = make_algorithm(space, seed=1)
    for _ in range(3):
        archs = algorithm.ask(6)
        np.random.seed(0)  # nothing may depend on global state
        assert algorithm.ask(6) == archs
        algorithm.tell(measure(archs, start=len(algorithm.trials)))
    told_at_once = make_algorithm(space, seed=1)
    told_at_once.tell(algorithm.trials)
    assert told_at_once.ask(6) == algorithm.ask(6)
    assert make_algorithm(space, seed=2).ask(6) != make_algorithm(space, seed=1).ask(6)


def test_loops_are_counted(lines_of):
    space = NASBench201Space()
    choices = space.all_choices()[:2000]
    assert lines_of(space.encode_choices, choices) < 50
    assert lines_of(space.architectures, choices) > 2000
    assert lines_of(space.choices_of, space.architectures(choices)) > 2000


@pytest.mark.parametrize("space", ["nasbench201", "mobilenetv3"], indirect=True)
def test_no_ask_loops_over_candidates(make_algorithm, space, measure, lines_of):
    """Of which there are 15,625, or a pool of 10,000."""
    algorithm = make_algorithm(space, are_feasible=_even)
    if isinstance(algorithm, PoolSearch):
        algorithm.pool_size = 10_000
    for start in (0, 10, 20):
        archs = space.architectures(space.sample_choices(10, np.random.default_rng(start)))
        algorithm.tell(measure(archs, start))
    assert lines_of(algorithm.ask, 4) < 4000


def test_failed_trials_do_not_count_as_scores(make_algorithm, medium_space, measure):
    """With nothing but failures a search goes on; among others they change no score."""
    algorithm = make_algorithm(medium_space)
    for _ in range(4):
        archs = algorithm.ask(6)
        assert not {trial.arch for trial in algorithm.trials} & set(archs)
        start = len(algorithm.trials)
        algorithm.tell(
            [
                type(trial)(trial.number, trial.arch, None, {}, 0.0, "failed")
                for trial in measure(archs, start)
            ]
        )


def test_space_is_searched_to_its_end(make_algorithm, small_space, measure):
    algorithm = make_algorithm(small_space, are_feasible=_even)
    num_feasible = sum(sum(arch.choices) % 2 == 0 for arch in small_space.enumerate())
    for start in range(0, num_feasible - 1, 8):
        archs = algorithm.ask(min(8, num_feasible - 1 - start))
        algorithm.tell(measure(archs, start))
    with pytest.raises(ValueError, match=f"2 architectures: 1 of the {num_feasible} feasible"):
        algorithm.ask(2)
    algorithm.tell(measure(algorithm.ask(1), start=num_feasible - 1))
    with pytest.raises(ValueError, match="0 of the"):
        algorithm.ask(1)


def test_impossible_constraint_is_an_error(make_algorithm, small_space, large_space, monkeypatch):
    monkeypatch.setattr("search.algorithms.base.MAX_DRAWS", 30_000)
    with pytest.raises(SpaceExhaustedError, match="0 of the 0 feasible"):
        make_algorithm(small_space, are_feasible=_none).ask(1)
    with pytest.raises(
        SpaceExhaustedError, match="Found 0 of 2 .* 30,000 random .* 30,000 of them broke"
    ):
        make_algorithm(large_space, are_feasible=_none).ask(2)


@pytest.mark.parametrize("num_archs", [0, -1])
def test_num_archs_is_checked(make_algorithm, space, num_archs):
    with pytest.raises(ValueError, match=f"num_archs must be at least 1, got {num_archs}"):
        make_algorithm(space).ask(num_archs)


def test_tell_and_seed_are_checked(make_algorithm, small_space, medium_space, measure):
    algorithm = make_algorithm(small_space)
    trials = measure(algorithm.ask(2))
    algorithm.tell(trials)
    with pytest.raises(ValueError, match="was told before"):
        algorithm.tell(trials[1:])
    with pytest.raises(ValueError, match="is from space"):
        algorithm.tell(measure([medium_space.architecture([0] * 6)]))
    assert algorithm.trials == trials
    with pytest.raises(ValueError, match="seed must not be negative, got -1"):
        make_algorithm(small_space, seed=-1)


def _search(make_algorithm, estimator, space, path, num_trials, batch_size=5, are_feasible=_even):
    with TrialStore.open(path, {}, space) as store:
        run_search(
            make_algorithm(space, seed=7, are_feasible=are_feasible),
            estimator,
            store,
            num_trials=num_trials,
            batch_size=batch_size,
        )
        return store.trials


def _outcome(trials):
    return [(trial.number, trial.arch, trial.score, trial.error) for trial in trials]


@pytest.mark.parametrize(
    "space", ["medium_space", "large_space", "mobilenetv3", "darts"], indirect=True
)
def test_kill_and_resume_equals_uninterrupted(
    make_algorithm, make_estimator, space, are_feasible, tmp_path
):
    """Ctrl-C during the measurements in turn, then the same search again."""

    def search(estimator, name):
        path = tmp_path / name
        return _search(make_algorithm, estimator, space, path, num_trials, 5, are_feasible)

    num_trials = 18  # all but random: 6, 5, 5, and a batch cut short to 2
    whole = search(make_estimator(_fails), "whole.db")
    assert len(whole) == num_trials and any(trial.score is None for trial in whole)
    for at in range(0, num_trials, 2 if space.size == 4096 else 4):
        with pytest.raises(KeyboardInterrupt):
            search(make_estimator(_fails, interrupt_at=at), f"{at}.db")
        resumed = make_estimator(_fails)
        assert _outcome(search(resumed, f"{at}.db")) == _outcome(whole)
        assert resumed.num_estimates == num_trials - at


def test_interrupted_at_every_trial_equals_uninterrupted(
    make_algorithm, make_estimator, medium_space, tmp_path
):
    whole = _search(make_algorithm, make_estimator(), medium_space, tmp_path / "whole.db", 14)
    for _ in range(13):
        with pytest.raises(KeyboardInterrupt):
            _search(
                make_algorithm, make_estimator(interrupt_at=1), medium_space, tmp_path / "a.db", 14
            )
    trials = _search(make_algorithm, make_estimator(), medium_space, tmp_path / "a.db", 14)
    assert _outcome(trials) == _outcome(whole)


def _tenth(space, num_archs=60):
    """A pool of few architectures, which mutations of one another seldom meet."""
    choices = space.sample_choices(2 * num_archs, np.random.default_rng(5))
    return space.architectures(np.unique(choices, axis=0)[:num_archs])


@pytest.mark.parametrize("space", ["medium_space", "large_space", "darts"], indirect=True)
def test_a_pool_alone_is_asked_for_to_its_end(make_algorithm, space, measure):
    pool = _tenth(space)
    algorithm, seen = make_algorithm(space, pool=pool), set()
    in_other_order = make_algorithm(space, pool=pool[::-1])
    for start in range(0, 60, 6):
        archs = algorithm.ask(6)
        assert archs == in_other_order.ask(6)
        assert len(set(archs) - seen) == 6 and set(archs) <= set(pool)
        seen |= set(archs)
        for each in (algorithm, in_other_order):
            each.tell(measure(archs, start))
    with pytest.raises(SpaceExhaustedError, match="0 of the 60 feasible ones of the pool of space"):
        algorithm.ask(1)


def test_a_pool_of_all_changes_nothing(make_algorithm, medium_space, measure):
    whole = make_algorithm(medium_space, seed=2, are_feasible=_even)
    listed = make_algorithm(
        medium_space, seed=2, are_feasible=_even, pool=list(medium_space.enumerate())
    )
    for start in range(0, 24, 6):
        archs = whole.ask(6)
        assert listed.ask(6) == archs
        for each in (whole, listed):
            each.tell(measure(archs, start))


def test_a_pool_is_constrained_and_resumed(make_algorithm, make_estimator, large_space, tmp_path):
    pool = _tenth(large_space, 80)

    def search(name, estimator):
        with TrialStore.open(tmp_path / name, {}, large_space) as store:
            algorithm = make_algorithm(large_space, seed=7, are_feasible=_even, pool=pool)
            run_search(algorithm, estimator, store, num_trials=18, batch_size=5)
            return store.trials

    whole = search("whole.db", make_estimator(_fails))
    assert {trial.arch for trial in whole} <= set(pool)
    assert _even(large_space.choices_of(trial.arch for trial in whole)).all()
    for at in (3, 8, 16):
        with pytest.raises(KeyboardInterrupt):
            search(f"{at}.db", make_estimator(_fails, interrupt_at=at))
        assert _outcome(search(f"{at}.db", make_estimator(_fails))) == _outcome(whole)
