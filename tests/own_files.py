"""Files of one's own, for the tests that go through the doors for them."""

from __future__ import annotations

import sys
from typing import Any

from estimators import ESTIMATORS
from search import ALGORITHMS, PREDICTORS
from supernets import PATHS
from supernets.runtime import named_objects

DOORS: tuple[Any, ...] = (ESTIMATORS, ALGORITHMS, PREDICTORS, PATHS)


def forget() -> None:
    """Makes this a process that has loaded no file of one's own."""
    for door in DOORS:
        door._found = {name: each for name, each in door._found.items() if name in door}
    for path in named_objects.loaded_files():
        for name in [n for n, m in sys.modules.items() if getattr(m, "__file__", "") == str(path)]:
            del sys.modules[name]
