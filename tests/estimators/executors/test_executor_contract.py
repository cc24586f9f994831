"""What every executor does."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from estimators.executors import Executor, InProcess, LocalProcesses, Measure
from estimators.executors.base import GRACE
from estimators.executors.measure import trial_of_estimate
from estimators.executors.ray_cluster import RayCluster
from estimators.scores.tse import TSEEstimator
from supernets.networks.factory import create_supernet
from supernets.spaces import Architecture

Candidates = Sequence[tuple[int, Architecture]]
MakeExecutor = Callable[..., Executor]
ELSEWHERE = ("local-processes", "ray-cluster")

pytestmark = pytest.mark.slow


def make(name: str, request: pytest.FixtureRequest) -> MakeExecutor:
    if name == "in-process":
        return InProcess
    if name == "local-processes":
        return partial(LocalProcesses, num_workers=2)
    return partial(RayCluster, address=request.getfixturevalue("ray_connection"))


@pytest.fixture(scope="module")
def ray_connection(ray_cluster: Any) -> Iterator[str]:
    """One for all tests here, whose workers Ray then keeps; tests of Ray alone connect each."""
    import ray

    handler = signal.getsignal(signal.SIGTERM)
    ray.init(address=ray_cluster.address, logging_level=logging.WARNING, log_to_driver=False)
    signal.signal(signal.SIGTERM, handler)
    yield ray_cluster.address
    ray.shutdown()


@pytest.fixture(params=["in-process", *ELSEWHERE])
def make_executor(request: pytest.FixtureRequest, forked_workers: None) -> MakeExecutor:
    return make(request.param, request)


@pytest.fixture(params=ELSEWHERE)
def make_workers(request: pytest.FixtureRequest, forked_workers: None) -> MakeExecutor:
    return make(request.param, request)


@pytest.fixture
def tse() -> Measure:
    """A real measurement: weights, minibatches and all."""
    generator = torch.Generator().manual_seed(0)
    batches = [
        (torch.randn(8, 3, 8, 8, generator=generator), torch.arange(8) % 3) for _ in range(3)
    ]
    torch.manual_seed(0)
    supernet = create_supernet(
        "nasbench201", num_classes=3, input_size=(3, 8, 8), channels=4, cells_per_stage=1
    )
    return partial(trial_of_estimate, TSEEstimator(supernet, batches, num_batches=3))


def test_trials_are_those_of_this_process(
    make_executor: MakeExecutor, tse: Measure, make_candidates: Callable[[int], Candidates]
) -> None:
    candidates = make_candidates(6)
    expected = {number: tse(number, arch) for number, arch in candidates}
    with make_executor(tse) as executor:
        found = list(executor.measure(candidates))
        assert executor.num_lost == 0
    assert sorted(trial.number for trial in found) == list(range(6))
    for trial in found:
        assert trial.arch == expected[trial.number].arch
        assert trial.curves == expected[trial.number].curves and trial.seconds > 0


def test_relative_paths_are_as_here(
    make_executor: MakeExecutor,
    planned: Callable[..., Measure],
    make_candidates: Callable[[int], Candidates],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").touch()
    with make_executor(planned()) as executor:
        (trial,) = executor.measure(make_candidates(1))
    assert trial.metrics["is_here"] == 1.0


def test_submitting_while_others_are_measured(
    make_executor: MakeExecutor,
    planned: Callable[..., Measure],
    make_candidates: Callable[[int], Candidates],
) -> None:
    candidates = list(make_candidates(7))
    with make_executor(planned(seconds=0.05)) as executor:
        assert executor.capacity in (1, 2)
        for _ in range(3):
            executor.submit(*candidates.pop(0))
        found = []
        while candidates:
            found.append(executor.next())
            executor.submit(*candidates.pop(0))
        found += [executor.next() for _ in range(3)]
    assert sorted((trial.number, trial.score) for trial in found) == [(i, i) for i in range(7)]


def test_an_error_is_raised_and_costs_no_other_candidate(
    make_executor: MakeExecutor,
    planned: Callable[..., Measure],
    make_candidates: Callable[[int], Candidates],
) -> None:
    with make_executor(planned(fails=(1,))) as executor:
        for candidate in make_candidates(4):
            executor.submit(*candidate)
        found = []
        for _ in range(4):
            try:
                found.append(executor.next().number)
            except ZeroDivisionError as error:
                assert str(error) == "number 1"
                found.append(-1)
    assert sorted(found) == [-1, 0, 2, 3]


def test_closing_leaves_what_is_measured(
    make_workers: MakeExecutor,
    planned: Callable[..., Measure],
    make_candidates: Callable[[int], Candidates],
) -> None:
    executor = make_workers(planned(hangs=(1, 2)))
    for candidate in make_candidates(6):
        executor.submit(*candidate)
    assert executor.next().number in (0, 3)
    started = time.monotonic()
    executor.close()
    # Ray may lose the request to stop of a task that has just begun, which is then killed
    limit = GRACE + 10 if isinstance(executor, RayCluster) else GRACE / 2
    assert time.monotonic() - started < limit


def test_lost_workers(
    make_workers: MakeExecutor,
    planned: Callable[..., Measure],
    make_candidates: Callable[[int], Candidates],
) -> None:
    """One that is lost, and one that asked to stop: again. Lost over and over: given up."""
    with make_workers(planned(dies_once=(1,), stopped_once=(3,), dies=(2,))) as executor:
        found = {trial.number: trial for trial in executor.measure(make_candidates(6))}
        assert executor.num_lost == 5
    assert sorted(found) == list(range(6))
    error = found.pop(2).error
    assert error is not None and error.startswith("Given up after losing 3 workers: ")
    assert all(trial.score == number for number, trial in found.items())


def test_a_candidate_that_hangs_is_stopped(
    make_workers: MakeExecutor,
    planned: Callable[..., Measure],
    make_candidates: Callable[[int], Candidates],
) -> None:
    with make_workers(planned(hangs=(0,)), trial_timeout=2.0) as executor:
        found = {trial.number: trial for trial in executor.measure(make_candidates(4))}
        assert executor.num_lost == 0
    assert found.pop(0).error == "Stopped after 2 s, the limit of a trial."
    assert [found[number].score for number in (1, 2, 3)] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_a_limit_that_is_none(make_workers: MakeExecutor, tse: Any, limit: float) -> None:
    with pytest.raises(ValueError, match="trial_timeout must be positive"):
        make_workers(tse, trial_timeout=limit)
