"""Whether progress bars are shown."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_VARIABLE = "TQDM_DISABLE"


def hides_bars() -> bool:
    """Returns whether bars are hidden: in workers, with ``--quiet``, and where a user says so."""
    return _VARIABLE in os.environ


@contextmanager
def without_bars() -> Iterator[None]:
    """Hides all bars of this process, and of those it starts, for the time of a block."""
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before
