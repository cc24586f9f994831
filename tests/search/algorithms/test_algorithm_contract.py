"""What every search algorithm keeps to."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from search import ALGORITHMS, SpaceExhaustedError, TrialStore, run_search
from search.algorithms.base import SearchAlgorithm
from search.algorithms.pool_search import PoolSearch
from search.testing import AlgorithmContract
from search.testing.algorithm_contract import _fails, _outcome
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


def test_every_algorithm_is_here():
    assert SETTINGS.keys() == ALGORITHMS.keys()


def _sum(choices):
    """A proxy."""
    return choices.sum(axis=1, keepdims=True).astype(np.float64)


def _even(choices):
    return choices.sum(axis=1) % 2 == 0


def test_loops_are_counted(lines_of):
    space = NASBench201Space()
    choices = space.all_choices()[:2000]
    assert lines_of(space.encode_choices, choices) < 50
    assert lines_of(space.architectures, choices) > 2000
    assert lines_of(space.choices_of, space.architectures(choices)) > 2000


def _tenth(space, num_archs=60):
    """A pool of few architectures, which mutations of one another seldom meet."""
    choices = space.sample_choices(2 * num_archs, np.random.default_rng(5))
    return space.architectures(np.unique(choices, axis=0)[:num_archs])


class TestAlgorithms(AlgorithmContract):
    """Every algorithm, on spaces of all kinds."""

    @pytest.fixture(params=list(SETTINGS))
    def make_algorithm(self, request, make_linear_predictor, build_algorithm):
        """Builds the algorithm under test on a space, at a size that makes every phase short."""

        def make(space, **settings) -> SearchAlgorithm:
            if request.param in WITH_PREDICTOR:
                settings["make_predictor"] = partial(make_linear_predictor, space)
            if request.param == "proxybo":
                settings["zero_cost_features"] = _sum
            return build_algorithm(request.param, space, **SETTINGS[request.param], **settings)

        return make

    @pytest.fixture(
        params=["small_space", "medium_space", "large_space", "mobilenetv3", "nasnet", "darts"]
    )
    def space(self, request):
        if request.param == "nasbench201":
            return NASBench201Space()
        if request.param in ("nasnet", "darts"):
            return NASNetSpace(distinct_inputs=request.param == "darts")
        if request.param == "mobilenetv3":
            return request.getfixturevalue("mobilenetv3_costs").space
        return request.getfixturevalue(request.param)

    @pytest.fixture
    def are_feasible(self, space, mobilenetv3_costs):
        """Half of the points, or the hundredth of a window of 50 million MACs at the dear end."""
        if space.name == "mobilenetv3":
            return feasibility_check(mobilenetv3_costs, [Constraint("macs", 371e6, 421e6)])
        return _even

    @pytest.mark.parametrize("space", ["nasbench201", "mobilenetv3"], indirect=True)
    def test_no_ask_loops_over_candidates(self, make_algorithm, space, measure, lines_of):
        """Of which there are 15,625, or a pool of 10,000."""
        algorithm = make_algorithm(space, are_feasible=_even)
        if isinstance(algorithm, PoolSearch):
            algorithm.pool_size = 10_000
        for start in (0, 10, 20):
            archs = space.architectures(space.sample_choices(10, np.random.default_rng(start)))
            algorithm.tell(measure(archs, start))
        assert lines_of(algorithm.ask, 4) < 4000

    @pytest.mark.parametrize(
        "space", ["medium_space", "large_space", "mobilenetv3", "darts"], indirect=True
    )
    def test_kill_and_resume_equals_uninterrupted(
        self, make_algorithm, space, are_feasible, tmp_path
    ):
        super().test_kill_and_resume_equals_uninterrupted(
            make_algorithm, space, are_feasible, tmp_path
        )

    @pytest.mark.parametrize("space", ["medium_space", "large_space", "darts"], indirect=True)
    def test_a_pool_alone_is_asked_for_to_its_end(self, make_algorithm, space, measure):
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
        with pytest.raises(
            SpaceExhaustedError, match="0 of the 60 feasible ones of the pool of space"
        ):
            algorithm.ask(1)

    def test_a_pool_of_all_changes_nothing(self, make_algorithm, medium_space, measure):
        whole = make_algorithm(medium_space, seed=2, are_feasible=_even)
        listed = make_algorithm(
            medium_space, seed=2, are_feasible=_even, pool=list(medium_space.enumerate())
        )
        for start in range(0, 24, 6):
            archs = whole.ask(6)
            assert listed.ask(6) == archs
            for each in (whole, listed):
                each.tell(measure(archs, start))

    def test_a_pool_is_constrained_and_resumed(
        self, make_algorithm, make_estimator, large_space, tmp_path
    ):
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
