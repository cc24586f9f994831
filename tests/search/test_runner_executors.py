"""The search loop with executors that measure several candidates at once, in an order of theirs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estimators import TabularEstimator
from estimators.executors import Executor, InProcess, LocalProcesses, Measure
from estimators.trials.store import Trial, TrialStore
from search import SearchProblem, run_search
from search.algorithms.base import SearchAlgorithm
from search.algorithms.registry import create_algorithm
from supernets.spaces import Architecture, NASBench201Space

SPACE = NASBench201Space()
#: Small enough that guided searches are guided within some 20 trials.
OPTIONS: dict[str, dict[str, Any]] = {
    "random": {},
    "weaknas": {"num_initial": 6, "predictor": "gradient_boosting"},
    "structural-bo": {"num_initial": 5},
    "evolution": {"num_initial": 6, "num_parents": 3},
    "regularized-evolution": {"population_size": 6, "tournament_size": 2},
    "tpe": {"num_initial": 6},
    "local-search": {"num_initial": 4},
    "bo": {"num_initial": 5},
    "neural-predictor": {"num_initial": 8, "predictor": "gradient_boosting"},
}


class Shuffling(Executor):
    """Measures in this process, and finishes any of those in flight.

    Args:
        measure: Measures a candidate.
        capacity: That it says it has.
        seed: Of the order.
        stop_after: Presses Ctrl-C in place of the result of this number.
    """

    def __init__(
        self, measure: Measure, *, capacity: int, seed: int, stop_after: int | None = None
    ) -> None:
        super().__init__()
        self._measure, self._capacity, self._stop_after = measure, capacity, stop_after
        self._rng = np.random.default_rng(seed)
        self.in_flight: list[tuple[int, Architecture]] = []
        self.most_in_flight = self.num_finished = 0

    @property
    def capacity(self) -> int:
        return self._capacity

    def submit(self, number: int, arch: Architecture) -> None:
        self.in_flight.append((number, arch))
        self.most_in_flight = max(self.most_in_flight, len(self.in_flight))

    def poll(self, *, wait: bool) -> Trial | None:
        if not self.in_flight or not wait and self._rng.random() < 0.5:
            return None
        if self.num_finished == self._stop_after:
            raise KeyboardInterrupt
        self.num_finished += 1
        return self._measure(*self.in_flight.pop(self._rng.integers(len(self.in_flight))))

    def close(self) -> None:
        self.in_flight.clear()


@pytest.fixture(scope="module")
def table() -> TabularEstimator:
    """Every cell with a value that rises with its convolutions, and some noise."""
    archs = SPACE.architectures(SPACE.all_choices())
    noise = np.random.default_rng(0).normal(0, 0.1, len(archs))
    values = [
        sum(c in (2, 3) for c in arch.choices) + e for arch, e in zip(archs, noise, strict=True)
    ]
    return TabularEstimator(dict(zip(archs, values, strict=True)))


@pytest.fixture
def search(tmp_path: Path, table: TabularEstimator) -> Callable[..., list[Trial]]:
    """Searches with an executor; gives the trials in the order they were finished."""

    def search(
        name: str,
        make_executor: Callable[[Measure], Executor],
        *,
        batch_size: int,
        file: str,
        num_trials: int = 21,
    ) -> list[Trial]:
        with TrialStore.open(tmp_path / file, {}, SPACE) as store:
            run_search(
                create(name),
                table,
                store,
                num_trials=num_trials,
                batch_size=batch_size,
                make_executor=make_executor,
            )
            return list(store.finished)

    return search


def create(name: str) -> SearchAlgorithm:
    return create_algorithm(name, SearchProblem(SPACE), **OPTIONS[name])


def by_number(trials: Sequence[Trial]) -> list[tuple[int, Architecture, float | None]]:
    return sorted((trial.number, trial.arch, trial.score) for trial in trials)


@pytest.mark.parametrize("name", OPTIONS)
def test_batches_are_the_same_in_any_order_of_completion(
    name: str, search: Callable[..., list[Trial]]
) -> None:
    expected = search(name, InProcess, batch_size=5, file="whole.db")
    assert [trial.number for trial in expected] == list(range(21))
    for seed, capacity in enumerate((1, 2, 4, 50)):
        make = partial(Shuffling, capacity=capacity, seed=seed)
        found = search(name, make, batch_size=5, file=f"{capacity}.db")
        assert by_number(found) == by_number(expected)


@pytest.mark.parametrize("name", OPTIONS)
def test_one_by_one_keeps_all_workers_busy_and_records_the_order(
    name: str, search: Callable[..., list[Trial]]
) -> None:
    made: list[Shuffling] = []

    def make(measure: Measure) -> Executor:
        made.append(Shuffling(measure, capacity=3, seed=0))
        return made[-1]

    found = search(name, make, batch_size=1, file="trials.db")
    assert sorted(trial.number for trial in found) == list(range(21))
    assert [trial.number for trial in found] != list(range(21))
    assert len({trial.arch for trial in found}) == 21
    num_initial = create(name).next_batch_size(1)
    assert made[0].most_in_flight == max(num_initial, 3)

    # what was asked for follows from what was told, in its order
    again = search(name, make, batch_size=1, file="again.db")
    assert [(t.number, t.arch) for t in again] == [(t.number, t.arch) for t in found]


@pytest.mark.parametrize("batch_size", [1, 5])
def test_a_search_that_was_killed_measures_again_what_was_in_flight(
    batch_size: int, search: Callable[..., list[Trial]]
) -> None:
    stopping = partial(Shuffling, capacity=3, seed=1, stop_after=9)
    with pytest.raises(KeyboardInterrupt):
        search("weaknas", stopping, batch_size=batch_size, file="trials.db")
    made: list[Shuffling] = []

    def make(measure: Measure) -> Executor:
        made.append(Shuffling(measure, capacity=3, seed=2))
        return made[-1]

    found = search("weaknas", make, batch_size=batch_size, file="trials.db")
    assert made[0].num_finished == 21 - 9
    assert sorted(trial.number for trial in found) == list(range(21))
    assert len({trial.arch for trial in found}) == 21
    if batch_size > 1:
        expected = search("weaknas", InProcess, batch_size=batch_size, file="whole.db")
        assert by_number(found) == by_number(expected)


def test_no_worker_is_started_where_nothing_is_left(search: Callable[..., list[Trial]]) -> None:
    def refuse(measure: Measure) -> Executor:
        raise AssertionError("an executor was made")

    found = search("random", InProcess, batch_size=4, file="trials.db")
    assert search("random", refuse, batch_size=4, file="trials.db") == found


@pytest.mark.parametrize(
    ("batch_size", "capacity", "is_said"),
    [(1, 2, True), (1, 1, False), (4, 2, False)],
)
def test_what_depends_on_the_order_is_said(
    batch_size: int,
    capacity: int,
    is_said: bool,
    search: Callable[..., list[Trial]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    make = partial(Shuffling, capacity=capacity, seed=0)
    search("random", make, batch_size=batch_size, file="trials.db")
    assert ("depends on the order in which candidates are finished" in caplog.text) == is_said


@pytest.mark.slow
@pytest.mark.usefixtures("forked_workers")
def test_one_two_and_four_processes_give_the_same_trials(
    search: Callable[..., list[Trial]],
) -> None:
    expected = search("weaknas", InProcess, batch_size=5, file="whole.db")
    for num_workers in (1, 2, 4):
        make = partial(LocalProcesses, num_workers=num_workers)
        found = search("weaknas", make, batch_size=5, file=f"{num_workers}.db")
        assert by_number(found) == by_number(expected)
