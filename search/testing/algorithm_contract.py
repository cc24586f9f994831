"""What every search algorithm keeps to, as tests of one of one's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from estimators.trials.store import Trial, TrialStore
from search.algorithms.base import SearchAlgorithm, SpaceExhaustedError
from search.algorithms.problem import FeasibilityCheck, SearchProblem
from search.runner import run_search
from search.testing.landscape import DigitSpace, PlantedEstimator, measure
from supernets.spaces import Architecture, SearchSpace

#: Builds the algorithm on a space, with ``seed`` and ``are_feasible`` of its problem.
MakeAlgorithm = Callable[..., SearchAlgorithm]


def _even(choices: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.asarray(choices.sum(axis=1) % 2 == 0)


def _none(choices: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.zeros(len(choices), np.bool_)


def _fails(arch: Architecture) -> bool:
    return sum(arch.choices) % 3 == 0


def _search(
    make_algorithm: MakeAlgorithm,
    estimator: PlantedEstimator,
    space: SearchSpace,
    path: Path,
    num_trials: int,
    batch_size: int = 5,
    are_feasible: FeasibilityCheck = _even,
) -> Sequence[Trial]:
    with TrialStore.open(path, {}, space) as store:
        run_search(
            make_algorithm(space, seed=7, are_feasible=are_feasible),
            estimator,
            store,
            num_trials=num_trials,
            batch_size=batch_size,
        )
        return store.trials


def _outcome(trials: Sequence[Trial]) -> list[tuple[object, ...]]:
    return [(trial.number, trial.arch, trial.score, trial.error) for trial in trials]


class AlgorithmContract:
    """Tests of a search algorithm: what it asks for, a search that was killed, the space's end.

    A test module has a subclass that says which class it is, and with which options; pytest runs
    what it inherits. Options that make every phase short make quick tests that reach all of them.

    Example:
        >>> from search import RegularizedEvolution, RegularizedEvolutionOptions
        >>> class TestMyAlgorithm(AlgorithmContract):
        ...     algorithm = RegularizedEvolution
        ...     options = RegularizedEvolutionOptions(population_size=6, tournament_size=3)
    """

    #: The class, called with a ``SearchProblem`` and, if there are any, its options.
    algorithm: ClassVar[Callable[..., SearchAlgorithm] | None] = None
    #: An instance of the dataclass of its options; None for those it has by default.
    options: ClassVar[Any] = None

    @pytest.fixture
    def make_algorithm(self) -> MakeAlgorithm:
        """Builds the algorithm under test on a space."""
        owner = type(self)
        build = owner.algorithm
        if build is None:
            raise TypeError(f"{owner.__name__} must say which class it tests: algorithm = MySearch")

        def make(space: SearchSpace, **problem: Any) -> SearchAlgorithm:
            given = () if owner.options is None else (owner.options,)
            return build(SearchProblem(space, **problem), *given)

        return make

    @pytest.fixture
    def small_space(self) -> SearchSpace:
        """81 architectures."""
        return DigitSpace(4, 3)

    @pytest.fixture
    def medium_space(self) -> SearchSpace:
        """4096 architectures, enumerated."""
        return DigitSpace(6, 4)

    @pytest.fixture
    def large_space(self) -> SearchSpace:
        """About 1.7e7 architectures, sampled."""
        return DigitSpace(12, 4)

    @pytest.fixture(params=["medium_space", "large_space"])
    def space(self, request: pytest.FixtureRequest) -> SearchSpace:
        """The space that is searched."""
        found: SearchSpace = request.getfixturevalue(request.param)
        return found

    @pytest.fixture
    def are_feasible(self, space: SearchSpace) -> FeasibilityCheck:
        """A constraint that half of the architectures keep to."""
        return _even

    def test_asks_distinct_unseen_feasible(
        self, make_algorithm: MakeAlgorithm, space: SearchSpace, are_feasible: FeasibilityCheck
    ) -> None:
        algorithm = make_algorithm(space, seed=3, are_feasible=are_feasible)
        estimator = PlantedEstimator(fails=_fails)
        seen: set[Architecture] = set()
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

    def test_ask_is_pure(self, make_algorithm: MakeAlgorithm, space: SearchSpace) -> None:
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

    def test_failed_trials_do_not_count_as_scores(
        self, make_algorithm: MakeAlgorithm, medium_space: SearchSpace
    ) -> None:
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

    def test_space_is_searched_to_its_end(
        self, make_algorithm: MakeAlgorithm, small_space: SearchSpace
    ) -> None:
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

    def test_impossible_constraint_is_an_error(
        self,
        make_algorithm: MakeAlgorithm,
        small_space: SearchSpace,
        large_space: SearchSpace,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("search.algorithms.base.MAX_DRAWS", 30_000)
        with pytest.raises(SpaceExhaustedError, match="0 of the 0 feasible"):
            make_algorithm(small_space, are_feasible=_none).ask(1)
        with pytest.raises(
            SpaceExhaustedError, match="Found 0 of 2 .* 30,000 random .* 30,000 of them broke"
        ):
            make_algorithm(large_space, are_feasible=_none).ask(2)

    @pytest.mark.parametrize("num_archs", [0, -1])
    def test_num_archs_is_checked(
        self, make_algorithm: MakeAlgorithm, space: SearchSpace, num_archs: int
    ) -> None:
        with pytest.raises(ValueError, match=f"num_archs must be at least 1, got {num_archs}"):
            make_algorithm(space).ask(num_archs)

    def test_tell_and_seed_are_checked(
        self, make_algorithm: MakeAlgorithm, small_space: SearchSpace, medium_space: SearchSpace
    ) -> None:
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

    def test_kill_and_resume_equals_uninterrupted(
        self,
        make_algorithm: MakeAlgorithm,
        space: SearchSpace,
        are_feasible: FeasibilityCheck,
        tmp_path: Path,
    ) -> None:
        """Ctrl-C during the measurements in turn, then the same search again."""

        def search(estimator: PlantedEstimator, name: str) -> Sequence[Trial]:
            path = tmp_path / name
            return _search(make_algorithm, estimator, space, path, num_trials, 5, are_feasible)

        num_trials = 18  # all but random: 6, 5, 5, and a batch cut short to 2
        whole = search(PlantedEstimator(_fails), "whole.db")
        assert len(whole) == num_trials and any(trial.score is None for trial in whole)
        for at in range(0, num_trials, 2 if space.size == 4096 else 4):
            with pytest.raises(KeyboardInterrupt):
                search(PlantedEstimator(_fails, interrupt_at=at), f"{at}.db")
            resumed = PlantedEstimator(_fails)
            assert _outcome(search(resumed, f"{at}.db")) == _outcome(whole)
            assert resumed.num_estimates == num_trials - at

    def test_interrupted_at_every_trial_equals_uninterrupted(
        self, make_algorithm: MakeAlgorithm, medium_space: SearchSpace, tmp_path: Path
    ) -> None:
        whole = _search(make_algorithm, PlantedEstimator(), medium_space, tmp_path / "whole.db", 14)
        for _ in range(13):
            with pytest.raises(KeyboardInterrupt):
                _search(
                    make_algorithm,
                    PlantedEstimator(interrupt_at=1),
                    medium_space,
                    tmp_path / "a.db",
                    14,
                )
        trials = _search(make_algorithm, PlantedEstimator(), medium_space, tmp_path / "a.db", 14)
        assert _outcome(trials) == _outcome(whole)
