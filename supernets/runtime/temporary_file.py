"""Large temporary files that workers read, which outlive neither their run nor the next one."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from supernets.runtime.folder_lock import LOCK_FILE, FolderLock

_MIN_AGE = 60.0  # seconds; a younger folder may not be locked yet


class TemporaryFile:
    """A file in a folder of its own among the temporary ones, of this process.

    A process that is killed leaves its folder; whichever comes next with such a file removes it, as
    the lock in there is then free.

    Args:
        prefix: First part of the folder's name, of files of one kind.
        name: Name of the file.

    Raises:
        OSError: If the folder cannot be made.
    """

    def __init__(self, prefix: str, name: str) -> None:
        remove_dead_files(prefix, name)
        self._folder = Path(tempfile.mkdtemp(prefix=prefix))
        try:
            self._lock = FolderLock(self._folder).acquire(wait=0)
        except BaseException:  # such as a full disk
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._owner = os.getpid()
        #: The file, which is still to be written.
        self.path = self._folder / name

    def close(self) -> None:
        """Removes the file and its folder; in a process that was forked it does nothing."""
        if os.getpid() == self._owner:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._lock.release()


def room_for_files() -> tuple[Path, int | None]:
    """Returns the folder of temporary files, which ``TMPDIR`` names, and how many bytes are free.

    These are None where that is not known, as where there is no such folder.
    """
    try:
        folder = Path(tempfile.gettempdir())
    except OSError:  # none that can be written
        folder = Path(os.environ.get("TMPDIR") or "/tmp")
    try:
        return folder, shutil.disk_usage(folder).free
    except OSError:
        return folder, None


def remove_dead_files(prefix: str, name: str) -> None:
    """Removes what killed processes of this user left in the folder of temporary files.

    Args:
        prefix: As of ``TemporaryFile``.
        name: Likewise.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        try:
            found = folder.lstat()
            is_ours = found.st_uid == os.getuid() and not folder.is_symlink() and folder.is_dir()
            if not is_ours or time.time() - found.st_mtime < _MIN_AGE:
                continue
            if {path.name for path in folder.iterdir()} <= {name, LOCK_FILE}:
                with FolderLock(folder).acquire(wait=0):
                    shutil.rmtree(folder)
        except (ValueError, OSError):  # in use, or gone meanwhile
            continue
