"""Processes of this machine: how they end, and what they leave alone."""

from __future__ import annotations

import io
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from estimators.executors import ExecutorError, LocalProcesses, Measure, worker
from supernets.runtime import temporary_file
from supernets.spaces import Architecture
from tests.forked_program import ForkedProgram

HERE = Path(__file__).parent
MakeCandidates = Callable[[int], Sequence[tuple[int, Architecture]]]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_at_least_one_worker(planned: Callable[..., Measure]) -> None:
    with pytest.raises(ValueError, match="num_workers must be at least 1, got 0"):
        LocalProcesses(planned(), num_workers=0)


@pytest.mark.slow
@pytest.mark.usefixtures("forked_workers")
def test_all_workers_measure(
    planned: Callable[..., Measure], make_candidates: MakeCandidates
) -> None:
    with LocalProcesses(planned(seconds=0.3), num_workers=2) as executor:
        # the second of them may start later than the first
        pids = [int(trial.metrics["pid"]) for trial in executor.measure(make_candidates(40))]
        assert os.getpid() not in pids and len(set(pids)) == 2
    assert not any(map(is_running, pids))


@pytest.mark.slow
@pytest.mark.usefixtures("forked_workers")
def test_one_that_ends_while_it_has_nothing_to_do(
    planned: Callable[..., Measure], make_candidates: MakeCandidates
) -> None:
    first, second = make_candidates(2)
    with LocalProcesses(planned(), num_workers=1) as executor:
        executor.submit(*first)
        pid = int(executor.next().metrics["pid"])
        os.kill(pid, signal.SIGKILL)
        while is_running(pid):
            time.sleep(0.05)
        executor.submit(*second)
        assert executor.next().metrics["pid"] != pid
        assert executor.num_lost <= 1


@pytest.mark.slow
@pytest.mark.usefixtures("forked_workers")
def test_workers_that_cannot_start(
    monkeypatch: pytest.MonkeyPatch, make_candidates: MakeCandidates
) -> None:
    monkeypatch.syspath_prepend(HERE)
    from measurements import Unreadable

    with LocalProcesses(Unreadable(), num_workers=1) as executor:
        executor.submit(*make_candidates(1)[0])
        with pytest.raises(ExecutorError, match="ended 3 times before it was ready"):
            executor.next()


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from measurements import Planned
from estimators.executors import LocalProcesses
from supernets.spaces import NASBench201Space

if __name__ == "__main__":
    space = NASBench201Space()
    archs = space.architectures(space.all_choices()[:3])
    with LocalProcesses(Planned(Path(sys.argv[2]), hangs=(1, 2)), num_workers=1) as executor:
        for number, arch in enumerate(archs):
            executor.submit(number, arch)
        print(int(executor.next().metrics["pid"]), flush=True)
        executor.next()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_process(
    tmp_path: Path, number: signal.Signals, forked_program: Callable[..., ForkedProgram]
) -> None:
    """The workers themselves start as a user's do."""
    (tmp_path / "script.py").write_text(SCRIPT)
    printed, errors = tmp_path / "printed", tmp_path / "errors"
    with open(printed, "w") as stdout, open(errors, "w") as stderr:
        process = forked_program(
            [sys.executable, str(tmp_path / "script.py"), str(HERE), str(tmp_path)],
            cwd=Path.cwd(),
            env=os.environ,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    with process:
        while not printed.read_text().endswith("\n"):
            assert process.poll() is None, errors.read_text()
            time.sleep(0.05)
        pid = int(printed.read_text())
        if number is signal.SIGINT:
            os.killpg(process.pid, number)  # Ctrl-C is for all processes of a terminal
        else:
            os.kill(process.pid, number)
        process.wait(timeout=60)
    deadline = time.monotonic() + 30
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_running(pid)
    found = errors.read_text()
    assert found.count("KeyboardInterrupt") <= (number is signal.SIGINT), found


@pytest.mark.parametrize("at", ["the lock", "the file"])
def test_a_full_temporary_disk_is_one_line_and_leaves_nothing(
    at: str, tmp_path: Path, planned: Callable[..., Measure], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "pwrite" if at == "the lock" else "fsync", full)
    usage = type("Usage", (), {"free": 0})
    monkeypatch.setattr(temporary_file.shutil, "disk_usage", lambda _: usage)
    measure = planned()
    torch.save((), written := io.BytesIO())
    with pytest.raises(ExecutorError) as caught:
        LocalProcesses(measure, num_workers=1)
    size = worker.size_of_measure(measure)
    assert size > written.tell()
    assert str(caught.value) == (
        f"What workers read, {size / 1000:.3g} kB of weights and minibatches, cannot be written to "
        f"{tmp_path}, which has 0 bytes free: No space left on device. Set TMPDIR to a folder with "
        "room, or measure without --workers."
    )
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_for_workers_is_the_error_of_that(
    tmp_path: Path, planned: Callable[..., Measure], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(content: object, file: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", "val/7.png")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(torch, "save", missing)
    with pytest.raises(FileNotFoundError, match="7.png"):
        LocalProcesses(planned(), num_workers=1)
    assert list(tmp_path.iterdir()) == []
