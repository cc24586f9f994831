"""What a measurement is worth: how much better the answer is expected to be once it is known.

Paper: The Knowledge-Gradient Policy for Correlated Normal Beliefs, Frazier, Powell and Dayanik,
2009, https://doi.org/10.1287/ijoc.1080.0314. With several levels of cost and truth it is divided by
the seconds of the measurement, as in Wu and others, "Practical Multi-fidelity Bayesian
Optimization for Hyperparameter Tuning", https://arxiv.org/abs/1903.04703.

Differs from the paper:

1. The expectation over the one normal number that decides a measurement's outcome is a sum over a
   grid of ``NUM_NODES`` points of it, not exact.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Points of the grid of the normal number, and how far it reaches.
NUM_NODES, REACH = 97, 6.0
#: Numbers that are held at once.
_MAX_CHUNK = 2**22


def knowledge_gradient(mean: Floats, slopes: Floats) -> Floats:
    """Computes how much each measurement is expected to raise the highest mean.

    Args:
        mean: Expected scores of the architectures that may become the answer, (num_archs,).
        slopes: By how much each of their expected scores changes, with its sign, if a measurement
            comes out one standard deviation above what is expected of it,
            (num_measurements, num_archs).

    Returns:
        (num_measurements,), in the unit of the scores, not negative.

    Example:
        >>> import numpy as np
        >>> sure, unsure = [0.0, 0.0], [0.0, 1.0]
        >>> gains = knowledge_gradient(np.array([1.0, 1.0]), np.array([sure, unsure]))
        >>> gains.round(2).tolist()  # half of the mean of the absolute value of a normal number
        [0.0, 0.4]
    """
    nodes = np.linspace(-REACH, REACH, NUM_NODES)
    weights = np.exp(-(nodes**2) / 2)
    weights /= weights.sum()
    best = int(mean.argmax())
    behind = mean - mean[best]
    gains = np.zeros(len(slopes))
    size = max(_MAX_CHUNK // (len(mean) * NUM_NODES), 1)
    for start in range(0, len(slopes), size):
        relative = slopes[start : start + size] - slopes[start : start + size, best : best + 1]
        lines = behind[None, :, None] + relative[:, :, None] * nodes  # what overtakes the best
        gains[start : start + size] = lines.max(axis=1) @ weights
    return gains
