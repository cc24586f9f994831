"""One process over several levels: its gradient, its posterior, and whom it learns to trust."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from search.predictors.gaussian_process import Features
from search.predictors.multi_level_gp import (
    OFFSET,
    LevelParameters,
    MultiLevelPosterior,
    Objective,
    Observations,
    fit_levels,
)
from supernets.spaces import NASBench201Space, SearchSpace

Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return NASBench201Space()


@pytest.fixture(scope="module")
def features(space: SearchSpace) -> Features:
    return Features(space)


def drawn(space: SearchSpace, num_archs: int, seed: int = 0) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    choices = np.unique(space.sample_choices(3 * num_archs, rng), axis=0)
    return choices[rng.permutation(len(choices))[:num_archs]]


def quality(choices: NDArray[np.int64]) -> Floats:
    """A smooth function of the structure: convolutions count, and most on the edge to the end."""
    weights = np.array([1.0, 0.5, 0.7, 0.4, 0.8, 1.2])
    values = np.isin(choices, (2, 3)) @ weights
    return np.asarray((values - values.mean()) / values.std(), np.float64)


def test_the_gradient_is_that_of_the_value(space: SearchSpace, features: Features) -> None:
    from scipy.optimize import check_grad

    rng = np.random.default_rng(0)
    choices, levels = drawn(space, 30), rng.integers(0, 3, 30)
    observed = Observations(features.of(choices), levels, rng.normal(size=30))
    objective = Objective(features, observed, 3)
    at = objective.prior + 0.3 * rng.normal(size=len(objective.prior))
    error = check_grad(lambda v: objective(v)[0], lambda v: objective(v)[1], at)
    assert error < 1e-4 * np.linalg.norm(objective(at)[1])


def test_the_posterior_is_that_of_the_joint_normal(space: SearchSpace, features: Features) -> None:
    """Of a dense covariance that is written down element by element."""
    choices = drawn(space, 7)
    table = features.of(choices)
    base = fit_levels(
        features, Observations(table, np.zeros(7, np.int64), quality(choices)), 1, seed=0
    ).parameters
    weights, own = np.array([0.5, 1.0]), np.array([0.3, 0.0])
    noise = np.array([0.2, 0.1])
    parameters = LevelParameters(base.kernel, 0.4, weights, own, noise)
    levels, scores = np.array([0, 0, 0, 1, 1]), np.array([0.1, -0.4, 0.3, 1.0, -1.0])
    posterior = MultiLevelPosterior(Observations(table.rows(slice(5)), levels, scores), parameters)

    def covariance(a: int, i: int, b: int, j: int) -> float:
        kernel = base.kernel.kernel(table.rows(np.array([a])), table.rows(np.array([b])))[0, 0]
        kernel += 0.4 * (a == b)
        same = kernel * own[i] + OFFSET if i == j else 0.0
        return float(weights[i] * weights[j] * kernel + same)

    known = [[covariance(a, levels[a], b, levels[b]) for b in range(5)] for a in range(5)]
    matrix = np.array(known) + np.diag(noise[levels])
    for level in (0, 1):
        cross = np.array([[covariance(a, levels[a], b, level) for b in (5, 6)] for a in range(5)])
        prior = np.array([[covariance(a, level, b, level) for b in (5, 6)] for a in (5, 6)])
        solved = np.linalg.solve(matrix, cross)
        mean, variance = posterior.mean_and_variance(table.rows(slice(5, 7)), level)
        assert mean == pytest.approx(solved.T @ scores, abs=1e-6)
        assert variance == pytest.approx(np.diag(prior - cross.T @ solved), abs=1e-6)
    white = (
        posterior.whitened(table.rows(slice(5, 7)), 0),
        posterior.whitened(table.rows(np.array([2])), 1),
    )
    found = posterior.cross_covariance(
        table.rows(slice(5, 7)),
        0,
        white[0],
        table.rows(np.array([2])),
        1,
        white[1],
    )
    first = np.array([[covariance(a, levels[a], b, 0) for b in (5, 6)] for a in range(5)])
    second = np.array([[covariance(a, levels[a], 2, 1)] for a in range(5)])
    prior = np.array([[covariance(b, 0, 2, 1)] for b in (5, 6)])
    assert found == pytest.approx(prior - first.T @ np.linalg.solve(matrix, second), abs=1e-6)


def trust_of(
    space: SearchSpace, features: Features, cheap: Floats, true: Floats, choices: NDArray[np.int64]
) -> list[tuple[float, float, float]]:
    """What is learned of a cheap level from 60 scores of it and 20 of the top level."""
    table = features.of(choices)
    rows = np.concatenate([np.arange(60), np.arange(20)])
    levels = np.repeat([0, 1], [60, 20])
    scores = np.concatenate([cheap[:60], true[:20]])
    observed = Observations(table.rows(rows), levels, scores)
    return fit_levels(features, observed, 2, seed=0).trust_intervals(table)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8])
def test_how_far_a_level_can_be_trusted_is_learned(
    space: SearchSpace, features: Features, correlation: float
) -> None:
    """In three of four draws at least the true correlation is within the interval of 95 %.

    Trust near 1 is learned from more scores than these: the priors expect some noise.
    """
    hits, middles = 0, []
    for seed in range(4):
        choices = drawn(space, 200, seed)
        true = quality(choices)
        noise = np.random.default_rng(seed).normal(size=len(true))
        cheap = correlation * true + np.sqrt(1 - correlation**2) * noise
        (value, low, high), (top, *_) = trust_of(space, features, cheap, true, choices)
        hits += low <= np.corrcoef(cheap, true)[0, 1] <= high
        middles.append(value)
        assert top > 0.8
    assert hits >= 3
    assert abs(np.mean(middles) - correlation) < 0.25


def test_a_cheap_level_that_knows_is_as_good_as_the_top_one(
    space: SearchSpace, features: Features
) -> None:
    choices = drawn(space, 200)
    table, true = features.of(choices), quality(choices)
    levels = np.repeat([0, 1], [60, 6])
    scores = np.concatenate([true[:60], true[:6]])
    few = Observations(table.rows(np.arange(6)), np.zeros(6, np.int64), true[:6])
    both = Observations(table.rows(np.concatenate([np.arange(60), np.arange(6)])), levels, scores)
    rest = table.rows(slice(60, 200))
    with_cheap = MultiLevelPosterior(both, fit_levels(features, both, 2, 0).parameters)
    alone = MultiLevelPosterior(few, fit_levels(features, few, 1, 0).parameters)
    errors = [
        float(np.mean((posterior.mean_and_variance(rest, top)[0] - true[60:]) ** 2))
        for posterior, top in ((with_cheap, 1), (alone, 0))
    ]
    assert errors[0] < 0.65 * errors[1]
