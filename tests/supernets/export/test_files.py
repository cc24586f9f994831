"""What an export writes and replaces in a folder, and what is left when it is killed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from supernets.export.files import (
    FORMAT,
    NAMES,
    RECORD,
    ExportError,
    check_export_target,
    find_file,
    holds_export,
    new_export,
    own_files,
    sha256,
)
from supernets.runtime.folder_lock import FolderLock

OLD = {"weights.safetensors": "old weights", "subnet.pt2": "old program", "cells.png": "old cells"}
NEW = {"weights.safetensors": "new weights", "cells.png": "new cells", "subnet.onnx": "new onnx"}


class Killed(BaseException):
    """What no code catches."""


def fill(folder: Path, contents: Mapping[str, str], **changes: Any) -> None:
    """Writes stand-ins for the files of an export."""
    for name, text in contents.items():
        (folder / name).write_text(text)
    checksums = {name: sha256(folder / name) for name in contents}
    record = {"format": FORMAT, "space": "nasbench201", "files": checksums, **changes}
    (folder / RECORD).write_text(json.dumps(record))


def write(output: Path, files: Mapping[str, str], *, overwrite: bool = False) -> None:
    with new_export(output, overwrite=overwrite) as folder:
        fill(folder, files)


def contents(folder: Path) -> dict[str, str]:
    """All files but the record, as they lie there."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != RECORD]
    return {str(path.relative_to(folder)): path.read_text() for path in paths}


