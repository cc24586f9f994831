"""A score combined from cheap ones, by their ranks or by a fit to few known truths.

The fit is Bayesian ridge regression on normal scores. Its strongest feature is a whole curve of
losses, one column per minibatch: candidates that were all given the same minibatches differ in
which of them they find hard, which says more about their truth than the sum of the losses (TSE).
Measured on 200 cells of NAS-Bench-201, the truths of 40 of which are known, Gaussian processes with
RBF or Matérn kernels rank the others no better.

Papers: Bayesian Interpolation (the evidence that sets the strength of the ridge),
https://doi.org/10.1162/neco.1992.4.3.415; Speedy Performance Estimation for Neural Architecture
Search (TSE), https://arxiv.org/abs/2006.04492
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata
from sklearn.linear_model import BayesianRidge

from estimators.bootstrap import PERCENTILES, Interval
from estimators.rank_metrics import diverged_last, spearman

#: With fewer known truths, the average of ranks is the better score of the two.
MIN_NUM_KNOWN = 10
#: With fewer left to rank, their correlation says nothing of a fit.
MIN_NUM_UNKNOWN = 10
#: Names under which ``held_out`` reports what is made of all features.
FITTED, RANK_AVERAGE = "fitted", "rank_average"

Floats = NDArray[np.float64]


class CombinedScore:
    """Scores of a fixed list of architectures, combined from several cheap ones.

    Only the order within each column counts, so features need no common unit. What diverged, nan,
    is worst in that column.

    Args:
        features: Cheap scores by name, each (num_archs,) or of several columns (num_archs,
            num_columns), higher is better. A feature of many columns weighs as much as one of a
            single column. The sum of its columns is its own score: that of a curve of negated
            losses is the negated TSE.

    Raises:
        ValueError: If there is no feature, they are not of the same architectures, or one is
            infinite.

    Example:
        >>> combined = CombinedScore({"synflow": [3.0, 1.0, 2.0], "macs": [9e6, 5e6, 7e6]})
        >>> combined.rank_average().tolist()
        [3.0, 1.0, 2.0]
    """

    def __init__(self, features: Mapping[str, ArrayLike]) -> None:
        tables = {name: np.asarray(values, np.float64) for name, values in features.items()}
        if len({len(table) for table in tables.values() if table.ndim}) != 1 or not all(
            table.ndim in (1, 2) and table.size for table in tables.values()
        ):
            shapes = ", ".join(f"{name} {table.shape}" for name, table in tables.items())
            raise ValueError(
                "A combined score needs one or more features of shape (num_archs,) or (num_archs, "
                f"num_columns), got {shapes or 'none'}."
            )
        if any(np.isinf(table).any() for table in tables.values()):
            raise ValueError("A feature is infinite; give nan where a candidate diverged.")
        #: The score that each feature is by itself, shape (num_archs,).
        self.parts = {
            name: table if table.ndim == 1 else table.sum(axis=1) for name, table in tables.items()
        }
        self.num_archs = len(next(iter(tables.values())))
        columns = [table.reshape(self.num_archs, -1) for table in tables.values()]
        self._inputs = np.hstack(
            [_normal_scores(block) / np.sqrt(block.shape[1]) for block in columns]
        )  # (num_archs, num_columns of all features)

    def rank_average(self) -> Floats:
        """Computes the mean rank over the features, from 1 for the worst, shape (num_archs,).

        Needs no truth, but a feature that ranks badly spoils it.
        """
        ranks = np.stack([rankdata(diverged_last(part)) for part in self.parts.values()])
        return np.asarray(ranks.mean(axis=0), np.float64)

    def fit(self, known: ArrayLike, truth: ArrayLike) -> Floats:
        """Predicts all architectures from the truths of some of them.

        Args:
            known: Indices of the architectures whose truth is known, shape (num_known,).
            truth: True values of these architectures, higher is better, shape (num_known,).

        Returns:
            Scores of all architectures, also of the known, shape (num_archs,): the expected normal
            score of an architecture's truth among those of the known.

        Raises:
            ValueError: If fewer than 10 are known, an index is out of range or comes twice, or a
                truth is not finite.
        """
        indices, values = np.asarray(known), np.asarray(truth, np.float64)
        if indices.shape != values.shape or indices.ndim != 1:
            raise ValueError(
                f"Each known architecture needs one truth, got shapes {indices.shape} and "
                f"{values.shape}."
            )
        if len(indices) < MIN_NUM_KNOWN:
            raise ValueError(
                f"A fit needs at least {MIN_NUM_KNOWN} known truths, got {len(indices)}; use the "
                "average of ranks."
            )
        if not np.issubdtype(indices.dtype, np.integer):
            raise ValueError(f"known must be indices, got {indices.dtype}.")
        if indices.min() < 0 or indices.max() >= self.num_archs:
            raise ValueError(f"Known architectures must be from 0 to {self.num_archs - 1}.")
        if len(np.unique(indices)) < len(indices):
            raise ValueError("An architecture is known twice; give one truth, such as their mean.")
        if not np.isfinite(values).all():
            raise ValueError("A truth is not finite; leave architectures without one out.")
        model = BayesianRidge().fit(self._inputs[indices], _normal_scores(values))
        return np.asarray(model.predict(self._inputs), np.float64)


@dataclass(frozen=True)
class HeldOut:
    """How well scores rank architectures whose truth the fit did not see.

    Args:
        num_known: Number of architectures whose truth was known in each split.
        num_unknown: Number of the others, which alone are ranked.
        spearman: Rank correlation in every split, shape (num_splits,): under ``"fitted"``,
            ``"rank_average"`` and the name of each feature.
    """

    num_known: int
    num_unknown: int
    spearman: Mapping[str, Floats]

    def mean(self, name: str) -> float:
        """Returns the mean correlation over splits."""
        return float(self.spearman[name].mean())

    def sd(self, name: str) -> float:
        """Returns the deviation over splits, which share architectures: no error of the mean."""
        return float(self.spearman[name].std(ddof=1))

    def difference(self, a: str, b: str) -> Interval:
        """Returns the mean of ``a``'s less ``b``'s correlation; 95 % of the splits lie between."""
        differences = self.spearman[a] - self.spearman[b]
        low, high = np.percentile(differences, PERCENTILES)
        return Interval(float(differences.mean()), float(low), float(high))


def held_out(
    features: Mapping[str, ArrayLike],
    truth: ArrayLike,
    num_known: int,
    num_splits: int = 100,
    seed: int = 0,
) -> HeldOut:
    """Measures a combined score on architectures it was not fitted to, beside its parts.

    Args:
        features: Cheap scores by name, as for ``CombinedScore``.
        truth: True values of all architectures, shape (num_archs,), higher is better.
        num_known: Number of truths that each fit is given, drawn at random.
        num_splits: Number of random splits.
        seed: Seed of the draws.

    Raises:
        ValueError: If a feature has a reserved name, shapes differ, a truth is not finite, or a
            number is out of range.
    """
    reserved = [name for name in features if name in (FITTED, RANK_AVERAGE)]
    if reserved:
        raise ValueError(f"A feature must not be named {reserved[0]!r}; rename it.")
    combined = CombinedScore(features)
    values = np.asarray(truth, np.float64)
    if values.shape != (combined.num_archs,):
        raise ValueError(
            f"truth must be one number for each of the {combined.num_archs} architectures, got "
            f"shape {values.shape}."
        )
    if not MIN_NUM_KNOWN <= num_known <= combined.num_archs - 2:
        raise ValueError(
            f"num_known must be from {MIN_NUM_KNOWN} to {combined.num_archs - 2}, so that two of "
            f"{combined.num_archs} are left to rank, got {num_known}."
        )
    if num_splits < 2:
        raise ValueError(f"num_splits must be at least 2, got {num_splits}.")
    fixed = {RANK_AVERAGE: combined.rank_average(), **combined.parts}
    found: dict[str, list[float]] = {name: [] for name in (FITTED, *fixed)}
    rng = np.random.default_rng(seed)
    for _ in range(num_splits):
        known, unknown = np.split(rng.permutation(combined.num_archs), [num_known])
        scores = {FITTED: combined.fit(known, values[known]), **fixed}
        for name, score in scores.items():
            found[name].append(spearman(score[unknown], values[unknown]))
    return HeldOut(
        num_known=num_known,
        num_unknown=combined.num_archs - num_known,
        spearman={name: np.array(correlations) for name, correlations in found.items()},
    )


def _normal_scores(values: Floats) -> Floats:
    """What a normal sample has at the rank of each value in its column; nan is worst."""
    ranks = rankdata(diverged_last(values), axis=0)
    return np.asarray(norm.ppf((ranks - 0.5) / len(values)), np.float64)
