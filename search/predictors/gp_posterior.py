"""What a Gaussian process with known parameters says, as scores are added.

The Cholesky factor of the covariance of what was observed is kept as rows of blocks: a block is
computed once, when it is full, and only the last one, which is not, again with every score that is
added. A factor is therefore the same to the last bit, whether its architectures came one by one or
all at once.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Architectures of a block of the factor.
BLOCK_SIZE = 64
#: Covariances that are held at once where no more than expectations are wanted.
MAX_CHUNK = 2**21
#: Architectures whose scores a rough deviation takes into account, whole blocks.
NUM_ROUGH = 4 * BLOCK_SIZE
JITTER = 1e-8


class Table(NamedTuple):
    """Features of some architectures.

    Args:
        labels: One-hot columns of all labels, (num_archs, sum of the numbers of values).
        numbers: Standardised numbers, (num_archs, num_numbers).
    """

    labels: NDArray[Any]
    numbers: NDArray[Any]

    def rows(self, chosen: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Table:
        """Returns the features of some of the architectures."""
        return Table(self.labels[chosen], self.numbers[chosen])

    def rounded(self) -> Table:
        """Returns the features in single precision, which kernels are then computed in."""
        return Table(self.labels.astype(np.float32), self.numbers.astype(np.float32))

    def joined(self, other: Table) -> Table:
        """Returns the features of these architectures and then of others."""
        return Table(*(np.concatenate(both) for both in zip(self, other, strict=True)))


class KernelParameters(NamedTuple):
    """Parameters of the kernel of ``search.predictors.gaussian_process``.

    Args:
        s1: Variance of the part that falls with the distance.
        s2: Variance of the linear part.
        noise: Variance of the noise.
        label_weights: Weights of labels that differ, one per column of the one-hot table.
        number_weights: Weights of squares of differences of numbers, (num_numbers,).
    """

    s1: float
    s2: float
    noise: float
    label_weights: NDArray[Any]
    number_weights: NDArray[Any]

    def rounded(self) -> KernelParameters:
        """Returns the parameters with weights in single precision."""
        weights = (self.label_weights.astype(np.float32), self.number_weights.astype(np.float32))
        return self._replace(label_weights=weights[0], number_weights=weights[1])

    def kernel(self, first: Table, second: Table) -> NDArray[Any]:
        """Computes the covariances of all pairs, without noise, (num_first, num_second)."""
        weighted = first.labels * self.label_weights
        distance = weighted.sum(axis=1)[:, None] - weighted @ second.labels.T
        scale = np.sqrt(self.number_weights)
        a, b = first.numbers * scale, second.numbers * scale
        distance += (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * (a @ b.T)
        np.maximum(distance, 0, out=distance)
        kernel = np.exp(np.negative(distance, out=distance), out=distance)
        kernel *= self.s1
        linear = linear_kernel(first, second)
        linear *= self.s2
        kernel += linear
        return np.asarray(kernel)

    def prior_variance(self, table: Table) -> Floats:
        """Computes the prior variance of each architecture, without noise, (num_archs,)."""
        num_numbers = max(table.numbers.shape[1], 1)
        linear = (table.numbers**2).sum(axis=1) / num_numbers
        return np.asarray(self.s1 + self.s2 * linear, np.float64)


def linear_kernel(first: Table, second: Table) -> NDArray[Any]:
    """Returns the mean products of the numbers of all pairs, (num_first, num_second)."""
    product = first.numbers @ second.numbers.T
    product /= max(first.numbers.shape[1], 1)
    return np.asarray(product)


class _Block(NamedTuple):
    """Some rows of the factor, without the zeros on their right."""

    left: Floats  # what is on the left of the diagonal block, (num_rows, number of the first row)
    diagonal: Floats  # lower triangular, (num_rows, num_rows)


class Posterior:
    """What scores of some architectures say about others.

    Args:
        table: Features of the architectures that have scores.
        scores: Scores of these architectures, (num_archs,).
        parameters: Parameters of the kernel.
    """

    def __init__(self, table: Table, scores: Floats, parameters: KernelParameters) -> None:
        self._parameters = parameters
        self._table = table.rows(slice(0))
        self._blocks: list[_Block] = []
        self.observe(table, scores)

    def observe(self, table: Table, scores: Floats) -> None:
        """Adds architectures to those observed, and takes the scores of all.

        Args:
            table: Features of the architectures that are added.
            scores: Scores of those observed before, which may have changed, and then of those
                that are added, (num_observed + num_added,).

        Raises:
            ValueError: If there is not one score for each.
        """
        if len(scores) != self.num_observed + len(table.labels):
            raise ValueError(
                f"{self.num_observed} architectures were observed and {len(table.labels)} are "
                f"added, which needs a score for each, got {len(scores)}."
            )
        del self._blocks[self.num_settled // BLOCK_SIZE :]
        self._table = self._table.joined(table)
        for start in range(len(self._blocks) * BLOCK_SIZE, len(scores), BLOCK_SIZE):
            self._blocks.append(self._block(start))
        self._centre = float(scores.mean())
        self._whitened_scores = scores - self._centre
        self.whiten(self._whitened_scores)
        self._solved: Floats | None = None

    @property
    def num_observed(self) -> int:
        """Number of architectures with scores."""
        return len(self._table.labels)

    @property
    def num_settled(self) -> int:
        """How many of the first of them are in blocks that stay as they are."""
        return self.num_observed - self.num_observed % BLOCK_SIZE

    def whiten(self, values: NDArray[Any], start: int = 0) -> None:
        """Multiplies with the inverse of the factor, in place.

        Args:
            values: Rows of architectures observed first, (num_rows,) or (num_rows, num_columns).
            start: Number of the rows that are whitened already; they are of whole blocks.
        """
        while start < len(values):
            left, diagonal = self._blocks[start // BLOCK_SIZE]
            rows = slice(start, start + len(diagonal))
            if start:
                values[rows] -= left @ values[:start]
            values[rows] = solve_triangular(diagonal, values[rows], lower=True)
            start = rows.stop

    def mean(self, table: Table) -> Floats:
        """Returns the expected scores, (num_archs,)."""
        solved, found = self._solved_scores(), [np.zeros(0)]
        for chunk in self._chunks(table):
            found.append(self._centre + self._parameters.kernel(chunk, self._table) @ solved)
        return np.concatenate(found)

    def rough_mean_and_std(self, table: Table) -> tuple[Floats, Floats]:
        """Returns expected scores but for rounding, and deviations of scores that are no less.

        Both are in single precision, and the deviations, noise included, are those after the first
        ``NUM_ROUGH`` architectures: in a part of the time that ``belief`` takes, they say which
        candidates are worth it.
        """
        parameters, observed = self._parameters.rounded(), self._table.rounded()
        solved = self._solved_scores().astype(np.float32)
        first = self._rounded_factor()
        means, explained = [np.zeros(0, np.float32)], [np.zeros(0, np.float32)]
        for chunk in self._chunks(table):
            cross = parameters.kernel(chunk.rounded(), observed)
            means.append(cross @ solved)
            whitened = solve_triangular(first, cross[:, : len(first)].T, lower=True)
            explained.append((whitened**2).sum(axis=0))
        variance = self._parameters.prior_variance(table) - np.concatenate(explained)
        deviation = np.sqrt(np.maximum(variance, JITTER) + self._parameters.noise)
        mean = np.asarray(self._centre + np.concatenate(means), np.float64)
        return mean, np.asarray(deviation, np.float64)

    def mean_and_variance(self, table: Table) -> tuple[Floats, Floats]:
        """Returns the expected scores and their variances without noise, both (num_archs,)."""
        beliefs = [self.belief(chunk) for chunk in self._chunks(table)]
        none = np.zeros(0)
        return (
            np.concatenate([none, *(belief.mean for belief in beliefs)]),
            np.concatenate([none, *(belief.variance for belief in beliefs)]),
        )

    def belief(self, table: Table) -> Belief:
        """Returns the expected scores with their covariances."""
        cross = self._parameters.kernel(table, self._table)
        mean = self._centre + cross @ self._solved_scores()
        self.whiten(cross.T)
        return Belief(table, self._parameters, mean, cross.T)

    def belief_of(self, table: Table, whitened: Floats, explained: Floats) -> Belief:
        """Returns what ``belief`` does, of covariances that are whitened already.

        Args:
            table: Features of the candidates.
            whitened: As of ``Belief``.
            explained: As of ``Belief``.
        """
        mean = self._centre + self._whitened_scores @ whitened
        return Belief(table, self._parameters, mean, whitened, explained)

    def covariances(self, start: int, stop: int, table: Table) -> Floats:
        """Returns those of some of the observed with others, (stop - start, num_archs)."""
        return self._parameters.kernel(self._table.rows(slice(start, stop)), table)

    def _block(self, start: int) -> _Block:
        """The rows of the factor from a whole number of blocks on."""
        before = self._table.rows(slice(start))
        own = self._table.rows(slice(start, start + BLOCK_SIZE))
        covariance = self._parameters.kernel(own, own)
        covariance[np.diag_indices_from(covariance)] += self._parameters.noise + JITTER
        cross = self._parameters.kernel(before, own)
        self.whiten(cross)
        if start:
            covariance -= cross.T @ cross
        factor = np.asarray(np.linalg.cholesky(covariance), np.float64)
        return _Block(np.ascontiguousarray(cross.T), factor)

    def _solved_scores(self) -> Floats:
        """The scores multiplied with the inverse of their covariance, (num_observed,)."""
        if self._solved is None:
            solved = self._whitened_scores.copy()
            stop = len(solved)
            for left, diagonal in reversed(self._blocks):
                start = left.shape[1]
                solved[start:stop] = solve_triangular(diagonal.T, solved[start:stop], lower=False)
                if start:
                    solved[:start] -= solved[start:stop] @ left
                stop = start
            self._solved = solved
        return self._solved

    def _rounded_factor(self) -> NDArray[np.float32]:
        """The factor of the first ``NUM_ROUGH`` observed, or of all."""
        size = min(self.num_observed, NUM_ROUGH)
        factor = np.zeros((size, size), np.float32)
        for left, diagonal in self._blocks[: math.ceil(size / BLOCK_SIZE)]:
            start, stop = left.shape[1], left.shape[1] + len(diagonal)
            factor[start:stop, :start], factor[start:stop, start:stop] = left, diagonal
        return factor

    def _chunks(self, table: Table) -> list[Table]:
        """The architectures in parts whose covariances with those observed can be held."""
        size = max(MAX_CHUNK // self.num_observed, 1)
        return [table.rows(slice(i, i + size)) for i in range(0, len(table.labels), size)]


class Belief:
    """Expected scores of candidates, and how the variances shrink as some of them are measured.

    Args:
        table: Features of the candidates.
        parameters: Parameters of the kernel.
        mean: Expected scores, (num_archs,).
        whitened: Covariances with what was observed, whitened, (num_observed, num_archs).
        explained: Sums of the squares of ``whitened``, (num_archs,), where they are at hand.
    """

    def __init__(
        self,
        table: Table,
        parameters: KernelParameters,
        mean: Floats,
        whitened: Floats,
        explained: Floats | None = None,
    ) -> None:
        self.table, self._parameters = table, parameters
        self._whitened = whitened
        self._measured: list[Floats] = []  # rows that ``whitened`` would have of those measured
        self.mean = mean
        self._explained = (whitened**2).sum(axis=0) if explained is None else explained
        self.variance = np.maximum(parameters.prior_variance(table) - self._explained, JITTER)

    @property
    def score_std(self) -> Floats:
        """Standard deviations of the scores that would be measured, noise included."""
        return np.asarray(np.sqrt(self.variance + self._parameters.noise), np.float64)

    def rows(self, chosen: NDArray[np.integer]) -> Belief:
        """Returns what is believed of some of the candidates, none of which was measured."""
        explained = self._explained[chosen]
        return Belief(
            self.table.rows(chosen),
            self._parameters,
            self.mean[chosen],
            self._whitened[:, chosen],
            explained,
        )

    def joined(self, other: Belief) -> Belief:
        """Returns what is believed of these candidates and then of others, by one posterior."""
        return Belief(
            self.table.joined(other.table),
            self._parameters,
            np.concatenate([self.mean, other.mean]),
            np.concatenate([self._whitened, other._whitened], axis=1),
            np.concatenate([self._explained, other._explained]),
        )

    def condition_on_mean(self, index: int) -> None:
        """Takes a candidate as measured, with the score that was expected of it."""
        one = self.table.rows(slice(index, index + 1))
        covariance = self._parameters.kernel(one, self.table)[0]
        covariance -= self._whitened[:, index] @ self._whitened
        for row in self._measured:
            covariance -= row[index] * row
        total = max(covariance[index], JITTER) + self._parameters.noise + JITTER
        row = covariance / math.sqrt(total)
        self._measured.append(row)
        self.variance = np.maximum(self.variance - row**2, JITTER)


class TrackedCandidates:
    """Candidates whose covariances with what was observed are kept as a posterior observes more.

    Args:
        table: Features of the candidates.
        posterior: Of what was observed; it is looked at again by every ``belief``.
        capacity: The most architectures it will have observed.
    """

    def __init__(self, table: Table, posterior: Posterior, capacity: int) -> None:
        self._table, self._posterior = table, posterior
        self._whitened = np.empty((capacity, len(table.labels)))
        #: Of the first architectures observed, those whose rows are whitened for good.
        self._num_settled = 0
        self._explained = np.zeros(len(table.labels))

    def belief(self) -> Belief:
        """Returns what the posterior says by now.

        Raises:
            ValueError: If it has observed more than ``capacity`` architectures.
        """
        posterior = self._posterior
        num_observed = posterior.num_observed
        if num_observed > len(self._whitened):
            raise ValueError(f"{num_observed} observed, with room for {len(self._whitened)}.")
        explained = self._explained
        for start in range(self._num_settled, num_observed, BLOCK_SIZE):
            stop = min(start + BLOCK_SIZE, num_observed)
            self._whitened[start:stop] = posterior.covariances(start, stop, self._table)
            posterior.whiten(self._whitened[:stop], start)
            explained = explained + (self._whitened[start:stop] ** 2).sum(axis=0)
            if stop == posterior.num_settled:
                self._num_settled, self._explained = stop, explained
        return posterior.belief_of(self._table, self._whitened[:num_observed], explained)


def solve_triangular(factor: NDArray[Any], right: NDArray[Any], *, lower: bool) -> NDArray[Any]:
    """Returns what ``factor`` times it is ``right``."""
    from scipy.linalg import solve_triangular as solve  # here, as loading takes half a second

    return np.asarray(solve(factor, right, lower=lower, check_finite=False))
