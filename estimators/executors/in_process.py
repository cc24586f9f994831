"""Measuring in this process, one candidate after another."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import starmap

from estimators.executors.base import Executor, Measure
from estimators.trials.store import Trial
from supernets.spaces import Architecture


class InProcess(Executor):
    """Measures when it is asked for a result, in the order of submission.

    Args:
        measure: Measures a candidate.
    """

    def __init__(self, measure: Measure) -> None:
        super().__init__()
        self._measure = measure
        self._waiting: deque[tuple[int, Architecture]] = deque()

    @property
    def capacity(self) -> int:
        """The number of candidates that can be measured at once: one."""
        return 1

    def submit(self, number: int, arch: Architecture) -> None:
        """Puts a candidate at the end of the queue."""
        self._waiting.append((number, arch))

    def poll(self, *, wait: bool) -> Trial | None:
        """Measures the first candidate of the queue if ``wait`` is set, and otherwise none."""
        return self._measure(*self._waiting.popleft()) if wait else None

    def measure(self, candidates: Iterable[tuple[int, Architecture]]) -> Iterator[Trial]:
        """Measures candidates one after another, each when its trial is asked for."""
        return starmap(self._measure, candidates)

    def close(self) -> None:
        """Forgets what waits."""
        self._waiting.clear()
