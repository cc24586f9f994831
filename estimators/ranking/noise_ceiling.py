"""How well a noisy truth can be ranked at all: the correlation that a perfect score would have.

What is taken for the truth of an architecture is its worth plus an error, from the finite test set
it was measured on and from the seed it was trained with. A score that knew the worth exactly would
still not reach a Spearman correlation of 1 with such a truth.

With r the linear correlation of two measurements of the same worths, each with an error of its own,
r is the share of the worth in the variance (the reliability), and the perfect score correlates with
one measurement by its root (Spearman, The Proof and Measurement of Association between Two Things,
1904). Rank correlations are turned into linear ones, and back, as of normal variables:
``r = 2 sin(pi rho / 6)``.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from estimators.rank_metrics import spearman

NUM_DRAWS = 200


def ceiling_of_test_set(
    truth: ArrayLike, num_images: int, *, num_draws: int = NUM_DRAWS, seed: int = 0
) -> float:
    """Estimates the Spearman correlation of a perfect score with a finite test set's accuracies.

    Every truth gets an error of binomial size for ``num_images`` once more. The linear correlation
    c of the truth with that says how large the error is against the spread of the truth: of a share
    x of its variance, ``c = 1 / sqrt(1 + x)``; the ceiling is then ``sqrt(1 - x)``, 0 where nothing
    is left. Architectures are taken to err independently; that they see the same images makes the
    order a little surer than this.

    Args:
        truth: Accuracies in percent, shape (num_archs,).
        num_images: Number of images in the test set.
        num_draws: Number of times that errors are drawn.
        seed: Seed of the errors.

    Raises:
        ValueError: If a number is out of range.
    """
    values = np.asarray(truth, np.float64)
    if num_images < 1:
        raise ValueError(f"num_images must be at least 1, got {num_images}.")
    if num_draws < 1:
        raise ValueError(f"num_draws must be at least 1, got {num_draws}.")
    if not (np.isfinite(values).all() and (values >= 0).all() and (values <= 100).all()):
        raise ValueError(
            "The error of a test set is known of accuracies in percent; a truth is not from 0 to "
            "100, leave the test set's size out."
        )
    shares = values / 100
    errors = np.sqrt(shares * (1 - shares) / num_images)
    rng = np.random.default_rng(seed)
    again = shares + errors * rng.standard_normal((num_draws, len(values)))
    found = _linear(float(np.mean([spearman(row, values) for row in again])))
    if found <= 0:
        return 0.0
    return _of_ranks(math.sqrt(max(0.0, 2 - 1 / found**2)))


def ceiling_of_seeds(repeats: ArrayLike) -> float:
    """Estimates the Spearman correlation of a perfect score with the mean of several trainings.

    The mean correlation of two trainings is the reliability of one; that of the mean of k of them
    is ``k r / (1 + (k - 1) r)`` (Spearman-Brown), and the ceiling is its root.

    Args:
        repeats: Truths of single seeds, shape (num_seeds, num_archs).

    Raises:
        ValueError: If there are fewer than 2 seeds.
    """
    values = np.asarray(repeats, np.float64)
    if values.ndim != 2 or len(values) < 2:
        raise ValueError(
            f"repeats must be (num_seeds, num_archs) of 2 or more seeds, got {values.shape}."
        )
    pairs = [spearman(a, b) for a, b in combinations(values, 2)]
    one = max(0.0, _linear(float(np.mean(pairs))))
    return _of_ranks(math.sqrt(len(values) * one / (1 + (len(values) - 1) * one)))


def _linear(rho: float) -> float:
    """The linear correlation of normal variables of this rank correlation."""
    return 2 * math.sin(math.pi * rho / 6)


def _of_ranks(r: float) -> float:
    """The rank correlation of normal variables of this linear correlation."""
    return 6 / math.pi * math.asin(r / 2)
