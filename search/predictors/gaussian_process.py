"""An exact Gaussian process that sees the structure of architectures.

Its kernel is ``s1 exp(-sum_l w_l [label l differs] - sum_f u_f (difference of number f)^2) +
s2 <numbers, numbers> + noise``, over the labels and numbers of ``supernets.spaces.structure``, and
the logarithms of params and macs where the space counts them without PyTorch, with numbers
standardised over random architectures. All of s1, s2, the noise and every weight are fitted
to the scores: the mode of the posterior under log-normal priors, by L-BFGS. The priors expect
random architectures to be at a distance of 1, whatever the space.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy

import numpy as np
from numpy.typing import NDArray

from search.predictors.base import FeatureFunction, Standardised
from search.predictors.gp_posterior import (
    JITTER,
    KernelParameters,
    Posterior,
    Table,
    linear_kernel,
    solve_triangular,
)
from supernets.spaces import SearchSpace
from supernets.spaces.factory import SPACES
from supernets.spaces.features import Structure

Floats = NDArray[np.float64]
#: Counts params and macs, (num_archs,), of choices (num_archs, num_decisions).
_Count = Callable[[NDArray[np.int64]], tuple[NDArray[np.int64], NDArray[np.int64]]]

#: Architectures whose structure says what usual differences are: the whole of a small space, or
#: some random ones.
_MAX_REFERENCE, _NUM_REFERENCE = 20_000, 5000
#: Of the distance that the prior expects between random architectures, what is due to labels.
LABEL_SHARE = 0.2
#: Means of the priors of log s1, log s2 and log noise, for scores of variance 1; their deviations
#: and those of all log weights are 1.
LOG_S1, LOG_S2, LOG_NOISE = 0.0, -1.0, -2.0
#: Scores that the parameters are fitted to, half of them the best.
MAX_FITTED = 300
NUM_ITERATIONS = 25


class GaussianProcess:
    """A ProbabilisticPredictor.

    Args:
        space: Space of the architectures.
        seed: Seed of the draw of architectures that the parameters are fitted to, where there are
            more than ``MAX_FITTED``; all of them are predicted from.
        features: Features of the space, where they are at hand; None to compute them.
        zero_cost_features: Further numbers of architectures, standardised by those that are fitted
            to; one that is not finite becomes the least of those. None for no further numbers.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        *,
        features: Features | None = None,
        zero_cost_features: FeatureFunction | None = None,
    ) -> None:
        self._space, self._seed = space, seed
        self._features = Features(space) if features is None else features
        self._zero_cost_features = zero_cost_features
        self._standardise = Standardised(np.zeros((1, 0)))
        self._posterior: Posterior | None = None

    def fit(self, choices: NDArray[np.int64], scores: Floats) -> None:
        """Fits from nothing to ``scores`` of shape (num_archs,), finite and of order one.

        Raises:
            ValueError: If there are no architectures or their number differs from that of scores.
        """
        if not len(choices) or scores.shape != (len(choices),):
            raise ValueError(
                f"A fit needs one score for each of at least one architecture, got {len(choices)} "
                f"architectures and scores of shape {scores.shape}."
            )
        if self._zero_cost_features is not None:
            self._standardise = Standardised(self._zero_cost_features(choices))
        table = self._table(choices)
        chosen = np.arange(len(scores))
        if len(scores) > MAX_FITTED:
            chosen = best_and_some(scores, MAX_FITTED, np.random.default_rng(self._seed))
        features = self._features.with_more_numbers(self._standardise.num_inputs)
        parameters = _fitted(features, table.rows(chosen), scores[chosen])
        self._posterior = Posterior(table, scores, parameters)

    def observe(self, choices: NDArray[np.int64], scores: Floats) -> None:
        """Adds architectures to those that are predicted from, with the parameters as they are.

        Args:
            choices: Choices of the architectures that are added, (num_added, num_decisions).
            scores: Scores of those before, which may have changed, and of those that are added.

        Raises:
            ValueError: If nothing was fitted, or there is not one score for each.
        """
        self.posterior.observe(self._table(choices), scores)

    def predict(self, choices: NDArray[np.int64]) -> Floats:
        """Predicts the expected scores, shape (num_archs,)."""
        return self.posterior.mean(self._table(choices))

    def predict_with_std(self, choices: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Predicts scores and their standard deviations without noise, both (num_archs,)."""
        mean, variance = self.posterior.mean_and_variance(self._table(choices))
        return mean, np.asarray(np.sqrt(variance), np.float64)

    @property
    def posterior(self) -> Posterior:
        """What the fit found.

        Raises:
            ValueError: If nothing was fitted.
        """
        if self._posterior is None:
            raise ValueError("The Gaussian process must be fitted before it predicts.")
        return self._posterior

    def _table(self, choices: NDArray[np.int64]) -> Table:
        table = self._features.of(choices)
        if self._zero_cost_features is None:
            return table
        extra = self._standardise(self._zero_cost_features(choices))
        return Table(table.labels, np.hstack([table.numbers, extra]))


class Features:
    """Features of the architectures of a space, and the priors they bring.

    Args:
        space: The space.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space, self._count = space, _count_without_networks(space)
        found = self._structure(_reference(space))
        self._mean, deviation = found.numbers.mean(axis=0), found.numbers.std(axis=0)
        self._is_used = np.ptp(found.numbers, axis=0) > 0  # deviations of equals may be rounded
        self._scale = np.where(self._is_used, deviation, 1.0)
        #: Of each label, the least value and how many there are from it on.
        self._least = found.labels.min(axis=0)
        self._num_values = found.labels.max(axis=0) - self._least + 1
        #: The label that each column of the one-hot table is of.
        self.label_of_column = np.repeat(np.arange(len(self._num_values)), self._num_values)
        others = found.labels[np.random.default_rng(0).permutation(len(found.labels))]
        self._differs = (found.labels != others).sum(axis=1).mean()  # labels of a random pair
        self.log_weights = self._log_weights(int(self._is_used.sum()))

    @property
    def num_labels(self) -> int:
        """Number of features that are equal or not."""
        return len(self._num_values)

    def of(self, choices: NDArray[np.int64]) -> Table:
        """Computes the features of choices (num_archs, num_decisions)."""
        found = self._structure(choices)
        columns = np.clip(found.labels - self._least, 0, self._num_values - 1)
        columns += np.cumsum(self._num_values) - self._num_values
        labels = np.zeros((len(choices), len(self.label_of_column)))
        np.put_along_axis(labels, columns, 1.0, axis=1)
        numbers = (found.numbers - self._mean) / self._scale
        return Table(labels, numbers[:, self._is_used])

    def distances(self, table: Table) -> Floats:
        """Computes how far all pairs differ by each label and number.

        Args:
            table: Features of architectures.

        Returns:
            1 or 0 of labels, then squares of differences of numbers,
            (num_labels + num_numbers, num_archs, num_archs).
        """
        size = len(table.labels)
        distances = np.empty((self.log_weights.size, size, size))
        for i in range(self.num_labels):
            own = table.labels[:, self.label_of_column == i]
            distances[i] = 1 - own @ own.T
        numbers = table.numbers.T
        distances[self.num_labels :] = (numbers[:, :, None] - numbers[:, None, :]) ** 2
        return distances

    def kernel_parameters(
        self, s1: float, s2: float, noise: float, weights: Floats
    ) -> KernelParameters:
        """Returns parameters of the kernel, with weights (num_labels + num_numbers,)."""
        return KernelParameters(
            float(s1),
            float(s2),
            float(noise),
            weights[: self.num_labels][self.label_of_column],
            weights[self.num_labels :],
        )

    def _structure(self, choices: NDArray[np.int64]) -> Structure:
        """What the space says of architectures, and the logarithms of their costs if it counts."""
        found = self._space.structure(choices)
        if self._count is None:
            return found
        costs = np.log(np.stack(self._count(choices), axis=1))
        return Structure(found.labels, np.hstack([found.numbers, costs]))

    def with_more_numbers(self, num_more: int) -> Features:
        """Returns a copy with priors of more standardised numbers, after its own in a table."""
        other = copy(self)
        other.log_weights = self._log_weights(int(self._is_used.sum()) + num_more)
        return other

    def _log_weights(self, num_numbers: int) -> Floats:
        """Means of the priors of the logs of all weights, (num_labels + num_numbers,)."""
        has_both = self.num_labels and num_numbers
        shares = (LABEL_SHARE, 1 - LABEL_SHARE) if has_both else (1.0, 1.0)
        return np.concatenate(
            [
                np.full(self.num_labels, math.log(shares[0] / (self._differs or 1.0))),
                # the expected square of a difference of standardised numbers is 2
                np.full(num_numbers, math.log(shares[1] / (2 * num_numbers or 1.0))),
            ]
        )


def _count_without_networks(space: SearchSpace) -> _Count | None:
    """Returns what counts params and macs of a space that does so without PyTorch, else None."""
    if not SPACES.is_known(space.name):
        return None
    definition = SPACES.find(space.name)
    if definition.counts is None:
        return None
    count: _Count = definition.object_of("counts")(num_classes=definition.published_classes).count
    return count


def _reference(space: SearchSpace) -> NDArray[np.int64]:
    if space.size <= _MAX_REFERENCE:
        return space.all_choices()
    return space.sample_choices(_NUM_REFERENCE, np.random.default_rng(0))


def _fitted(features: Features, table: Table, scores: Floats) -> KernelParameters:
    """The parameters of highest posterior density."""
    from scipy.optimize import fmin_l_bfgs_b

    objective = Objective(features, table, scores)
    start = objective.prior
    bounds = [(mean - 5.0, mean + 5.0) for mean in start]
    found, _, _ = fmin_l_bfgs_b(objective, start, maxiter=NUM_ITERATIONS, bounds=bounds)
    (s1, s2, noise), weights = np.exp(found[:3]), np.exp(found[3:])
    return features.kernel_parameters(s1, s2, noise, weights)


def best_and_some(scores: Floats, most: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Chooses the best of more than ``most`` scores (num_scores,), and as many at random.

    Args:
        scores: The scores; higher is better.
        most: Number of scores to choose.
        rng: Generator of the random numbers.

    Returns:
        Their indices, ascending, (most,).
    """
    num_best = most // 2
    order = np.argsort(-scores, kind="stable")
    others = rng.choice(order[num_best:], most - num_best, replace=False)
    return np.sort(np.concatenate([order[:num_best], others]))


class Objective:
    """Negative log of the posterior density of the logs of all parameters, but for a constant.

    Args:
        features: Features of the space, which bring the priors.
        table: Features of the architectures that have scores.
        scores: Scores of these architectures, (num_archs,).
    """

    def __init__(self, features: Features, table: Table, scores: Floats) -> None:
        distances = features.distances(table)
        self._distances = distances.reshape(len(distances), -1)
        self._linear = linear_kernel(table, table)
        self._centred = scores - scores.mean()
        self.prior = np.concatenate([[LOG_S1, LOG_S2, LOG_NOISE], features.log_weights])

    def __call__(self, logs: Floats) -> tuple[float, Floats]:
        """The value and its gradient, at logs of s1, s2, noise and all weights."""
        (s1, s2, noise), weights = np.exp(logs[:3]), np.exp(logs[3:])
        identity = np.eye(len(self._centred))
        nonlinear = s1 * np.exp(-(weights @ self._distances)).reshape(identity.shape)
        covariance = nonlinear + s2 * self._linear + (noise + JITTER) * identity
        factor = np.linalg.cholesky(covariance)
        half_inverse = solve_triangular(factor, identity, lower=True)
        inverse = half_inverse.T @ half_inverse
        solved = inverse @ self._centred
        value = 0.5 * self._centred @ solved + np.log(np.diag(factor)).sum()
        slope = 0.5 * (inverse - np.outer(solved, solved))
        through = slope * nonlinear
        gradient = np.concatenate(
            [
                [through.sum(), s2 * (slope * self._linear).sum(), noise * np.trace(slope)],
                -weights * (self._distances @ through.ravel()),
            ]
        )
        deviation = logs - self.prior
        return float(value + 0.5 * deviation @ deviation), gradient + deviation
