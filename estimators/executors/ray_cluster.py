"""Measuring on a Ray cluster, whose scheduler says where.

Needs the extra ``ray``. Nodes need this project in the same version; they may join and leave.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from typing import Any

import numpy as np

from estimators.executors.base import (
    GRACE,
    Executor,
    Measure,
    check_timeout,
    failed,
    seconds_to_wait,
    timed_out,
)
from estimators.executors.worker import read_measure, write_measure
from estimators.trials.store import Trial
from supernets.runtime.wording import first_line
from supernets.spaces import Architecture

HOW_TO_INSTALL = "Ray is not installed; use pip install -e '.[ray]', or --workers on one machine."
_CONNECT_TIMEOUT = 10.0  # seconds
#: In a worker: the measurement it was sent last, by its key.
_known: dict[str, Measure] = {}


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connects Ray to a cluster; what it prints meanwhile goes to stderr.

    A process that is connected already stays so.

    Args:
        address: ``"auto"`` for the cluster of this machine, or host and port of its head.

    Yields:
        The module ``ray``.

    Raises:
        ValueError: If Ray is not installed, or there is no such cluster.
    """
    if importlib.util.find_spec("ray") is None:
        raise ValueError(HOW_TO_INSTALL)
    if address.startswith("ray://"):
        raise ValueError(
            f"{address} is of Ray's client, which cannot stop single tasks; run this on a node of "
            "the cluster, with the address auto."
        )
    _check_reachable(address)
    import ray  # here alone: an extra, and slow to import

    with redirect_stdout(sys.stderr):
        if ray.is_initialized():
            yield ray
            return
        handler = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address=address, logging_level=logging.WARNING, log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise _no_cluster(address, error) from error
        try:
            signal.signal(signal.SIGTERM, handler)  # Ray has set its own
            yield ray
        finally:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """Makes sure that someone listens; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return  # a name, such as auto
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_TIMEOUT).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> ValueError:
    return ValueError(
        f"There is no Ray cluster at {address!r} ({first_line(error)}); start one with ray start "
        "--head, or give the address it printed."
    )


class RayCluster(Executor):
    """Candidates as tasks of a Ray cluster.

    The measurement is put into Ray's object store once, which sends it to each node once; each
    worker process reads it once.

    Args:
        measure: Measures a candidate.
        address: Address of the cluster, as for ``connected``.
        threads: CPU cores that each candidate takes, and threads it computes with.
        gpus: GPUs, or the part of one, that each candidate takes.
        trial_timeout: Seconds after which a candidate is stopped and fails; None for no limit.

    Raises:
        ValueError: If Ray is not installed, there is no such cluster, or a number is out of range.
    """

    def __init__(
        self,
        measure: Measure,
        *,
        address: str = "auto",
        threads: int = 1,
        gpus: float = 0.0,
        trial_timeout: float | None = None,
    ) -> None:
        super().__init__()
        check_timeout(trial_timeout)
        self._connection = ExitStack()
        self._ray = self._connection.enter_context(connected(address))
        self._threads, self._gpus, self._trial_timeout = threads, gpus, trial_timeout
        buffer = io.BytesIO()
        write_measure(measure, buffer)
        self._measure = self._ray.put(np.frombuffer(buffer.getbuffer(), np.uint8))
        self._key = uuid.uuid4().hex
        self._task = self._ray.remote(_measure_remotely).options(
            num_cpus=threads, num_gpus=gpus, num_returns="streaming", max_retries=0
        )
        self._running: dict[Any, _Running] = {}

    @property
    def capacity(self) -> int:
        """How many candidates fit on the nodes that there are, and at least 1."""
        sizes = []
        for node in self._ray.nodes():
            resources = node["Resources"] if node["Alive"] else {}
            size = int(resources.get("CPU", 0) // self._threads)
            if self._gpus:
                size = min(size, int(resources.get("GPU", 0) / self._gpus))
            sizes.append(size)
        return max(sum(sizes), 1)

    def submit(self, number: int, arch: Architecture) -> None:
        """Makes a task of a candidate; Ray puts it on a node."""
        settings = self._key, self._threads, os.getcwd()
        stream = self._task.remote(self._measure, settings, number, arch)
        self._running[stream] = _Running(number, arch)

    def poll(self, *, wait: bool) -> Trial | None:
        """Returns the trial of the first candidate that is finished, lost too often, or stopped."""
        assert self._running or not wait, "nothing was submitted"
        if not self._running:
            return None
        timeout = seconds_to_wait((each.deadline for each in self._running.values()), wait)
        ready, _ = self._ray.wait(list(self._running), timeout=timeout)
        for stream in ready:
            trial = self._advance(stream)
            if trial is not None:
                return trial
        for stream, each in list(self._running.items()):
            if time.monotonic() >= each.deadline:
                assert self._trial_timeout is not None
                del self._running[stream]
                self._ray.cancel(stream, force=True)
                return timed_out(each.number, each.arch, self._trial_timeout)
        return None

    def close(self) -> None:
        """Stops all tasks; one that trains from scratch may write a checkpoint before."""
        # a stream is ready by what its task has said as well, and its task may still run then
        ends = {stream.completed(): stream for stream in self._running}
        self._running.clear()
        for stream in ends.values():
            self._ray.cancel(stream)
        if ends:
            _, running = self._ray.wait(list(ends), num_returns=len(ends), timeout=GRACE)
            for end in running:
                self._ray.cancel(ends[end], force=True)
        self._connection.close()

    def _advance(self, stream: Any) -> Trial | None:
        """What a task says next, if it is a trial."""
        each, errors = self._running[stream], self._ray.exceptions
        try:
            said = self._ray.get(next(stream))
        except errors.OutOfMemoryError as error:
            del self._running[stream]
            return failed(each.number, each.arch, f"Out of memory: {first_line(error)}")
        except errors.RayError as error:
            del self._running[stream]
            if isinstance(error, errors.RayTaskError):
                # a worker that was asked to stop, and not by us, is lost as one that was killed is
                if not isinstance(error.cause, errors.TaskCancelledError):
                    raise (error.cause or error) from error
            trial = self._lose(each.number, each.arch, first_line(error))
            if trial is None:
                self.submit(each.number, each.arch)
            return trial
        if isinstance(said, Trial):
            del self._running[stream]
            return said
        if self._trial_timeout is not None:  # it has begun
            each.deadline = time.monotonic() + self._trial_timeout
        return None


class _Running:
    """A candidate that a task was made of."""

    def __init__(self, number: int, arch: Architecture) -> None:
        self.number, self.arch = number, arch
        self.deadline = float("inf")


def _measure_remotely(
    measure: Any, settings: tuple[str, int, str], number: int, arch: Architecture
) -> Iterator[Trial | None]:
    """The task: None when it is ready to measure, then the trial."""
    key, threads, folder = settings
    os.environ["TQDM_DISABLE"] = "1"
    import torch  # here, as not all that is measured needs it

    torch.set_num_threads(threads)
    with suppress(FileNotFoundError):  # paths that are relative are so to the driver's folder
        os.chdir(folder)
    if key not in _known:
        _known.clear()
        _known[key] = read_measure(io.BufferedReader(_View(memoryview(measure))))
    yield None
    yield _known[key](number, arch)


class _View(io.RawIOBase):
    """Reads bytes where they are: those of a node's object store are gigabytes, and for all."""

    def __init__(self, source: memoryview) -> None:
        self._source, self._position = source, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self._source)}
        self._position = start[whence] + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        part = self._source[self._position : self._position + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)
