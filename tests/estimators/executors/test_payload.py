"""What workers read is removed, also after a kill, and nothing else."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from estimators.executors import LocalProcesses, Measure
from estimators.executors.payload import Payload, remove_dead_payloads


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def make_old(folder: Path) -> None:
    os.utime(folder, (0, 0))


def test_a_payload_leaves_nothing_once_it_is_closed(temporary: Path) -> None:
    payload = Payload()
    payload.path.write_bytes(b"weights")
    payload.close()
    assert list(temporary.iterdir()) == []


def test_the_payload_of_a_killed_process_is_removed_by_the_next_and_that_of_a_live_one_is_not(
    temporary: Path,
) -> None:
    child = os.fork()
    if child == 0:
        Payload().path.write_bytes(b"weights")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (dead,) = temporary.iterdir()
    assert (dead / "measure.pt").exists()
    live = Payload()
    live.path.write_bytes(b"weights")
    assert dead.exists()  # too young to be sure
    make_old(dead)
    make_old(live.path.parent)
    Payload().close()
    assert list(temporary.iterdir()) == [live.path.parent] and live.path.exists()
    live.close()


def test_folders_with_foreign_files_and_links_stay(temporary: Path) -> None:
    foreign = temporary / "paceline-workers-notes"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("mine")
    (temporary / "paceline-workers-link").symlink_to(foreign)
    make_old(foreign)
    remove_dead_payloads()
    assert (foreign / "notes.txt").exists() and (temporary / "paceline-workers-link").exists()


def test_a_full_temporary_disk_is_the_error_of_that_file_and_leaves_nothing(
    temporary: Path, planned: Callable[..., Measure], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(content: object, file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left on device: .*measure.pt"):
        LocalProcesses(planned(), num_workers=1)
    assert list(temporary.iterdir()) == []
