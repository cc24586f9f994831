"""A search's candidates on nodes that die and join."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from estimators.executors import Measure
from estimators.executors import ray_cluster as ray_module
from estimators.executors.ray_cluster import RayCluster
from supernets.spaces import Architecture

pytestmark = pytest.mark.slow


def workers_of(raylet: int) -> list[int]:
    """The processes that a node has started."""
    children = Path(f"/proc/{raylet}/task/{raylet}/children").read_text()
    return [int(pid) for pid in children.split()]


def is_measuring(raylet: int) -> bool:
    """Whether a candidate is measured on a node; Ray's workers are called what they do."""
    names = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in workers_of(raylet)]
    return any(b"_measure_remotely" in name for name in names)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds workers in /proc")
def test_a_node_that_dies_and_one_that_joins(
    ray_cluster: Any,
    planned: Callable[..., Measure],
    make_candidates: Callable[[int], Sequence[tuple[int, Architecture]]],
) -> None:
    from ray._private.ray_constants import PROCESS_TYPE_RAYLET

    node = ray_cluster.add_node(num_cpus=2)
    found = []
    raylet = node.all_processes[PROCESS_TYPE_RAYLET][0].process.pid
    with RayCluster(planned(seconds=1.0), address=ray_cluster.address) as executor:
        assert executor.capacity == 4
        for candidate in make_candidates(40):
            executor.submit(*candidate)
        while not is_measuring(raylet):  # its workers may take a while to start
            found.append(executor.next())
        for pid in [raylet, *workers_of(raylet)]:  # all at once, as the end of a machine would
            os.kill(pid, signal.SIGKILL)
        ray_cluster.add_node(num_cpus=1)
        found += [executor.next() for _ in range(40 - len(found))]
        assert 1 <= executor.num_lost <= 4
        deadline = time.monotonic() + 60  # Ray notes the death of a node a while later
        while executor.capacity != 3 and time.monotonic() < deadline:
            time.sleep(0.5)
        assert executor.capacity == 3
    assert sorted((trial.number, trial.score) for trial in found) == [(i, i) for i in range(40)]


def test_threads_and_gpus_decide_how_many_fit(ray_cluster: Any, planned: Any) -> None:
    nodes = [node for node in ray_cluster.list_all_nodes() if node.is_head()]
    assert nodes
    for settings, capacity in (
        ({"threads": 2}, 1),  # none fits: one waits for a larger node
        ({"gpus": 0.5}, 1),
    ):
        with RayCluster(planned(), address=ray_cluster.address, **settings) as executor:
            assert executor.capacity == capacity


def test_what_ray_changes_is_changed_back(
    ray_cluster: Any, planned: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its handler of SIGTERM, and what it prints to stdout."""
    handler = signal.getsignal(signal.SIGTERM)
    with RayCluster(planned(), address=ray_cluster.address):
        assert signal.getsignal(signal.SIGTERM) is handler
        print("said by a cluster")
    captured = capfd.readouterr()
    assert "said by a cluster" in captured.err and captured.out == ""


class UnreadTask:
    """Stands for Ray with one task, which has said that it has begun and has not ended."""

    def __init__(self) -> None:
        self.cancelled: list[bool] = []

    def completed(self) -> str:
        return "the end"

    def cancel(self, stream: UnreadTask, force: bool = False) -> None:
        self.cancelled.append(force)

    def wait(
        self, refs: list[Any], *, num_returns: int = 1, timeout: float
    ) -> tuple[list[Any], list[Any]]:
        is_ready = refs != ["the end"]  # the stream itself is, as there is something to read
        return (refs, []) if is_ready else ([], refs)


def test_a_task_that_was_only_heard_to_begin_is_not_taken_as_ended() -> None:
    task = UnreadTask()
    executor = RayCluster.__new__(RayCluster)
    executor._ray, executor._connection = task, ExitStack()
    executor._running = {task: ray_module._Running(0, Architecture("toy", (0,)))}
    executor.close()
    assert task.cancelled == [False, True]
