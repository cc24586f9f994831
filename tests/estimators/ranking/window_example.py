"""Twelve architectures of a window, and two outside, whose numbers are computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from estimators.ranking.macs_windows import MacsWindow
from estimators.ranking.window_comparison import compare_windows

WINDOW = MacsWindow(100.0, 0.05)
#: The last two are outside, and would make any score look as if it ranked.
TRUTH = np.array([*range(1, 13), -100.0, 100.0])
MACS = np.array([98.0] * 3 + [100.0] * 3 + [104.0] * 3 + [96.0] * 3 + [10.0, 1000.0])
#: Neighbours change places: 2 1 4 3 … 12 11.
SWAPPED = np.array([2.0, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, -100, 100])
NAMES = [f"arch {i}" for i in range(14)]


def compared(scores: dict[str, Any] | None = None, **others: Any) -> dict[str, Any]:
    """Compares ``SWAPPED``, or other scores, by one supernet."""
    given: dict[str, Any] = {
        "windows": [WINDOW],
        "scores": {"swapped": [SWAPPED]} if scores is None else scores,
        "truth": TRUTH,
        "macs": MACS,
        "notations": NAMES,
        "num_bootstrap": 50,
        "seed": 0,
    }
    return compare_windows(**{**given, **others})
