"""Features of architectures that a predictor may see beside their encoding."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Structure(NamedTuple):
    """Features of architectures, of two kinds.

    Args:
        labels: Features that are equal or not, (num_archs, num_labels), integers.
        numbers: Quantities, (num_archs, num_numbers).
    """

    labels: NDArray[np.int64]
    numbers: NDArray[np.float64]
