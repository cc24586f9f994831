"""What every executor does, and what becomes of a candidate whose worker is lost."""

from __future__ import annotations

import abc
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator

from estimators.trials.store import Trial
from supernets.runtime.outputs import WorkError
from supernets.spaces import Architecture

#: Measures the architecture of a number. Sent to workers, and so to be pickled.
Measure = Callable[[int, Architecture], Trial]
#: After losing so many workers a candidate is given up.
MAX_LOSSES = 3
#: Seconds that a worker has to write a checkpoint and go, once the run ends.
GRACE = 20.0

_logger = logging.getLogger(__name__)


class ExecutorError(WorkError):
    """The workers themselves are of no use, whatever the candidate."""


class Executor(abc.ABC):
    """Measures candidates, some of them at a time, and gives them back as they are finished.

    The same candidate gives the same trial wherever it is measured, but for its seconds; on CPUs
    this needs the same number of threads, and processors of one kind.

    A candidate whose worker is lost is measured again, and given up as a failed trial once that has
    happened ``MAX_LOSSES`` times.
    """

    def __init__(self) -> None:
        #: How often a worker was lost with its candidate.
        self.num_lost = 0
        self._losses: dict[int, int] = {}

    @property
    @abc.abstractmethod
    def capacity(self) -> int:
        """How many candidates can be measured at once; may change."""

    @abc.abstractmethod
    def submit(self, number: int, arch: Architecture) -> None:
        """Takes on a candidate, whose trial ``poll`` or ``next`` will return."""

    @abc.abstractmethod
    def poll(self, *, wait: bool) -> Trial | None:
        """Returns the trial of a finished candidate not returned before; None if there is none.

        Args:
            wait: Whether to wait until something happens, which need not be the end of a candidate.

        Raises:
            ExecutorError: If no worker can be had.
            Exception: What measuring raised; the other candidates are not lost by it.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Ends all workers; what they are measuring is lost."""

    def next(self) -> Trial:
        """Waits for a candidate to be finished.

        Raises:
            ExecutorError: If no worker can be had.
            Exception: What measuring raised; the other candidates are not lost by it.
        """
        while True:
            trial = self.poll(wait=True)
            if trial is not None:
                return trial

    def measure(self, candidates: Iterable[tuple[int, Architecture]]) -> Iterator[Trial]:
        """Measures candidates, numbers with architectures; yields trials as they are finished."""
        num_left = 0
        for number, arch in candidates:
            self.submit(number, arch)
            num_left += 1
        for _ in range(num_left):
            yield self.next()

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.close()

    def _lose(self, number: int, arch: Architecture, reason: str) -> Trial | None:
        """Counts the loss of a worker and returns the failed trial if that is one too many."""
        self.num_lost += 1
        losses = self._losses[number] = self._losses.get(number, 0) + 1
        if losses < MAX_LOSSES:
            _logger.warning("Candidate %d is measured again: %s", number, reason)
            return None
        error = f"Given up after losing {losses} workers: {reason}"
        _logger.warning("Candidate %d: %s", number, error)
        return failed(number, arch, error)


def check_timeout(trial_timeout: float | None) -> None:
    """Makes sure that a limit of seconds is one.

    Raises:
        ValueError: If it is not positive.
    """
    if trial_timeout is not None and not trial_timeout > 0:
        raise ValueError(f"trial_timeout must be positive, got {trial_timeout}.")


def seconds_to_wait(deadlines: Iterable[float], wait: bool) -> float | None:
    """Returns how many seconds to wait for candidates, None for as long as they take.

    Args:
        deadlines: When each candidate is stopped, in seconds of the monotonic clock; infinite for
            no limit.
        wait: Whether to wait at all.
    """
    if not wait:
        return 0.0
    first = min(deadlines, default=math.inf)
    return None if math.isinf(first) else max(first - time.monotonic(), 0.0)


def failed(number: int, arch: Architecture, error: str, seconds: float = 0.0) -> Trial:
    """Builds the trial of a candidate that could not be measured.

    Args:
        number: Number of the candidate.
        arch: Architecture of the candidate.
        error: Message that says why it could not be measured.
        seconds: Seconds that were spent on it.
    """
    return Trial(number, arch, None, metrics={}, seconds=seconds, error=error)


def timed_out(number: int, arch: Architecture, limit: float) -> Trial:
    """Builds the failed trial of a candidate that was stopped.

    Args:
        number: Number of the candidate.
        arch: Architecture of the candidate.
        limit: Seconds after which it was stopped.
    """
    return failed(number, arch, f"Stopped after {limit:g} s, the limit of a trial.", limit)
