"""What a command writes: owned by one process, made late, and gone again if nothing came of it."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from supernets.runtime.atomic_write import remove_unfinished
from supernets.runtime.folder_lock import LOCK_FILE, FolderLock, holder_of
from supernets.runtime.ranks import ProcessInfo
from supernets.runtime.run_kinds import RunKind, check_kind

_logger = logging.getLogger(__name__)

#: Seconds that other ranks wait for the main one to take a folder.
RANKS_WAIT = 60.0


class WorkError(Exception):
    """The work of a command cannot go on, by no mistake of ours; the message is for its user."""


class OutputError(WorkError, RuntimeError):
    """A file could not be read or written at work; the message says so, and what is safe."""


@contextmanager
def saying_what_is_safe(describe: Callable[[], str]) -> Iterator[None]:
    """Adds to the error of a file what is not lost, and how to go on.

    Args:
        describe: Called if there is one; returns whole sentences.

    Raises:
        OutputError: If there is an ``OSError`` or another ``OutputError``, in its place.
    """
    try:
        yield
    except (OSError, OutputError) as error:
        if isinstance(error, BrokenPipeError):  # nobody reads what is printed
            raise
        raise OutputError(f"{one_line(error)} {describe()}") from error


def one_line(error: OSError | OutputError) -> str:
    """Returns the message of an error, with the name of the file if there is one."""
    if isinstance(error, OutputError):
        return str(error)
    reason = error.strerror or str(error) or type(error).__name__
    return f"{reason}." if error.filename is None else f"{error.filename}: {reason}."


class Outputs:
    """The folders and files of one command, from its preparation to its end.

    Preparation names them, which checks that they can be written. What is there is locked at once,
    what is missing is made by ``create``. Unless ``begin`` says that preparation succeeded, leaving
    the block removes what was made: folders, if they are empty, and new files.

    Args:
        on_begin: Called by ``begin``, once what was missing is made.
    """

    def __init__(self, on_begin: Callable[[], object] = lambda: None) -> None:
        self._locks, self._closing = ExitStack(), ExitStack()
        self._missing: list[_Output] = []
        self._made: list[Path] = []
        self._on_begin = on_begin
        #: Whether preparation has succeeded and the work has begun.
        self.has_begun = False

    def own(
        self,
        folder: Path,
        *,
        ranks: ProcessInfo | None = None,
        option: str = "--output",
        kind: RunKind | None = None,
    ) -> None:
        """Keeps other processes from writing into a folder; under ``torchrun`` rank 0 does.

        Args:
            folder: The folder, which may be missing.
            ranks: Which of the processes of ``torchrun`` this one is; None for a single process.
            option: Option that named the folder, for messages.
            kind: What kind of run is kept there; None for none that others could be taken for.

        Raises:
            ValueError: If another process writes there, files cannot be written, or the folder
                holds a run of another kind.
        """
        ranks = ranks or ProcessInfo()
        attempt = _attempt(ranks)
        if ranks.is_main:
            lock = FolderLock(folder, holder=attempt, option=option)
            self._own(_Output(folder, lock, None, option))
        else:
            _wait_for_main(folder, attempt)
        if kind is not None:
            check_kind(folder, kind)

    def own_file(self, path: Path, *, option: str = "--output") -> None:
        """Keeps other processes from writing a file; its folder may be missing.

        Raises:
            ValueError: If another process writes it, or it cannot be written.
        """
        lock = FolderLock.beside(path, option=option)
        self._own(_Output(path.parent, lock, path.name, option))

    def add(self, folder: Path, *, option: str = "--output") -> None:
        """Names a folder that others may write into as well.

        Raises:
            ValueError: If files cannot be written there.
        """
        self._own(_Output(folder, None, None, option))

    def new_file(self, path: Path) -> None:
        """Names a file that preparation is about to write; it goes again if that fails."""
        if not path.exists():
            self._made.append(path)

    def close_on_failure(self, close: Callable[[], None]) -> None:
        """Names what closes an open file if preparation fails, before the file is removed."""
        self._closing.callback(close)

    def create(self) -> None:
        """Makes the folders that were missing, and locks them.

        Raises:
            ValueError: If that cannot be done, or another process was faster.
        """
        for each in self._missing:
            with _as_user_error(each):
                missing = [
                    path for path in (each.folder, *each.folder.parents) if not path.exists()
                ]
                for path in reversed(missing):
                    path.mkdir(exist_ok=True)
                    self._made.append(path)
                self._take(each)
            if each.is_whole and any(path.name != LOCK_FILE for path in each.folder.iterdir()):
                raise ValueError(
                    f"Another process wrote into {each.folder} meanwhile; run the command again, "
                    f"or choose another {each.option}."
                )
        self._missing.clear()

    def begin(self) -> None:
        """Says that preparation succeeded: makes what was missing, and whatever was made stays.

        Raises:
            ValueError: As ``create``.
        """
        self.create()
        self._on_begin()
        self.has_begun = True

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if not self.has_begun:
            self._closing.close()
            for path in reversed(self._made):
                if not path.is_dir():
                    path.unlink(missing_ok=True)
        self._locks.close()
        if not self.has_begun:
            for path in reversed(self._made):
                with contextlib.suppress(OSError):  # a folder that is not empty, or a file
                    path.rmdir()

    def _own(self, output: _Output) -> None:
        folder = output.folder
        with _as_user_error(output):
            if folder.is_dir():
                if output.lock is None and not os.access(folder, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, "Permission denied")
                self._take(output)
                return
            above = next(path for path in folder.absolute().parents if os.path.lexists(path))
            if os.path.lexists(folder) or not above.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "Not a directory")
            if not os.access(above, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, f"no file can be made in {above}")
        self._missing.append(output)

    def _take(self, output: _Output) -> None:
        if output.lock is not None:
            self._locks.enter_context(output.lock)
            remove_unfinished(output.folder, output.name)


@dataclass(frozen=True)
class _Output:
    folder: Path
    lock: FolderLock | None
    name: str | None  # of the only file of ours in the folder
    option: str

    @property
    def is_whole(self) -> bool:
        """Whether the folder is ours and no one else's."""
        return self.lock is not None and self.name is None


@contextmanager
def _as_user_error(output: _Output) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"Cannot write to {output.option} {output.folder / (output.name or '')}: "
            f"{error.strerror}; choose another {output.option}."
        ) from error


def _attempt(ranks: ProcessInfo) -> str:
    """What start of the ranks this is, by a name that all of them have."""
    names = ["TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT"]
    if os.environ.get("LOCAL_WORLD_SIZE") == str(ranks.world_size):
        names.append("TORCHELASTIC_RESTART_COUNT")  # on several machines it is not that of all
    return " ".join(os.environ.get(name, "-") for name in names)


def _wait_for_main(folder: Path, attempt: str) -> None:
    """Waits until rank 0 has the folder, so that no older process writes there any more."""
    deadline = time.monotonic() + RANKS_WAIT
    while folder.is_dir() and holder_of(folder) != attempt:
        if time.monotonic() >= deadline:
            _logger.warning(
                "Rank 0 was not seen to take %s; it must be one folder that all machines share.",
                folder,
            )
            return
        time.sleep(0.1)
