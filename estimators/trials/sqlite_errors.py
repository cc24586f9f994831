"""Errors of SQLite's files as those of any file."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def named_file(path: Path) -> Iterator[None]:
    """Turns what SQLite says of a full disk, or one that fails or is gone, into an ``OSError``.

    Args:
        path: The database, which the error names.

    Raises:
        OSError: If there is an ``OperationalError``, in its place.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        number = errno.ENOSPC if "full" in str(error) else errno.EIO
        raise OSError(number, str(error), str(path)) from error
