"""Measuring a list of architectures into a store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from estimators.base import Estimate, EstimateError
from estimators.executors.measure import measure_all, trial_of_estimate
from estimators.trials.store import Trial, TrialStore
from supernets.runtime.own_code import OwnCodeError
from supernets.spaces import Architecture, SearchSpace


class Sum:
    """The sum of the choices; 3 cannot be measured."""

    name = "sum"

    def __init__(self) -> None:
        self.measured: list[tuple[int, ...]] = []

    def estimate(self, arch: Architecture) -> Estimate:
        if len(self.measured) == 2:
            raise KeyboardInterrupt
        self.measured.append(arch.choices)
        if sum(arch.choices) == 3:
            raise EstimateError("three")
        return Estimate(float(sum(arch.choices)), {"sum": 1.0}, 0.5, {"curve": (1.0,)})


def test_an_interrupted_measurement_continues(
    make_space: Callable[..., SearchSpace], tmp_path: Path
) -> None:
    space = make_space(3, 3)
    archs = [space.architecture(choices) for choices in ((2, 1), (0, 1), (2, 2), (1, 1))]
    found: tuple[Trial, ...] = ()
    runs = []
    for _ in range(3):
        estimator = Sum()
        with TrialStore.open(tmp_path / "trials.db", {}, space) as store:
            try:
                found = measure_all(
                    archs,
                    store,
                    lambda number, arch, e=estimator: trial_of_estimate(e, number, arch),
                    description="test",
                )
            except KeyboardInterrupt:
                pass
        runs.append(estimator.measured)
    assert runs == [[(2, 1), (0, 1)], [(2, 2), (1, 1)], []]
    assert [trial.arch for trial in found] == archs
    assert [trial.score for trial in found] == [None, 1.0, 4.0, 2.0]
    assert found[0].error == "three"
    assert found[1].seconds == 0.5 and found[1].curves == {"curve": (1.0,)}


def test_a_store_of_other_architectures_is_refused(
    make_space: Callable[..., SearchSpace], tmp_path: Path
) -> None:
    space = make_space(3, 3)
    first, second = space.architecture([0, 0]), space.architecture([0, 1])
    measure = lambda number, arch: trial_of_estimate(Sum(), number, arch)  # noqa: E731
    with TrialStore.open(tmp_path / "trials.db", {}, space) as store:
        measure_all([first], store, measure, description="test")
        with pytest.raises(ValueError, match="holds other architectures; use a new --output"):
            measure_all([second], store, measure, description="test")


def _allocate_too_much() -> None:
    torch.empty(2**59)


def _run_out(error: Exception) -> Callable[[], None]:
    def run_out() -> None:
        raise error

    return run_out


class Calls:
    """Measures by a call."""

    name = "calls"

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call

    def estimate(self, arch: Architecture) -> Estimate:
        self.call()
        raise AssertionError("the call was to fail")


@pytest.mark.parametrize(
    "call",
    [
        _allocate_too_much,
        _run_out(MemoryError("no room")),
        _run_out(torch.OutOfMemoryError("CUDA out of memory.")),
    ],
)
def test_too_little_memory_is_a_failed_trial(
    make_space: Callable[..., SearchSpace], call: Callable[[], None]
) -> None:
    trial = trial_of_estimate(Calls(call), 7, make_space(3).architecture([0]))
    assert trial.number == 7 and trial.score is None
    assert trial.error is not None and trial.error.startswith("Out of memory: ")


def test_another_error_is_not_the_candidates(make_space: Callable[..., SearchSpace]) -> None:
    with pytest.raises(OwnCodeError, match="'calls' failed on .0,.: RuntimeError: something else"):
        trial_of_estimate(
            Calls(_run_out(RuntimeError("something else"))), 0, make_space(3).architecture([0])
        )
