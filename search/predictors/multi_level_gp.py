"""One Gaussian process over several measurements of architectures, of which one is what counts.

Every level has scores of its own, say of a short training, and the top level has those one wants to
know. With ``k`` the kernel of ``search.predictors.gaussian_process`` over the structure of
architectures and ``s3`` for two scores of one, scores of levels i and j are believed to have the
covariance ``(w_i w_j + [i = j] r_i) (k(a, b) + s3 [a = b]) + [i = j] c``, and noise ``n_i``: a part
that all levels share, scaled by the level's weight; a part of the same kind that is its own; and
where its scores lie, of variance c. The top level has weight 1 and nothing of its own, so that what
is shared is what it measures without its noise.

How far a level can be trusted is the correlation of what it measures
with that; it is learned from the scores alone, with all parameters at once, as the mode of their
posterior, and its interval is of the normal distribution that has the curvature of that mode.

This is the intrinsic model of coregionalisation with a matrix of rank one and a diagonal; of two
levels it is the autoregressive model of Kennedy and O'Hagan, 2000, "Predicting the output from a
complex computer code when fast approximations are available", with one kernel for both of its
processes. With one level it is the process of ``structural-bo``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.predictors.gaussian_process import (
    LOG_NOISE,
    LOG_S1,
    LOG_S2,
    Features,
    best_and_some,
)
from search.predictors.gp_posterior import (
    JITTER,
    KernelParameters,
    Table,
    linear_kernel,
    solve_triangular,
)

Floats = NDArray[np.float64]
Levels = NDArray[np.int64]

#: Prior of the weights of levels below the top: its mean and deviation.
WEIGHT, WEIGHT_DEVIATION = 0.7, 0.5
#: Mean of the prior of the log of what is a level's own; its deviation is 1.
LOG_OWN = math.log(0.5)
#: Mean of the prior of the log of s3, what is an architecture's own; its deviation is 1.
LOG_S3 = -2.0
#: Variance of where the scores of a level lie, which are standardised.
OFFSET = 1.0
#: Scores of each level that the parameters are fitted to, half of them the best.
MAX_FITTED = 150
NUM_ITERATIONS = 40
#: Marks of equal architectures differ by rounding, and those of others by more.
_SAME = 1e-9
#: Draws of parameters for the interval of trust, and the step of second derivatives.
NUM_DRAWS, STEP = 200, 1e-4


class Observations(NamedTuple):
    """Scores of architectures at levels.

    Args:
        table: Features of the architectures, a row for each score.
        levels: Level of each score, (num_scores,), from 0; the last level is the top.
        scores: Scores of the order of one, (num_scores,); higher is better.
    """

    table: Table
    levels: Levels
    scores: Floats

    def rows(self, chosen: NDArray[np.integer]) -> Observations:
        """Returns some of the scores."""
        return Observations(self.table.rows(chosen), self.levels[chosen], self.scores[chosen])


@dataclass(frozen=True)
class LevelParameters:
    """What was fitted.

    Args:
        kernel: Parameters of the kernel over architectures; its noise is not used.
        residual: Variance of what is an architecture's own, whatever its structure is like.
        weights: Weight of each level, (num_levels,); that of the top is 1.
        own: Variance of each level's own part relative to the shared, (num_levels,); 0 of the top.
        noise: Variance of the noise of each level, (num_levels,).
    """

    kernel: KernelParameters
    residual: float
    weights: Floats
    own: Floats
    noise: Floats

    def trust(self, reference: Table) -> Floats:
        """Correlation of what a level measures with what the top says without noise.

        Args:
            reference: Architectures over which scores are compared.

        Returns:
            (num_levels,).
        """
        kernel = self.kernel.kernel(reference, reference)
        # the expected variance over them
        spread = float(np.diag(kernel).mean() - kernel.mean()) + self.residual
        shared = self.weights**2 * spread
        total = shared + self.own * spread + self.noise
        return np.asarray(np.sign(self.weights) * np.sqrt(shared / total), np.float64)

    def covariance(
        self, first: Table, first_levels: Levels, second: Table, second_levels: Levels
    ) -> Floats:
        """Computes covariances of noiseless scores, (num_first, num_second)."""
        kernel = self.kernel.kernel(first, second) + self.residual * _are_equal(first, second)
        same = first_levels[:, None] == second_levels[None, :]
        mixing = np.outer(self.weights[first_levels], self.weights[second_levels])
        mixing += same * self.own[first_levels][:, None]
        return np.asarray(kernel * mixing + OFFSET * same, np.float64)

    def prior_variance(self, table: Table, level: int) -> Floats:
        """Computes the prior variance of noiseless scores at a level, (num_archs,)."""
        scale = self.weights[level] ** 2 + self.own[level]
        variance = self.kernel.prior_variance(table) + self.residual
        return np.asarray(scale * variance + OFFSET, np.float64)


class MultiLevelPosterior:
    """What scores at all levels say of architectures at any.

    Args:
        observed: The scores.
        parameters: Parameters of the process.
    """

    def __init__(self, observed: Observations, parameters: LevelParameters) -> None:
        self.parameters = parameters
        self._observed = observed
        covariance = parameters.covariance(
            observed.table, observed.levels, observed.table, observed.levels
        )
        covariance[np.diag_indices_from(covariance)] += parameters.noise[observed.levels] + JITTER
        self._factor = np.linalg.cholesky(covariance)
        self._whitened_scores = solve_triangular(self._factor, observed.scores, lower=True)

    def whitened(self, table: Table, level: int) -> Floats:
        """Returns covariances with what was observed, whitened, (num_observed, num_archs)."""
        levels = np.full(len(table.labels), level)
        cross = self.parameters.covariance(
            self._observed.table, self._observed.levels, table, levels
        )
        return np.asarray(solve_triangular(self._factor, cross, lower=True), np.float64)

    def mean_and_variance(
        self, table: Table, level: int, whitened: Floats | None = None
    ) -> tuple[Floats, Floats]:
        """Returns expected scores at a level and their variances without noise, (num_archs,) each.

        Args:
            table: Features of the architectures.
            level: The level.
            whitened: What ``whitened`` returns of them, if it is at hand.
        """
        if whitened is None:
            whitened = self.whitened(table, level)
        mean = self._whitened_scores @ whitened
        variance = self.parameters.prior_variance(table, level) - (whitened**2).sum(axis=0)
        return np.asarray(mean, np.float64), np.maximum(variance, JITTER)

    def cross_covariance(
        self,
        first: Table,
        first_level: int,
        first_whitened: Floats,
        second: Table,
        second_level: int,
        second_whitened: Floats,
    ) -> Floats:
        """Returns posterior covariances of noiseless scores, (num_first, num_second)."""
        prior = self.parameters.covariance(
            first,
            np.full(len(first.labels), first_level),
            second,
            np.full(len(second.labels), second_level),
        )
        return np.asarray(prior - first_whitened.T @ second_whitened, np.float64)


class LevelFit:
    """Parameters that were fitted, and how sure they are.

    Args:
        objective: What was made least.
        found: Its argument where it is least.
    """

    def __init__(self, objective: Objective, found: Floats) -> None:
        self._objective, self._found = objective, found
        self.parameters = objective.parameters(found)

    def trust_intervals(self, reference: Table) -> list[tuple[float, float, float]]:
        """Returns the trust of each level with bounds of 95 %, see ``LevelParameters.trust``.

        Args:
            reference: Architectures over which scores are compared.
        """
        value = self.parameters.trust(reference)
        precision = self._curvature()
        eigenvalues, vectors = np.linalg.eigh(precision)
        # where the posterior is flatter than the prior, rounding is to blame
        deviations = 1 / np.sqrt(np.maximum(eigenvalues, 1e-2))
        draws = np.random.default_rng(0).standard_normal((NUM_DRAWS, len(deviations)))
        shifts = (draws * deviations) @ vectors.T
        drawn = np.stack(
            [self._objective.parameters(self._found + s).trust(reference) for s in shifts]
        )
        low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
        return [
            (float(v), min(float(v), float(a)), max(float(v), float(b)))
            for v, a, b in zip(value, low, high, strict=True)
        ]

    def _curvature(self) -> Floats:
        """Second derivatives of the objective at the mode, by differences of its gradient."""
        size = len(self._found)
        rows = np.empty((size, size))
        for i, step in enumerate(np.eye(size) * STEP):
            above, below = (
                self._objective(self._found + step)[1],
                self._objective(self._found - step)[1],
            )
            rows[i] = (above - below) / (2 * STEP)
        return np.asarray((rows + rows.T) / 2, np.float64)


def fit_levels(features: Features, observed: Observations, num_levels: int, seed: int) -> LevelFit:
    """Fits the parameters to scores, of which too many are left out at random but for the best.

    Args:
        features: Features of the space, which bring priors.
        observed: The scores.
        num_levels: Number of levels; some may have no scores.
        seed: Seed of the choice of scores.
    """
    from scipy.optimize import fmin_l_bfgs_b

    chosen = np.sort(
        np.concatenate(
            [
                chosen_rows(observed, level, MAX_FITTED, np.random.default_rng((seed, level)))
                for level in range(num_levels)
            ]
        )
    )
    objective = Objective(features, observed.rows(chosen), num_levels)
    bounds = [
        (mean - 5 * deviation, mean + 5 * deviation)
        for mean, deviation in zip(objective.prior, objective.deviations, strict=True)
    ]
    found, _, _ = fmin_l_bfgs_b(objective, objective.prior, maxiter=NUM_ITERATIONS, bounds=bounds)
    return LevelFit(objective, found)


def chosen_rows(
    observed: Observations, level: int, most: int, rng: np.random.Generator
) -> NDArray[np.integer]:
    """Chooses scores of a level: all, or of too many the best and as many at random.

    Args:
        observed: Scores at all levels.
        level: The level.
        most: Number of scores to choose at most.
        rng: Generator of the random numbers.

    Returns:
        Their rows, (num_chosen,).
    """
    rows = np.flatnonzero(observed.levels == level)
    if len(rows) <= most:
        return rows
    return rows[best_and_some(observed.scores[rows], most, rng)]


class Objective:
    """Negative log of the posterior density of all parameters, but for a constant.

    Its argument holds log s1, log s2, log s3, the logs of the kernel's weights, the weights of all
    levels but the top, the logs of what is their own, and the logs of the noise of all levels.

    Args:
        features: Features of the space, which bring the priors.
        observed: The scores.
        num_levels: Number of levels.
    """

    def __init__(self, features: Features, observed: Observations, num_levels: int) -> None:
        self._features, self._num_levels = features, num_levels
        table = observed.table
        distances = features.distances(table)
        self._distances = distances.reshape(len(distances), -1)
        self._linear = linear_kernel(table, table)
        self._are_equal = _are_equal(table, table)
        self._levels = observed.levels
        self._is_of = np.eye(num_levels)[observed.levels]  # (num_scores, num_levels)
        self._same = self._is_of @ self._is_of.T
        self._scores = observed.scores
        below = num_levels - 1
        self.prior = np.concatenate(
            [
                [LOG_S1, LOG_S2, LOG_S3],
                features.log_weights,
                np.full(below, WEIGHT),
                np.full(below, LOG_OWN),
                np.full(num_levels, LOG_NOISE),
            ]
        )
        self.deviations = np.ones(len(self.prior))
        start = 3 + len(features.log_weights)
        self.deviations[start : start + below] = WEIGHT_DEVIATION

    def _parts(self, values: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """Scales, kernel weights, weights of levels, what is their own, and noise."""
        below, num_weights = self._num_levels - 1, len(self._features.log_weights)
        ends = np.cumsum([3, num_weights, below, below])
        scales, weights, shared, own, noise = np.split(values, ends)
        return (
            np.exp(scales),
            np.exp(weights),
            np.append(shared, 1.0),
            np.append(np.exp(own), 0.0),
            np.exp(noise),
        )

    def parameters(self, values: Floats) -> LevelParameters:
        """Returns what an argument stands for."""
        (s1, s2, s3), weights, shared, own, noise = self._parts(values)
        kernel = self._features.kernel_parameters(s1, s2, 0.0, weights)
        return LevelParameters(kernel, float(s3), shared, own, noise)

    def __call__(self, values: Floats) -> tuple[float, Floats]:
        """The value and its gradient."""
        (s1, s2, s3), weights, shared, own, noise = self._parts(values)
        nonlinear = s1 * np.exp(-(weights @ self._distances)).reshape(self._linear.shape)
        kernel = nonlinear + s2 * self._linear + s3 * self._are_equal
        of_score = shared[self._levels]
        mixing = np.outer(of_score, of_score) + self._same * own[self._levels]
        covariance = mixing * kernel + OFFSET * self._same
        covariance[np.diag_indices_from(covariance)] += noise[self._levels] + JITTER
        factor = np.linalg.cholesky(covariance)
        half_inverse = solve_triangular(factor, np.eye(len(factor)), lower=True)
        inverse = half_inverse.T @ half_inverse
        solved = inverse @ self._scores
        value = 0.5 * self._scores @ solved + np.log(np.diag(factor)).sum()
        slope = 0.5 * (inverse - np.outer(solved, solved))
        mixed = slope * mixing
        through = mixed * nonlinear
        by_kernel = slope * kernel
        # the weight of a level is in its rows and in its columns
        by_weight = 2 * self._is_of.T @ (by_kernel @ of_score)
        by_own = own * np.einsum("ai,ab,bi->i", self._is_of, by_kernel, self._is_of, optimize=True)
        gradient = np.concatenate(
            [
                [through.sum(), s2 * (mixed * self._linear).sum()],
                [s3 * (mixed * self._are_equal).sum()],
                -weights * (self._distances @ through.ravel()),
                by_weight[:-1],
                by_own[:-1],
                noise * (self._is_of.T @ np.diag(slope)),
            ]
        )
        deviation = (values - self.prior) / self.deviations
        return float(value + 0.5 * deviation @ deviation), gradient + deviation / self.deviations


def _are_equal(first: Table, second: Table) -> Floats:
    """Tells which architectures have the same features, 1.0 or 0.0, (num_first, num_second)."""
    first_marks, second_marks = _marks(first), _marks(second)
    return np.asarray(np.abs(first_marks[:, None] - second_marks) < _SAME, np.float64)


def _marks(table: Table) -> Floats:
    """One number for each architecture, (num_archs,), that others have by chance alone."""
    rng = np.random.default_rng(0)
    of_labels = rng.standard_normal(table.labels.shape[1])
    of_numbers = rng.standard_normal(table.numbers.shape[1])
    return np.asarray(table.labels @ of_labels + table.numbers @ of_numbers, np.float64)
