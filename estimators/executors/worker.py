"""What runs in a worker: the measurement it was sent, kept from candidate to candidate."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import torch

from estimators.executors.base import ExecutorError, Measure
from estimators.trials.store import Trial
from supernets.runtime.named_objects import load_file, loaded_files
from supernets.runtime.own_code import told_error
from supernets.spaces import Architecture
from supernets.training.checkpoint import write_archive

_measure: Measure | None = None


def start(path: Path, threads: int, gpu: str | None) -> None:
    """Makes this process a worker of ``LocalProcesses``.

    Args:
        path: File of the measurement that ``write_measure`` wrote; its tensors are mapped, not
            copied, where they stay on the CPU.
        threads: Number of threads for CPU operations.
        gpu: The only GPU the worker sees, as ``CUDA_VISIBLE_DEVICES`` names it; None for all those
            of this process.
    """
    global _measure
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["TQDM_DISABLE"] = "1"
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    torch.set_num_threads(threads)
    _measure = read_measure(path)


def is_ready() -> None:
    """Returns once this process has started."""


def measure(number: int, arch: Architecture) -> Trial:
    """Measures a candidate."""
    assert _measure is not None
    return _measure(number, arch)


def write_measure(measure: Measure, target: Any) -> None:
    """Writes a measurement with all it needs, weights and minibatches among them.

    Args:
        measure: Measurement to write.
        target: File or buffer, as of ``torch.save``.

    Raises:
        OSError: If a file cannot be written.
        ExecutorError: If what measures cannot be sent, as an estimator of a class within a
            function.
    """
    sent = (_Code(loaded_files()), measure)
    try:
        if isinstance(target, Path):
            write_archive(target, sent)
        else:
            torch.save(sent, target)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ExecutorError(
            f"What measures cannot be sent to workers: {told_error(error)}. Its classes and "
            "functions must be found by their names in a module, and what they hold be picklable; "
            "or measure without workers."
        ) from error


def size_of_measure(measure: Measure) -> int:
    """Returns how many bytes ``write_measure`` writes."""
    counter = _Counter()
    write_measure(measure, counter)
    return counter.num_bytes


class _Counter:
    """A file that counts what is written to it."""

    def __init__(self) -> None:
        self.num_bytes = 0

    def write(self, data: Any) -> int:
        """Counts bytes."""
        size = memoryview(data).nbytes
        self.num_bytes += size
        return size

    def flush(self) -> None:
        """Does nothing."""


def read_measure(source: Any) -> Measure:
    """Reads what ``write_measure`` of this very run wrote.

    Args:
        source: File or buffer, as of ``torch.load``.
    """
    # this run's own file, which holds objects and not only tensors
    _, found = torch.load(source, mmap=isinstance(source, Path), weights_only=False)
    measure: Measure = found
    return measure


class _Code:
    """Files of one's own that were loaded, which are loaded as this is read: before what follows.

    Args:
        files: Their paths.
    """

    def __init__(self, files: tuple[Path, ...]) -> None:
        self.files = files
        for path in files:
            load_file(path)

    def __reduce__(self) -> tuple[type[_Code], tuple[tuple[Path, ...]]]:
        return _Code, (self.files,)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
