"""Temporary files are removed, also after a kill, and nothing else."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest

from supernets.runtime.temporary_file import TemporaryFile, remove_dead_files, room_for_files

KIND = ("paceline-workers-", "measure.pt")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def make_old(folder: Path) -> None:
    os.utime(folder, (0, 0))


def test_a_file_leaves_nothing_once_it_is_closed(temporary: Path) -> None:
    file = TemporaryFile(*KIND)
    file.path.write_bytes(b"weights")
    file.close()
    assert list(temporary.iterdir()) == []


def test_the_file_of_a_killed_process_is_removed_by_the_next_and_that_of_a_live_one_is_not(
    temporary: Path,
) -> None:
    child = os.fork()
    if child == 0:
        TemporaryFile(*KIND).path.write_bytes(b"weights")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (dead,) = temporary.iterdir()
    assert (dead / "measure.pt").exists()
    live = TemporaryFile(*KIND)
    live.path.write_bytes(b"weights")
    assert dead.exists()  # too young to be sure
    make_old(dead)
    make_old(live.path.parent)
    TemporaryFile(*KIND).close()
    assert list(temporary.iterdir()) == [live.path.parent] and live.path.exists()
    live.close()


def test_folders_with_foreign_files_and_links_stay(temporary: Path) -> None:
    foreign = temporary / "paceline-workers-notes"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("mine")
    (temporary / "paceline-workers-link").symlink_to(foreign)
    make_old(foreign)
    remove_dead_files(*KIND)
    assert (foreign / "notes.txt").exists() and (temporary / "paceline-workers-link").exists()


def test_a_process_that_was_forked_removes_nothing() -> None:
    file = TemporaryFile(*KIND)
    file.path.write_bytes(b"weights")
    child = os.fork()
    if child == 0:
        file.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert file.path.exists()
    file.close()
    assert not file.path.parent.exists()


def test_a_disk_too_full_for_the_lock_leaves_no_folder(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left on device"):
        TemporaryFile(*KIND)
    assert list(temporary.iterdir()) == []


def test_room_is_that_of_the_folder_of_temporary_files(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, free = room_for_files()
    assert folder == temporary and isinstance(free, int)
    temporary.rmdir()
    assert room_for_files() == (temporary, None)

    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    monkeypatch.setenv("TMPDIR", str(temporary / "missing"))
    assert room_for_files() == (temporary / "missing", None)
