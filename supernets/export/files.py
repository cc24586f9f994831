"""Which files of a folder an export wrote, and how those of another export take their place.

Nothing else is ever removed or replaced. Where there is no folder yet, a new one is written beside
it under another name and renamed. Otherwise the new files are written in ``.paceline-export/new``
within the folder, which is then renamed to ``complete``: from here on the new export is the one
that is read, see ``find_file``, and its files are moved into place one by one, the record last.
A process that is killed leaves the old export or the new one; the next export there finishes what
it had begun to move, and removes what it had not.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from supernets.runtime.folder_lock import FolderLock
from supernets.runtime.foreign_fields import ForeignFileError, read_json
from supernets.runtime.outputs import WorkError

FORMAT = "paceline-subnet"
RECORD = "subnet.json"
WEIGHTS = "weights.safetensors"
LOADER = "load_with_timm.py"
PICTURE = "cells.png"
#: All that an export writes.
NAMES = (RECORD, WEIGHTS, "subnet.pt2", "subnet.onnx", "config.json", LOADER, PICTURE)
_WORK = ".paceline-export"
_NEW, _COMPLETE = "new", "complete"


class ExportError(WorkError, ValueError):
    """An export cannot be written where it was asked for."""


def check_export_target(output: Path, *, overwrite: bool = False) -> None:
    """Makes sure that an export may be written to ``output``.

    Args:
        output: A folder that is missing or empty, or holds an export.
        overwrite: Whether an export may be replaced, that is, the files of its own.

    Raises:
        ExportError: If something is there that is no export, an export is not to be replaced, or a
            file that an export would replace is not one that an export wrote.
    """
    if not output.exists():
        return
    try:
        names = set(os.listdir(output)) - {_WORK}
    except NotADirectoryError:
        names = {output.name}
    except OSError as error:
        raise ExportError(f"{output} cannot be read: {error.strerror}.") from error
    if not holds_export(output):
        if names:
            raise ExportError(f"{output} exists and is no exported subnet; choose another folder.")
        return
    if not overwrite:
        raise ExportError(
            f"{output} holds an exported subnet; pass --overwrite to replace the files of that "
            "export and nothing else, or choose another folder."
        )
    foreign = sorted(names.intersection(NAMES) - own_files(output))
    if foreign and not (output / _WORK / _COMPLETE).exists():
        raise ExportError(
            f"{output / foreign[0]} is not the file that an export wrote there, and another export "
            "would replace it; move it away, or choose another folder."
        )


def holds_export(folder: Path) -> bool:
    """Returns whether the folder has an export, be its files moved into place or not."""
    return _read_record(find_file(folder, RECORD).parent) is not None


def own_files(folder: Path) -> set[str]:
    """Returns the names of the files in an export that are as it was written.

    Exports of before they had checksums of all files are told by what their record names.
    """
    record = _read_record(folder)
    if record is None:
        return set()
    checksums = record.get("files")
    if not isinstance(checksums, dict):
        names = {RECORD, WEIGHTS, *dict(record.get("formats") or {})}
        if LOADER in names:
            names.add("config.json")
        if record.get("space") != "mobilenetv3":
            names.add(PICTURE)
        return {name for name in names.intersection(NAMES) if (folder / name).is_file()}
    return {RECORD} | {
        name
        for name in set(NAMES).intersection(checksums)
        if (folder / name).is_file() and sha256(folder / name) == checksums[name]
    }


def find_file(folder: Path, name: str) -> Path:
    """Finds a file of an export, even if its files were not all moved into place."""
    complete = folder / _WORK / _COMPLETE
    if (complete / RECORD).is_file() and (complete / name).exists():
        return complete / name
    return folder / name


@contextmanager
def new_export(output: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yields an empty folder, of which the files become those of ``output`` at the end.

    Left by an exception, everything stays as it was.

    Args:
        output: Folder of the export, which ``check_export_target`` accepts; the folders above it
            are made.
        overwrite: Whether an export there is replaced.

    Raises:
        ExportError: As ``check_export_target``, or if another process is writing there.
        OSError: If something cannot be written.
    """
    target = Path(os.path.realpath(output))  # a link stays one
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FolderLock.beside(target)
    try:
        lock.acquire()
    except ValueError as error:
        raise ExportError(str(error)) from error
    with lock:
        yield from _write_locked(output, target, overwrite)


def clean_up(folder: Path) -> None:
    """Finishes what a killed process had begun to move into place, and removes what it had not.

    Args:
        folder: Folder of an export, locked so that nobody else writes there.
    """
    if (folder / _WORK / _COMPLETE / RECORD).is_file():
        _move_into_place(folder)
    for work in (folder / _WORK, _work_beside(folder)):
        if work.is_dir() and not work.is_symlink():
            shutil.rmtree(work)  # has no files but those of exports


def sha256(path: Path) -> str:
    """Computes the SHA-256 checksum of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _write_locked(output: Path, target: Path, overwrite: bool) -> Iterator[Path]:
    clean_up(target)
    check_export_target(output, overwrite=overwrite)
    is_there = target.is_dir()
    work = target / _WORK if is_there else _work_beside(target)
    new = work / _NEW if is_there else work
    try:
        new.mkdir(parents=True)
        yield new
        for path in new.iterdir():
            path.chmod(0o644)  # safetensors makes its file unreadable for others
            _sync(path)
        _sync(new)
        if is_there:
            os.replace(new, work / _COMPLETE)
            _sync(work)
            _move_into_place(target)
        else:
            os.replace(new, target)
            _sync(target.parent)
    finally:
        if not (work / _COMPLETE / RECORD).is_file():  # else another process will finish it
            shutil.rmtree(work, ignore_errors=True)


def _move_into_place(folder: Path) -> None:
    """Replaces the files of an export by those of a complete one; goes on where it was stopped."""
    complete = folder / _WORK / _COMPLETE
    record = _read_record(complete)
    assert record is not None
    names = set(NAMES).intersection(record["files"])
    for name in own_files(folder) - names - {RECORD}:
        (folder / name).unlink()
    for name in (*sorted(names), RECORD):  # the record last, for it says that all are there
        if (complete / name).exists():
            os.replace(complete / name, folder / name)
    _sync(folder)
    complete.rmdir()
    complete.parent.rmdir()


def _work_beside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}{_WORK}")


def _read_record(folder: Path) -> Mapping[str, Any] | None:
    """What ``subnet.json`` holds; None if there is none that an export wrote."""
    try:
        record = read_json(folder / RECORD, "an exported subnet")
    except ForeignFileError:
        return None
    return record if isinstance(record, dict) and record.get("format") == FORMAT else None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
