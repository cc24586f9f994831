"""What an architecture promises to a search, from what is expected of it and how sure that is.

Scores are higher-is-better. All functions take means and standard deviations (num_archs,) and give
(num_archs,); where the deviation is 0 the mean is certain.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Standard deviations below the best from where on the series in 1 / z is exact.
_FAR = -50.0


def expected_improvement(mean: Floats, std: Floats, best: float) -> Floats:
    """Returns how much a score is expected to exceed ``best``, in the unit of the scores."""
    from scipy.special import ndtr  # here, as loading takes half a second

    gain = mean - best
    z = _divided(gain, std)
    improvement = gain * ndtr(z) + std * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    return np.asarray(np.where(std > 0, improvement, np.maximum(gain, 0)), np.float64)


def log_expected_improvement(mean: Floats, std: Floats, best: float) -> Floats:
    """Returns the log of ``expected_improvement``, exact when tiny; ``std`` must be above 0."""
    from scipy.special import erfcx, ndtr

    z = (mean - best) / std
    # h(z) = phi(z) + z Phi(z), where Phi(z) / phi(z) = sqrt(pi / 2) erfcx(-z / sqrt(2))
    near, far = np.maximum(z, _FAR), np.minimum(z, _FAR)
    relative = 1 + np.minimum(near, 0) * np.sqrt(np.pi / 2) * erfcx(-np.minimum(near, 0) / 2**0.5)
    below = np.where(z > _FAR, np.log(relative), -2 * np.log(-far))
    log_density = -(z**2) / 2 - np.log(2 * np.pi) / 2
    positive = np.maximum(z, 0)
    above = np.log(positive * ndtr(positive) + np.exp(-(positive**2) / 2) / np.sqrt(2 * np.pi))
    return np.asarray(np.where(z > 0, above, log_density + below) + np.log(std), np.float64)


def _divided(gain: Floats, std: Floats) -> Floats:
    """Returns the gain in standard deviations; 0 where these are 0."""
    return np.divide(gain, std, out=np.zeros_like(gain), where=std > 0)
