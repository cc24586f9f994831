"""Measuring in processes of this machine, each with a candidate at a time."""

from __future__ import annotations

import concurrent.futures
import logging
import multiprocessing
import signal
import time
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from pathlib import Path

from estimators.executors import worker
from estimators.executors.base import (
    GRACE,
    MAX_LOSSES,
    Executor,
    ExecutorError,
    Measure,
    check_timeout,
    seconds_to_wait,
    timed_out,
)
from estimators.trials.store import Trial
from supernets.runtime.temporary_file import TemporaryFile, room_for_files
from supernets.runtime.wording import plural, size_of_bytes
from supernets.spaces import Architecture

#: How workers are started: anew, as forks of a process that has used a GPU cannot use it.
CONTEXT: BaseContext = multiprocessing.get_context("spawn")

_logger = logging.getLogger(__name__)

#: Where the measurement is written.
_PREFIX, _FILE = "paceline-workers-", "measure.pt"


class LocalProcesses(Executor):
    """Worker processes of this machine.

    The measurement is written to a file once, and every worker reads that once. Its tensors on the
    CPU are mapped from there, so that all workers share their memory.

    Args:
        measure: Measures a candidate.
        num_workers: Number of processes. At least 1.
        threads: Number of threads for CPU operations in each worker.
        gpus: GPUs that the workers are spread over, as ``CUDA_VISIBLE_DEVICES`` names them; if
            there are none, all use the device of ``measure``.
        trial_timeout: Seconds after which a candidate is stopped and fails; None for no limit.

    Raises:
        ValueError: If a number is out of range.
        ExecutorError: If the file cannot be written; says where, and how much room it needs.
    """

    def __init__(
        self,
        measure: Measure,
        *,
        num_workers: int,
        threads: int = 1,
        gpus: tuple[str, ...] = (),
        trial_timeout: float | None = None,
    ) -> None:
        super().__init__()
        if num_workers < 1:
            raise ValueError(f"num_workers must be at least 1, got {num_workers}.")
        check_timeout(trial_timeout)
        self._trial_timeout = trial_timeout
        self._waiting: deque[tuple[int, Architecture]] = deque()
        self._workers: list[_Worker] = []
        try:
            self._payload = TemporaryFile(_PREFIX, _FILE)
        except OSError as error:
            raise _no_room(error, measure) from error
        try:
            self._write(measure)
            for i in range(num_workers):
                gpu = gpus[i % len(gpus)] if gpus else None
                self._workers.append(_Worker(self._payload.path, threads, gpu))
        except BaseException:  # such as a full disk
            self.close()
            raise
        _logger.info("Starting %s; each loads PyTorch and the data.", plural(num_workers, "worker"))

    @property
    def capacity(self) -> int:
        """The number of workers."""
        return len(self._workers)

    def submit(self, number: int, arch: Architecture) -> None:
        """Gives a candidate to a free worker, or puts it at the end of the queue."""
        self._waiting.append((number, arch))
        self._hand_out()

    def poll(self, *, wait: bool) -> Trial | None:
        """Returns the trial of the first candidate that is finished, lost too often, or stopped."""
        self._hand_out()
        busy = {each.future: each for each in self._workers if each.future is not None}
        assert busy or not wait, "nothing was submitted"
        timeout = seconds_to_wait((each.deadline for each in self._workers), wait)
        finished, _ = concurrent.futures.wait(busy, timeout, FIRST_COMPLETED)
        for future in finished:
            trial = self._end(busy[future], future)
            if trial is not None:
                return trial
        for each in self._workers:
            if time.monotonic() >= each.deadline:
                assert each.candidate is not None and self._trial_timeout is not None
                number, arch = each.candidate
                each.restart()
                return timed_out(number, arch, self._trial_timeout)
        return None

    def close(self) -> None:
        """Ends the processes; one that trains from scratch may write a checkpoint before."""
        self._waiting.clear()
        for each in self._workers:
            each.terminate()
        for each in self._workers:
            each.join()
        self._workers = []
        self._payload.close()

    def _write(self, measure: Measure) -> None:
        path = self._payload.path
        try:
            worker.write_measure(measure, path)
        except OSError as error:
            if error.filename == str(path):
                raise _no_room(error, measure) from error
            raise  # of something that it reads

    def _hand_out(self) -> None:
        for each in self._workers:
            if self._waiting and each.future is None:
                each.begin(self._waiting.popleft(), self._trial_timeout)

    def _end(self, each: _Worker, future: Future[Trial | None]) -> Trial | None:
        """What came of a candidate or of a start, if it is a trial."""
        candidate, error = each.candidate, future.exception()
        if error is None and not each.is_ready:
            each.is_ready = True
            num_ready = sum(each.is_ready for each in self._workers)
            _logger.info("%d of %d workers are ready.", num_ready, len(self._workers))
        # a worker that was asked to stop, and not by us, is lost as one that was killed is
        if not isinstance(error, BrokenProcessPool | KeyboardInterrupt):
            each.end()
            return future.result()
        each.restart()
        if candidate is not None:
            trial = self._lose(*candidate, "its process ended without a result.")
            if trial is None:
                self._waiting.appendleft(candidate)
            return trial
        each.num_failed_starts += 1
        if each.num_failed_starts == MAX_LOSSES:
            raise ExecutorError(
                f"A worker process ended {MAX_LOSSES} times before it was ready; what it printed "
                "says why."
            ) from error
        return None


