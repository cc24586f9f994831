"""A folder, or a file, that one process at a time writes.

The lock is the operating system's (``flock``), on a small hidden file that says whose it is. It
ends with the process that holds it, however that ends, so that nothing stale is ever left to be
broken by hand; the file itself is removed on release, and one of a killed process is taken over.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import socket
import time
from pathlib import Path

_logger = logging.getLogger(__name__)

#: Name of the lock file in a folder.
LOCK_FILE = ".paceline.lock"
#: Seconds to wait for another process: a scheduler may start a job again while the old one ends.
WAIT = 5.0
_POLL = 0.1  # seconds
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
#: Descriptors of the locks that this process holds; a fork must not hold them too.
_held: set[int] = set()


def _close_in_child() -> None:
    """A data-loading worker that outlives its killed parent would keep the parent's locks."""
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)


class FolderLock:
    """The right to write in a folder, which one process at a time has.

    Taken with ``acquire``, or by entering it, and freed with ``release``, or by leaving it. On
    a disk that has no locks a warning is logged, and two processes are not kept apart.

    Args:
        folder: An existing folder.
        holder: Stored in the file beside the process's number, see ``holder_of``.
        option: Option that named the folder, for messages.
    """

    def __init__(self, folder: Path, *, holder: str = "", option: str = "--output") -> None:
        self._target = folder
        self._file = folder / LOCK_FILE
        self._holder, self._option = holder, option
        self._descriptor: int | None = None

    @classmethod
    def beside(cls, path: Path, *, option: str = "--output") -> FolderLock:
        """Returns a lock on ``path`` itself, a file or a folder; its parent exists.

        The lock file lies beside it, so that ``path`` may be missing, or be renamed meanwhile.
        """
        lock = cls(path.parent, option=option)
        lock._target = path
        lock._file = path.with_name(f".{path.name}.lock")
        return lock

    def acquire(self, *, wait: float | None = None) -> FolderLock:
        """Takes the lock.

        Args:
            wait: Seconds to wait for another process to end; None for ``WAIT``.

        Raises:
            ValueError: If another process, or another lock of this one, still has it.
            OSError: If the lock file cannot be written.
        """
        assert self._descriptor is None, "taken twice"
        deadline = time.monotonic() + (WAIT if wait is None else wait)
        while (descriptor := self._try()) is None:
            if time.monotonic() >= deadline:
                raise ValueError(
                    f"{self._target} is in use: {_who(self._file)} is writing there; let it end "
                    f"first, or choose another {self._option}."
                )
            time.sleep(_POLL)
        self._descriptor = descriptor
        _held.add(descriptor)
        try:
            owner = {"pid": os.getpid(), "host": socket.gethostname(), "holder": self._holder}
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(owner).encode(), 0)
        except OSError as error:  # such as a full disk
            self.release()
            raise OSError(error.errno, error.strerror, str(self._file)) from error
        return self

    def release(self) -> None:
        """Gives the lock back and removes its file; nothing to do if it is not held."""
        if self._descriptor not in _held:  # also in a forked child, where it is closed
            return
        with contextlib.suppress(OSError):  # the folder may be gone, and the lock ends all the same
            if _is_at(self._descriptor, self._file):
                self._file.unlink()
        _held.discard(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = None

    def __enter__(self) -> FolderLock:
        return self if self._descriptor is not None else self.acquire()

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.release()

    def _try(self) -> int | None:
        """The descriptor of the locked file, or None while another one has it."""
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                os.close(descriptor)
                if isinstance(error, BlockingIOError):
                    return None
                raise OSError(error.errno, error.strerror, str(self._file)) from error
            _logger.warning(
                f"The disk of {self._target} has no locks ({error.strerror}); make sure that no "
                "other process writes there."
            )
            return descriptor
        if _is_at(descriptor, self._file):
            return descriptor
        os.close(descriptor)  # its owner removed it between the two calls
        return None


def holder_of(folder: Path) -> str | None:
    """Returns the ``holder`` that a folder's lock names; None if there is no lock file."""
    return _read(folder / LOCK_FILE).get("holder")


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one that the path names now."""
    try:
        there, here = os.stat(path), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _who(path: Path) -> str:
    owner = _read(path)
    if not owner:
        return "another process"
    return f"process {owner.get('pid')} on {owner.get('host')}"


def _read(path: Path) -> dict[str, str]:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none, or being written
        return {}
    return owner if isinstance(owner, dict) else {}
