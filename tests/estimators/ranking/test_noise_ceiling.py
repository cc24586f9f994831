"""Ceilings of noise against what a perfect score reaches where the worths are planted."""

from __future__ import annotations

import math

import numpy as np
import pytest

from estimators.rank_metrics import spearman
from estimators.ranking.noise_ceiling import ceiling_of_seeds, ceiling_of_test_set


@pytest.mark.parametrize(("spread", "num_images"), [(2.0, 1000), (3.0, 360), (6.0, 360)])
def test_the_ceiling_is_what_the_planted_worths_reach(spread: float, num_images: int) -> None:
    found, reached, by_seeds = [], [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        worths = np.clip(rng.normal(75, spread, 300), 1, 99)
        measured = [rng.binomial(num_images, worths / 100) / num_images * 100 for _ in range(3)]
        found.append(ceiling_of_test_set(measured[0], num_images, num_draws=20, seed=seed))
        reached.append(spearman(worths, measured[0]))
        mean = np.mean(measured, axis=0)
        by_seeds.append(ceiling_of_seeds(measured) - spearman(worths, mean))
    assert 0.6 < np.mean(reached) < 0.96
    assert np.mean(found) == pytest.approx(np.mean(reached), abs=0.03)
    assert np.mean(by_seeds) == pytest.approx(0, abs=0.02)


def test_more_images_raise_the_ceiling_up_to_one() -> None:
    truth = np.random.default_rng(0).normal(90, 2, 200)
    found = [ceiling_of_test_set(truth, 10**power) for power in range(1, 8)]
    assert found == sorted(found) and found[0] < 0.3 and found[-1] > 0.999


def test_nothing_can_be_ranked_that_is_all_noise() -> None:
    assert ceiling_of_test_set(np.full(50, 90.0), 1000) == 0
    rng = np.random.default_rng(0)
    assert ceiling_of_seeds(rng.normal(size=(2, 1000))) < 0.4
    assert ceiling_of_seeds([[1.0, 2, 3], [3, 2, 1]]) == 0
    assert ceiling_of_seeds([[1.0, 2, 3], [1, 2, 3]]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("truth", "num_images", "message"),
    [
        ([90.0, 101.0], 10, "not from 0 to 100"),
        ([90.0, math.nan], 10, "not from 0 to 100"),
        ([90.0, 91.0], 0, "num_images must be at least 1, got 0"),
    ],
)
def test_what_is_no_accuracy_has_no_ceiling(
    truth: list[float], num_images: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ceiling_of_test_set(truth, num_images)


def test_one_seed_says_nothing() -> None:
    with pytest.raises(ValueError, match=r"2 or more seeds, got \(1, 3\)"):
        ceiling_of_seeds([[1.0, 2, 3]])
