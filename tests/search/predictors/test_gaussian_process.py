"""The Gaussian process against formulas written out, and what it learns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import approx_fprime
from scipy.stats import spearmanr

from search.predictors import gaussian_process
from search.predictors.gaussian_process import Features, GaussianProcess, Objective
from supernets.networks.mnasnet_counts import MnasNetCounts
from supernets.spaces import MnasNetSpace, MobileNetV3Space, NASBench201Space, SearchSpace

CELLS = NASBench201Space()


def sample(num_archs: int, seed: int = 0, space: SearchSpace = CELLS) -> NDArray[np.int64]:
    """Choices of distinct architectures."""
    rng = np.random.default_rng(seed)
    archs = list(dict.fromkeys(space.sample(rng) for _ in range(2 * num_archs)))[:num_archs]
    return space.choices_of(archs)


def num_convs(choices: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.isin(choices, (2, 3)).sum(axis=1).astype(np.float64)


@pytest.fixture(scope="module")
def features() -> Features:
    return Features(CELLS)


def test_gradient_is_that_of_the_objective(features: Features) -> None:
    choices = sample(12)
    objective = Objective(features, features.of(choices), num_convs(choices) - 2)
    at = objective.prior + np.random.default_rng(1).normal(size=objective.prior.size) / 3
    value, gradient = objective(at)
    numeric = approx_fprime(at, lambda logs: objective(logs)[0], 1e-6)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-3, atol=1e-4)
    assert value > objective(at - 1e-3 * gradient)[0]


def test_priors_expect_random_architectures_at_a_distance_of_one() -> None:
    for space in (CELLS, MobileNetV3Space()):
        features = Features(space)
        a, b = (features.of(sample(400, seed, space)) for seed in (0, 1))
        weights = np.exp(features.log_weights)
        labels, numbers = weights[: features.num_labels], weights[features.num_labels :]
        differs = np.abs(a.labels - b.labels) @ labels[features.label_of_column] / 2
        distance = differs + ((a.numbers - b.numbers) ** 2) @ numbers
        assert distance.mean() == pytest.approx(1, abs=0.1), space.name


def test_costs_that_are_counted_without_networks_are_numbers() -> None:
    """In logarithms, after the space's own numbers."""
    space = MnasNetSpace()
    choices = sample(20, space=space)
    numbers = Features(space).of(choices).numbers
    own = space.structure(choices).numbers.shape[1]
    assert numbers.shape[1] == own + 2
    for found, costs in zip(
        numbers.T[own:], MnasNetCounts(num_classes=1000).count(choices), strict=True
    ):
        assert np.corrcoef(found, np.log(costs))[0, 1] == pytest.approx(1)
    restricted = space.restrict({"kernel": ("3",)})
    assert Features(restricted).of(choices).numbers.shape[1] == own + 2 - 7


