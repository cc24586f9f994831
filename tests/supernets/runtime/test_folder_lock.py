from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from supernets.runtime import folder_lock
from supernets.runtime.folder_lock import LOCK_FILE, FolderLock, holder_of

HOLD = """
import os, sys, time
from pathlib import Path
from supernets.runtime.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1])).acquire()
child = os.fork()
if child == 0:
    time.sleep(60)
    os._exit(0)
print(child, flush=True)
time.sleep(60)
"""


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_lock, "WAIT", 0.0)


@pytest.mark.usefixtures("no_wait")
def test_a_second_lock_names_the_folder_the_owner_and_what_to_do(tmp_path: Path) -> None:
    with FolderLock(tmp_path):
        message = f"{tmp_path} is in use: process {os.getpid()} on .*choose another --output"
        with pytest.raises(ValueError, match=message):
            FolderLock(tmp_path).acquire()
        assert (tmp_path / LOCK_FILE).exists()  # the refused one left it alone


@pytest.mark.usefixtures("no_wait")
def test_a_released_lock_leaves_no_file_and_can_be_taken_again(tmp_path: Path) -> None:
    for _ in range(2):
        with FolderLock(tmp_path):
            pass
        assert list(tmp_path.iterdir()) == []


def test_a_lock_ends_with_its_killed_owner_even_where_a_forked_worker_lives_on(
    tmp_path: Path,
) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    child = int(owner.stdout.readline())
    try:
        with pytest.raises(ValueError, match=f"process {owner.pid}"):
            FolderLock(tmp_path).acquire(wait=0)
        owner.kill()
        owner.wait()
        with FolderLock(tmp_path).acquire(wait=1):
            pass
    finally:
        owner.kill()
        os.kill(child, signal.SIGKILL)
        owner.stdout.close()


def test_a_lock_waits_for_an_owner_that_ends_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = FolderLock(tmp_path).acquire()
    monkeypatch.setattr(folder_lock.time, "sleep", lambda _: first.release())
    FolderLock(tmp_path).acquire().release()


@pytest.mark.usefixtures("no_wait")
def test_a_lock_beside_holds_while_its_target_is_missing_or_renamed(tmp_path: Path) -> None:
    target = tmp_path / "subnet"
    with FolderLock.beside(target):
        target.mkdir()
        target.rename(tmp_path / "old")
        with pytest.raises(ValueError, match=f"{target} is in use"):
            FolderLock.beside(target).acquire()
        with FolderLock.beside(tmp_path / "old"):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_a_lock_file_that_was_left_by_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text('{"pid": 1, "host": "elsewhere"')
    with FolderLock(tmp_path, holder="attempt 0").acquire(wait=0.5):
        assert holder_of(tmp_path) == "attempt 0"
    assert holder_of(tmp_path) is None


def test_a_disk_without_locks_is_used_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unsupported(descriptor: int, operation: int) -> None:
        raise OSError(folder_lock.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(folder_lock.fcntl, "flock", unsupported)
    with FolderLock(tmp_path):
        assert f"The disk of {tmp_path} has no locks" in caplog.text
