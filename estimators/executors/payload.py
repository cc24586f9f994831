"""The temporary folder of what workers read, which outlives neither its run nor the next one."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from supernets.runtime.folder_lock import LOCK_FILE, FolderLock

_PREFIX = "paceline-workers-"
_FILE = "measure.pt"
_MIN_AGE = 60.0  # seconds; a younger folder may not be locked yet


class Payload:
    """A file in a temporary folder of this process.

    A process that is killed leaves its folder; whichever comes next removes it, as the lock in
    there is then free.
    """

    def __init__(self) -> None:
        remove_dead_payloads()
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = FolderLock(self._folder).acquire(wait=0)
        #: The file, which is still to be written.
        self.path = self._folder / _FILE

    def close(self) -> None:
        """Removes the file and its folder."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.release()


def remove_dead_payloads() -> None:
    """Removes what killed processes of this user left in the folder of temporary files."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            found = folder.lstat()
            is_ours = found.st_uid == os.getuid() and not folder.is_symlink() and folder.is_dir()
            if not is_ours or time.time() - found.st_mtime < _MIN_AGE:
                continue
            if {path.name for path in folder.iterdir()} <= {_FILE, LOCK_FILE}:
                with FolderLock(folder).acquire(wait=0):
                    shutil.rmtree(folder)
        except (ValueError, OSError):  # in use, or gone meanwhile
            continue
