"""Where candidates are measured: what goes together, and the executor that comes of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from estimators.executors import ExecutorFactory, ExecutorSettings, InProcess, LocalProcesses
from estimators.trials.store import Trial
from supernets.spaces import Architecture

CPU = torch.device("cpu")


def measure(number: int, arch: Architecture) -> Trial:
    return Trial(number, arch, 1.0, {}, 0.0, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"workers": 2, "ray": "auto"}, "--workers is for this machine and --ray for a cluster"),
        ({"trial_timeout": 5.0}, "--trial-timeout stops a process that measures, and so needs"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"workers": 1, "trial_timeout": 0.0}, "trial_timeout must be above 0"),
    ],
)
def test_what_does_not_go_together_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ExecutorSettings(**given)


@pytest.mark.parametrize(
    ("given", "device", "message"),
    [
        ({"trials_per_gpu": 2}, CPU, "--trials-per-gpu is for --ray on GPUs; leave it out"),
        ({"ray": "auto", "trials_per_gpu": 2}, CPU, "--trials-per-gpu is for --ray on GPUs"),
        ({"ray": "auto"}, torch.device("cuda:1"), "give --device cuda, not cuda:1"),
    ],
)
def test_what_the_device_does_not_have_is_refused(
    given: dict[str, Any], device: torch.device, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ExecutorFactory(ExecutorSettings(**given), device)


def test_settings_choose_the_executor() -> None:
    here = ExecutorFactory(ExecutorSettings(), CPU)
    assert isinstance(here.create(measure), InProcess) and here.lost_workers == {}
    workers = ExecutorFactory(ExecutorSettings(workers=3), CPU, threads=2)
    with workers.create(measure) as executor:
        assert isinstance(executor, LocalProcesses) and executor.capacity == 3
        executor.num_lost = 2
        with workers.create(measure) as second:
            second.num_lost = 1
    assert workers.lost_workers == {"lost_workers": 3}