def as_read(folder: Path) -> dict[str, str]:
    """The files of the export that a reader finds, each with the checksum of the record."""
    record = json.loads(find_file(folder, RECORD).read_text())
    for name, checksum in record["files"].items():
        assert sha256(find_file(folder, name)) == checksum, f"{name} is of another export"
    return {name: find_file(folder, name).read_text() for name in record["files"]}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An export, alone in its folder."""
    write(tmp_path / "here" / "subnet", OLD)
    return tmp_path / "here" / "subnet"


def test_a_new_folder_holds_the_export_and_nothing_lies_beside_it(output: Path) -> None:
    assert contents(output) == OLD
    assert own_files(output) == {RECORD, *OLD}
    assert os.listdir(output.parent) == ["subnet"]


def test_an_export_over_a_users_folder_removes_nothing_of_theirs(output: Path) -> None:
    mine = {"notes.txt": "mine", "plots/curve.svg": "mine", "weights.pt": "mine"}
    (output / "plots").mkdir()
    for name, text in mine.items():
        (output / name).write_text(text)
    with pytest.raises(ExportError, match="holds an exported subnet; pass --overwrite"):
        write(output, NEW)
    assert contents(output) == OLD | mine
    write(output, NEW, overwrite=True)
    assert contents(output) == NEW | mine  # the program of the old export is gone
    assert as_read(output) == NEW
    assert os.listdir(output.parent) == ["subnet"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_no_export_is_refused_with_all_it_holds(
    overwrite: bool, tmp_path: Path
) -> None:
    for name, text in (("subnet.pt2", "mine"), (RECORD, '{"format": "other"}'), (RECORD, "[")):
        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / name).write_text(text)
        with pytest.raises(ExportError, match="exists and is no exported subnet"):
            write(folder, NEW, overwrite=overwrite)
        assert {path.name: path.read_text() for path in folder.iterdir()} == {name: text}
        shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["subnet.onnx", "config.json", "cells.png", "subnet.pt2"])
def test_a_users_file_under_a_name_of_ours_is_refused(name: str, output: Path) -> None:
    """Added, or put in the place of one that an export wrote."""
    (output / name).write_text("mine")
    with pytest.raises(ExportError, match=f"{name} is not the file that an export wrote there"):
        write(output, NEW, overwrite=True)
    assert contents(output) == OLD | {name: "mine"}


def test_a_record_cannot_make_an_export_remove_other_files(output: Path) -> None:
    precious = output.parent / "thesis.txt"
    precious.write_text("mine")
    (output / "notes.txt").write_text("mine")
    record = json.loads((output / RECORD).read_text())
    for name in ("../thesis.txt", "notes.txt"):
        record["files"][name] = sha256(output / name)
    (output / RECORD).write_text(json.dumps(record))
    write(output, NEW, overwrite=True)
    assert contents(output) == NEW | {"notes.txt": "mine"}
    assert precious.read_text() == "mine"


def test_of_an_export_without_checksums_what_its_record_names_is_replaced(tmp_path: Path) -> None:
    formats = {"subnet.pt2": {}, "load_with_timm.py": {}}
    files = dict.fromkeys([*formats, "weights.safetensors", "config.json"], "old")
    fill(tmp_path, files, formats=formats, space="mobilenetv3", files=None)
    assert own_files(tmp_path) == {RECORD, *files}
    (tmp_path / "subnet.onnx").write_text("mine")
    with pytest.raises(ExportError, match=r"subnet\.onnx is not the file"):
        write(tmp_path, NEW, overwrite=True)
    (tmp_path / "subnet.onnx").rename(tmp_path / "mine.onnx")
    write(tmp_path, NEW, overwrite=True)
    assert contents(tmp_path) == NEW | {"mine.onnx": "mine"}


def test_an_empty_folder_and_a_link_to_one_are_taken(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    write(tmp_path / "link", OLD)
    assert (tmp_path / "link").is_symlink() and contents(tmp_path / "disk") == OLD
    write(tmp_path / "link", NEW, overwrite=True)
    assert (tmp_path / "link").is_symlink() and contents(tmp_path / "disk") == NEW


def test_a_failed_export_leaves_everything_as_it_was(output: Path) -> None:
    (output / "notes.txt").write_text("mine")
    for target in (output, output.parent / "other"):
        with (
            pytest.raises(RuntimeError, match="differ"),
            new_export(target, overwrite=True) as folder,
        ):
            fill(folder, NEW)
            raise RuntimeError("logits differ")
    assert contents(output.parent) == {
        f"subnet/{name}": text for name, text in {**OLD, "notes.txt": "mine"}.items()
    }
    assert sorted(os.listdir(output)) == sorted([RECORD, *OLD, "notes.txt"])
    assert os.listdir(output.parent) == ["subnet"]


def killed_at(step: int, monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]) -> bool:
    """Stops at the given change of the folder, as SIGKILL does: no clean-up either."""
    count = 0

    def stopping(real: Callable[..., Any]) -> Callable[..., Any]:
        def change(*args: Any, **settings: Any) -> Any:
            nonlocal count
            if not str(args[0]).endswith(".lock"):  # which the system would end
                count += 1
                if count > step:
                    raise Killed
            return real(*args, **settings)

        return change

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stopping(os.replace))
        for name in ("unlink", "rmdir", "mkdir", "write_text"):
            patch.setattr(Path, name, stopping(getattr(Path, name)))
        patch.setattr(shutil, "rmtree", stopping(shutil.rmtree))
        try:
            work()
        except Killed:
            return True
    return False


@pytest.mark.parametrize("is_first", [True, False])
def test_killed_at_any_step_the_old_or_the_new_export_is_there(
    is_first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the same command again ends as if nothing had happened, with all that is the user's."""
    found = []
    for step in range(100):
        output = tmp_path / str(step) / "subnet"
        mine = {} if is_first else {"notes.txt": "mine"}
        if not is_first:
            write(output, OLD)
            (output / "notes.txt").write_text("mine")
        was_killed = killed_at(step, monkeypatch, partial(write, output, NEW, overwrite=True))
        if holds_export(output):
            found.append(as_read(output))
            assert found[-1] in ((NEW,) if is_first else (OLD, NEW))
        else:
            assert is_first and not output.exists()
            found.append({})
        assert is_first or (output / "notes.txt").read_text() == "mine"
        write(output, NEW, overwrite=True)
        assert contents(output) == NEW | mine
        assert os.listdir(output.parent) == ["subnet"], "something of the killed one is left"
        assert not [name for name in os.listdir(output) if name.startswith(".")]
        if not was_killed:
            break
    assert not was_killed and found[0] != NEW and found[-1] == NEW
    assert step > (5 if is_first else 10)


def test_another_process_that_writes_there_is_waited_for_and_named(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supernets.runtime.folder_lock.WAIT", 0.0)
    with (
        FolderLock.beside(output),
        pytest.raises(ExportError, match=f"{output} is in use: process {os.getpid()}"),
    ):
        write(output, NEW, overwrite=True)
    assert contents(output) == OLD


def test_names_are_those_an_export_has() -> None:
    assert {*OLD, *NEW, RECORD} <= set(NAMES)
    check_export_target(Path("is", "not", "there"))
