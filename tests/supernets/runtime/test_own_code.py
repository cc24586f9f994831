"""What fails in code of one's own is one line that says where."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from supernets.runtime.outputs import OutputError
from supernets.runtime.own_code import OwnCodeError, running_own


def fail(error: Exception) -> None:
    raise error


class Broken(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        raise OSError("no such picture")


def test_the_line_is_the_last_one_of_the_users() -> None:
    line = fail.__code__.co_firstlineno + 1
    where = f" \\(test_own_code.py, line {line}\\)\\."
    for error, reason in (
        (RuntimeError("a\n  b"), "RuntimeError: a b"),
        (OSError(5, "broken", "file"), r"OSError: \[Errno 5\] broken: 'file'"),
        (KeyError("width"), "KeyError: 'width'"),
        (AssertionError(), "AssertionError"),
    ):
        with (
            pytest.raises(OwnCodeError, match=f"^make failed: {reason}{where}$"),
            running_own("make"),
        ):
            fail(error)
    with pytest.raises(OwnCodeError, match=r"mat1 and mat2 .* \(test_own_code.py, line \d+\)\.$"):
        with running_own("make"):
            torch.nn.Linear(2, 3)(torch.zeros(1, 4))


def test_what_failed_in_a_worker_process_is_told_as_if_it_had_here() -> None:
    line = Broken.__iter__.__code__.co_firstlineno + 1
    reason = re.escape(f"OSError: no such picture (test_own_code.py, line {line}).")
    with pytest.raises(OwnCodeError, match=f"^data failed: {reason}$"), running_own("data"):
        next(iter(DataLoader(Broken(), num_workers=1)))


def test_errors_that_are_told_in_a_line_already_stay_as_they_are() -> None:
    with pytest.raises(OutputError, match="^disk is full$"), running_own("make"):
        raise OutputError("disk is full")