def test_predictions_are_those_of_the_written_out_formulas(features: Features) -> None:
    known, others = sample(15), sample(40, seed=5)
    scores = num_convs(known) - 2.0
    process = GaussianProcess(CELLS, features=features)
    process.fit(known, scores)
    mean, std = process.predict_with_std(others)
    p = process.posterior._parameters
    a, b = features.of(known), features.of(others)

    def kernel(x: int, y: int, first, second) -> float:
        # a label that differs has a 1 where the other has a 0, twice
        labels = (np.abs(first.labels[x] - second.labels[y]) * p.label_weights).sum() / 2
        squares = ((first.numbers[x] - second.numbers[y]) ** 2 * p.number_weights).sum()
        linear = (first.numbers[x] * second.numbers[y]).mean()
        return p.s1 * np.exp(-labels - squares) + p.s2 * linear

    def table(first, second) -> np.ndarray:
        rows, columns = range(len(first.labels)), range(len(second.labels))
        return np.array([[kernel(x, y, first, second) for y in columns] for x in rows])

    inverse = np.linalg.inv(table(a, a) + (p.noise + 1e-8) * np.eye(len(known)))
    cross = table(b, a)
    expected = scores.mean() + cross @ inverse @ (scores - scores.mean())
    variance = np.array([kernel(i, i, b, b) for i in range(len(others))])
    variance -= np.einsum("ij,jk,ik->i", cross, inverse, cross)
    np.testing.assert_allclose(mean, expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(std**2, np.maximum(variance, 1e-8), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(process.predict(others), mean, rtol=1e-9)


def test_measuring_a_candidate_as_expected_is_observing_it(features: Features) -> None:
    known, others = sample(20), sample(30, seed=5)
    process = GaussianProcess(CELLS, features=features)
    process.fit(known, num_convs(known) - 2)
    table = features.of(others)
    belief = process.posterior.belief(table)
    before, index = belief.variance.copy(), int(belief.variance.argmax())
    p = process.posterior._parameters
    belief.condition_on_mean(index)
    both = np.concatenate([known, others[[index]]])
    covariance = p.kernel(features.of(both), features.of(both))
    covariance += (p.noise + 1e-8) * np.eye(len(both))
    cross = p.kernel(table, features.of(both))
    exact = p.prior_variance(table) - np.einsum(
        "ij,jk,ik->i", cross, np.linalg.inv(covariance), cross
    )
    np.testing.assert_allclose(belief.variance, np.maximum(exact, 1e-8), rtol=1e-4, atol=1e-7)
    assert (belief.variance <= before).all()
    left = before[index] * p.noise / (before[index] + p.noise)
    assert belief.variance[index] == pytest.approx(left, rel=1e-4)


@pytest.mark.parametrize("space", [CELLS, MobileNetV3Space()], ids=lambda space: space.name)
def test_learns_from_few(space: SearchSpace) -> None:
    choices = sample(130, space=space)
    encoded = space.encode_choices(choices)
    weights = np.random.default_rng(3).normal(size=encoded.shape[1])
    values = encoded @ weights
    process = GaussianProcess(space)
    process.fit(choices[:80], (values[:80] - values.mean()) / values.std())
    assert spearmanr(process.predict(choices[80:]), values[80:]).statistic > 0.5


def test_of_a_space_without_numbers_labels_are_enough(
    make_space: Callable[..., SearchSpace],
) -> None:
    space = make_space(5, 5, 5, 5)
    choices = sample(150, space=space)
    values = choices.sum(axis=1).astype(np.float64)
    values = (values - values.mean()) / values.std()
    process = GaussianProcess(space)
    process.fit(choices[:100], values[:100])
    assert spearmanr(process.predict(choices[100:]), values[100:]).statistic > 0.8


def test_parameters_are_fitted_to_a_part_of_many(
    features: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gaussian_process, "MAX_FITTED", 40)
    seen = []

    class Spy(Objective):
        def __init__(self, features, table, scores) -> None:
            seen.append(scores)
            super().__init__(features, table, scores)

    monkeypatch.setattr(gaussian_process, "Objective", Spy)
    choices = sample(120)
    scores = num_convs(choices) + 0.001 * np.arange(120)
    found = []
    for seed in (0, 0, 1):
        process = GaussianProcess(CELLS, seed, features=features)
        process.fit(choices, scores)
        found.append(process.predict(choices))
    assert [len(scores) for scores in seen] == [40, 40, 40]
    assert set(np.sort(scores)[-20:]) <= set(seen[0])
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()
    assert process.posterior.num_observed == 120


def test_needs_scores_and_a_fit(features: Features) -> None:
    process = GaussianProcess(CELLS, features=features)
    with pytest.raises(ValueError, match="must be fitted before it predicts"):
        process.predict(sample(3))
    with pytest.raises(ValueError, match="one score for each of at least one architecture, got 3"):
        process.fit(sample(3), np.zeros(2))
    process.fit(sample(3), np.zeros(3))  # all the same, which is no reason to fail
    assert np.isfinite(process.predict(sample(5))).all()
    assert process.predict(sample(0)).shape == (0,)
