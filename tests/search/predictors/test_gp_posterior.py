"""The posterior that grows: the formulas from nothing, the same bits in any order, and its size."""

from __future__ import annotations

import numpy as np
import pytest

from search.predictors.gaussian_process import Features, GaussianProcess
from search.predictors.gp_posterior import (
    BLOCK_SIZE,
    JITTER,
    Belief,
    Posterior,
    Table,
    TrackedCandidates,
)
from supernets.spaces import NASBench201Space

CELLS = NASBench201Space()
NUM_OBSERVED = 3 * BLOCK_SIZE + 17
CHOICES = CELLS.all_choices()[np.random.default_rng(0).permutation(CELLS.size)[:400]]
SCORES = np.random.default_rng(1).normal(size=NUM_OBSERVED)


@pytest.fixture(scope="module")
def table() -> Table:
    return Features(CELLS).of(CHOICES)


@pytest.fixture(scope="module")
def fitted(table: Table) -> Posterior:
    """Of the first 30."""
    process = GaussianProcess(CELLS)
    process.fit(CHOICES[:30], np.isin(CHOICES[:30], (2, 3)).sum(axis=1) - 2.0)
    return process.posterior


def grown(fitted: Posterior, table: Table, stops: list[int]) -> Posterior:
    """The posterior of so many architectures, observed up to some numbers of them in turn."""
    posterior = Posterior(table.rows(slice(stops[0])), SCORES[: stops[0]], fitted._parameters)
    for start, stop in zip(stops, stops[1:], strict=False):
        # scores change with every ask, as they are relative to the best
        posterior.observe(table.rows(slice(start, stop)), SCORES[:stop] * (1 if stop > 200 else 9))
    return posterior


def from_inverse(fitted: Posterior, table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances of all, by an inverse of the whole covariance."""
    parameters, observed = fitted._parameters, table.rows(slice(NUM_OBSERVED))
    covariance = parameters.kernel(observed, observed)
    covariance += (parameters.noise + JITTER) * np.eye(NUM_OBSERVED)
    cross = parameters.kernel(table, observed)
    inverse = np.linalg.inv(covariance)
    mean = SCORES.mean() + cross @ inverse @ (SCORES - SCORES.mean())
    explained = np.einsum("ij,jk,ik->i", cross, inverse, cross)
    return mean, np.maximum(parameters.prior_variance(table) - explained, JITTER)


@pytest.mark.parametrize(
    "stops",
    [
        [NUM_OBSERVED],
        [1, 2, 63, 64, 65, 130, NUM_OBSERVED],
        [*range(150, NUM_OBSERVED + 1)],
    ],
    ids=["at once", "in parts", "one by one"],
)
def test_grown_is_from_scratch(fitted: Posterior, table: Table, stops: list[int]) -> None:
    posterior = grown(fitted, table, stops)
    mean, variance = from_inverse(fitted, table)
    tracked = TrackedCandidates(table, posterior, NUM_OBSERVED).belief()
    for belief in (posterior.belief(table), tracked):
        np.testing.assert_allclose(belief.mean, mean, atol=1e-8)
        np.testing.assert_allclose(belief.variance, variance, atol=1e-8)
    np.testing.assert_allclose(posterior.mean(table), mean, atol=1e-8)
    rough, deviation = posterior.rough_mean_and_std(table)  # of fewer than 256, so of all
    np.testing.assert_allclose(rough, mean, atol=1e-3)
    np.testing.assert_allclose(deviation**2, variance + fitted._parameters.noise, atol=1e-3)


def test_tracked_are_the_same_to_the_last_bit_however_they_came(
    fitted: Posterior, table: Table
) -> None:
    at_once = TrackedCandidates(table, grown(fitted, table, [NUM_OBSERVED]), 300).belief()
    posterior = grown(fitted, table, [100])
    tracked = TrackedCandidates(table, posterior, 300)
    for stop in (101, 128, 129, 190, 205, NUM_OBSERVED):
        posterior.observe(table.rows(slice(posterior.num_observed, stop)), SCORES[:stop])
        belief = tracked.belief()
    np.testing.assert_array_equal(belief.mean, at_once.mean)
    np.testing.assert_array_equal(belief.variance, at_once.variance)
    for each in (belief, at_once):
        each.condition_on_mean(7)
        each.condition_on_mean(300)
    np.testing.assert_array_equal(belief.variance, at_once.variance)


def test_measuring_several_as_expected_is_observing_them(fitted: Posterior, table: Table) -> None:
    posterior = grown(fitted, table, [100])
    belief = TrackedCandidates(table, posterior, 100).belief()
    measured = [150, 320, 151]
    for index in measured:
        belief.condition_on_mean(index)
    scores = np.concatenate([SCORES[:100], belief.mean[measured]])
    posterior.observe(table.rows(np.array(measured)), scores)
    np.testing.assert_allclose(belief.variance, posterior.belief(table).variance, atol=1e-6)


def test_rows_and_joined_beliefs_are_those_of_one(fitted: Posterior, table: Table) -> None:
    posterior = grown(fitted, table, [100])
    whole = posterior.belief(table)
    first, second = np.arange(0, 200, 3), np.arange(200, 400)
    both: Belief = whole.rows(first).joined(posterior.belief(table.rows(second)))
    numbers = np.concatenate([first, second])
    both.condition_on_mean(5)
    whole.condition_on_mean(numbers[5])
    np.testing.assert_allclose(both.mean, whole.mean[numbers], atol=1e-10)
    np.testing.assert_allclose(both.variance, whole.variance[numbers], atol=1e-10)


def test_expectations_need_no_more_memory_than_a_chunk(
    fitted: Posterior, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    posterior = grown(fitted, table, [100])
    mean, (_, variance) = posterior.mean(table), posterior.mean_and_variance(table)
    monkeypatch.setattr("search.predictors.gp_posterior.MAX_CHUNK", 3000)
    sizes = []
    kernel = type(fitted._parameters).kernel

    def spy(parameters, first, second):  # type: ignore[no-untyped-def]
        found = kernel(parameters, first, second)
        sizes.append(found.size)
        return found

    monkeypatch.setattr(type(fitted._parameters), "kernel", spy)
    np.testing.assert_allclose(posterior.mean(table), mean, atol=1e-12)
    np.testing.assert_allclose(posterior.rough_mean_and_std(table)[0], mean, atol=1e-3)
    np.testing.assert_allclose(posterior.mean_and_variance(table)[1], variance, atol=1e-10)
    assert len(sizes) == 3 * 14 and max(sizes) == 3000


def test_rough_deviations_are_those_after_the_first(
    fitted: Posterior, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.predictors.gp_posterior.NUM_ROUGH", 2 * BLOCK_SIZE)
    _, deviation = grown(fitted, table, [NUM_OBSERVED]).rough_mean_and_std(table)
    exact = grown(fitted, table, [2 * BLOCK_SIZE]).belief(table).score_std
    np.testing.assert_allclose(deviation, exact, atol=1e-4)


def test_refuses_what_does_not_fit(fitted: Posterior, table: Table) -> None:
    posterior = grown(fitted, table, [100])
    with pytest.raises(ValueError, match="100 architectures were observed and 2 are added"):
        posterior.observe(table.rows(slice(2)), SCORES[:3])
    with pytest.raises(ValueError, match="100 observed, with room for 99"):
        TrackedCandidates(table, posterior, 99).belief()
