"""What every predictor is: a regression from architectures to scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from supernets.spaces import Architecture

#: Gives further inputs of architectures, (num_archs, num_inputs); nan where there is none.
ExtraInputs = Callable[[Sequence[Architecture]], NDArray[np.float64]]


class Predictor(Protocol):
    """Predicts scores from architectures; owns its encoding of them."""

    def fit(self, archs: Sequence[Architecture], scores: NDArray[np.float64]) -> None:
        """Fits from nothing to ``scores`` of shape (num_archs,), finite and of order one."""

    def predict(self, archs: Sequence[Architecture]) -> NDArray[np.float64]:
        """Predicted scores, shape (num_archs,), on the scale of those fitted."""
