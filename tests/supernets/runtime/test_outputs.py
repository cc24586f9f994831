"""What a command writes belongs to it alone, is made late, and goes if nothing came of it."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from supernets.runtime import folder_lock, outputs
from supernets.runtime.folder_lock import LOCK_FILE, FolderLock
from supernets.runtime.outputs import OutputError, Outputs, saying_what_is_safe
from supernets.runtime.ranks import ProcessInfo


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_lock, "WAIT", 0.0)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_nothing_is_made_before_preparation_is_over(tmp_path: Path) -> None:
    with Outputs() as files:
        files.own(tmp_path / "a" / "b")
        assert names(tmp_path) == []
        files.begin()
        assert names(tmp_path / "a" / "b") == [LOCK_FILE]
    assert names(tmp_path / "a" / "b") == []


def test_what_was_made_goes_again_with_the_parents_and_what_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "trials.db").write_text("old")
    with Outputs() as files:
        files.own(tmp_path / "mine")
        files.own(tmp_path / "a" / "b")
        files.create()
        for folder in (tmp_path / "mine", tmp_path / "a" / "b"):
            files.new_file(folder / "trials.db")
            (folder / "trials.db").write_text("new")
    assert names(tmp_path) == ["mine"] and names(tmp_path / "mine") == ["trials.db"]


def test_a_folder_that_got_foreign_files_is_not_removed(tmp_path: Path) -> None:
    with Outputs() as files:
        files.own(tmp_path / "a")
        files.create()
        (tmp_path / "a" / "notes.txt").write_text("mine")
    assert names(tmp_path / "a") == ["notes.txt"]


def test_a_folder_that_another_process_writes_is_refused(tmp_path: Path) -> None:
    with FolderLock(tmp_path), Outputs() as files:
        with pytest.raises(ValueError, match="is in use.*choose another --scratch-dir"):
            files.own(tmp_path, option="--scratch-dir")
        files.own_file(tmp_path / "table.json")  # a file of its own in there
        with pytest.raises(ValueError, match="table.json is in use"):
            Outputs().own_file(tmp_path / "table.json")


def test_a_folder_that_another_process_made_and_left_meanwhile_is_not_taken(tmp_path: Path) -> None:
    with Outputs() as files:
        files.own(tmp_path / "run")
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "last.pt").write_text("weights")
        with pytest.raises(ValueError, match="Another process wrote into .*run meanwhile"):
            files.create()
    assert names(tmp_path / "run") == ["last.pt"]


def test_unfinished_files_of_killed_processes_go_and_no_others(tmp_path: Path) -> None:
    dead = [".last.pt.7.tmp", ".trials.csv.7.paceline.tmp"]
    others = [".last.pt.tmp", ".notes.7.tmp", ".table.json.7.paceline.tmp", ".table.json.lock"]
    for name in (*dead, *others):
        (tmp_path / name).write_text("half")
    with Outputs() as files:
        files.own(tmp_path)
        assert names(tmp_path) == sorted([*others, LOCK_FILE])  # table.json has an owner of its own


def test_a_refused_process_leaves_the_temporary_files_of_the_first(tmp_path: Path) -> None:
    (tmp_path / ".last.pt.7.tmp").write_text("half")
    with FolderLock(tmp_path), pytest.raises(ValueError, match="is in use"):
        Outputs().own(tmp_path)
    assert names(tmp_path) == [".last.pt.7.tmp"]


def test_an_output_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for output in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ValueError, match="Cannot write to --output .*choose another --output"):
            Outputs().own(output)


def test_a_read_only_output_is_refused_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for output in (tmp_path / "run", tmp_path / "a" / "run"):
        with pytest.raises(ValueError, match="Cannot write to --output"):
            Outputs().own(output)
    with pytest.raises(ValueError, match="Cannot write to --export"):
        Outputs().add(tmp_path, option="--export")
    assert names(tmp_path) == []


def test_a_full_disk_at_the_lock_is_a_users_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(ValueError, match="No space left on device; choose another --output"):
        Outputs().own(tmp_path)
    assert names(tmp_path) == []


def test_other_ranks_wait_until_rank_0_has_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_lock, "WAIT", 5.0)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "new")
    old = FolderLock(tmp_path, holder="of an older start").acquire()
    seen: list[str] = []

    def run(rank: int) -> None:
        with Outputs() as files:
            files.own(tmp_path, ranks=ProcessInfo(rank, rank, 2))
            seen.append(f"rank {rank}")
            time.sleep(0.5)

    threads = [threading.Thread(target=run, args=[rank]) for rank in (1, 0)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    assert seen == []
    seen.append("old ends")
    old.release()
    for thread in threads:
        thread.join()
    assert seen[0] == "old ends" and set(seen[1:]) == {"rank 0", "rank 1"}


def test_other_ranks_go_on_with_a_warning_where_they_do_not_see_the_folder_of_rank_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outputs, "RANKS_WAIT", 0.0)
    Outputs().own(tmp_path, ranks=ProcessInfo(1, 0, 2))
    assert "Rank 0 was not seen to take" in caplog.text


def test_every_layer_adds_what_is_safe_to_the_error_of_a_file() -> None:
    with (
        pytest.raises(OutputError) as caught,
        saying_what_is_safe(lambda: "Go on with --resume."),
        saying_what_is_safe(lambda: "last.pt holds step 3."),
    ):
        raise OSError(28, "No space left on device", "last.pt")
    assert str(caught.value) == (
        "last.pt: No space left on device. last.pt holds step 3. Go on with --resume."
    )