def _no_room(error: OSError, measure: Measure) -> ExecutorError:
    """The error of a file for workers that cannot be written."""
    folder, free = room_for_files()
    has = "" if free is None else f", which has {size_of_bytes(free)} free"
    size = size_of_bytes(worker.size_of_measure(measure))
    return ExecutorError(
        f"What workers read, {size} of weights and minibatches, cannot be written to "
        f"{folder}{has}: {error.strerror or error}. Set TMPDIR to a folder with room, or measure "
        "without --workers."
    )


class _Worker:
    """One process, in a pool of its own, so that its end is no one else's."""

    def __init__(self, path: Path, threads: int, gpu: str | None) -> None:
        self._settings = path, threads, gpu
        self.num_failed_starts = 0
        self._start()

    def _start(self) -> None:
        self._pool = ProcessPoolExecutor(
            1,
            mp_context=CONTEXT,
            initializer=worker.start,
            initargs=self._settings,
        )
        before = set(multiprocessing.active_children())
        # Ctrl-C is for the main process, which ends the others; they inherit that it is blocked
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            #: What it is doing: starting, which gives None, or measuring. None if it is free.
            self.future: Future[Trial | None] | None = self._pool.submit(worker.is_ready)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        (self._process,) = set(multiprocessing.active_children()) - before
        self.candidate: tuple[int, Architecture] | None = None
        self.deadline = float("inf")
        self.is_ready = False

    def restart(self) -> None:
        """Ends the process at once and starts another."""
        self._process.kill()
        self._pool.shutdown(wait=False)
        self._start()

    def begin(self, candidate: tuple[int, Architecture], timeout: float | None) -> None:
        """Starts measuring."""
        self.candidate = candidate
        if timeout is not None:
            self.deadline = time.monotonic() + timeout
        try:
            self.future = self._pool.submit(worker.measure, *candidate)
        except BrokenProcessPool as error:  # it ended while it had nothing to do
            self.future = Future()
            self.future.set_exception(error)

    def end(self) -> None:
        """Notes that it is free."""
        self.future, self.candidate, self.deadline = None, None, float("inf")

    def terminate(self) -> None:
        """Asks the process to end."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._process.terminate()

    def join(self) -> None:
        """Waits until the process has ended, and does not wait for long."""
        self._process.join(GRACE)
        self._process.kill()
        self._pool.shutdown(wait=True)
