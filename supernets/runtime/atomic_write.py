"""Files that are either the old or the new version, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

#: Names of temporary files, those of earlier versions among them.
_UNFINISHED = re.compile(r"\.(.+)\.\d+\.paceline\.tmp|\.(last\.pt)\.\d+\.tmp")


@contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Opens a temporary file beside ``path`` that replaces it once written and synced.

    Args:
        path: The file to write; its folder must exist.
        mode: ``"w"`` for text in UTF-8, line ends as they are written and bytes of file names that
            are not UTF-8 as ``\\udc..``; ``"wb"`` for bytes.

    Raises:
        OSError: If it cannot be written; names ``path``, which is then as it was before.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.paceline.tmp")
    try:
        text = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}
        with open(temporary, mode, **({} if "b" in mode else text)) as file:  # type: ignore[call-overload]
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to tell
            temporary.unlink(missing_ok=True)
        with naming_file(path, temporary):
            raise


@contextmanager
def naming_file(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Lets errors of writing, which do not say what was written, name a file.

    Args:
        path: The file that is written.
        temporary: Name of the file meanwhile, which an error may have; None if it has no other.

    Raises:
        OSError: If writing fails; its file is ``path``.
    """
    try:
        yield
    except OSError as error:
        if error.filename not in (None, None if temporary is None else str(temporary)):
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def remove_unfinished(folder: Path, name: str | None = None) -> None:
    """Removes what killed processes left of files that they were writing.

    Args:
        folder: An existing folder.
        name: The file that no other process is writing, see ``FolderLock.beside``; None for all
            files in a folder that no other process is writing into, but those with a lock of
            their own.
    """
    for path in folder.iterdir():
        match = _UNFINISHED.fullmatch(path.name)
        if match is None or not path.is_file() or path.is_symlink():
            continue
        target = match[1] or match[2]
        if target == name if name is not None else not (folder / f".{target}.lock").exists():
            path.unlink(missing_ok=True)
