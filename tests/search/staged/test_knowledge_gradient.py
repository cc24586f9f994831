"""What a measurement is worth, against what is known exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from search.staged.knowledge_gradient import knowledge_gradient


def exact_of_two(gap: float, slope: float) -> float:
    """The gain where one of two is behind by ``gap`` and moves by ``slope`` against the other."""
    slope = abs(slope)
    return slope * float(norm.pdf(gap / slope)) - gap * float(norm.sf(gap / slope))


@pytest.mark.parametrize(("gap", "slope"), [(0.0, 1.0), (0.5, 1.0), (1.0, -0.7), (3.0, 1.0)])
def test_of_two_architectures_it_is_the_expected_improvement(gap: float, slope: float) -> None:
    gains = knowledge_gradient(np.array([2.0, 2.0 - gap]), np.array([[0.3, 0.3 + slope]]))
    assert gains[0] == pytest.approx(exact_of_two(gap, slope), rel=0.02)


def test_of_many_it_is_the_mean_over_draws() -> None:
    rng = np.random.default_rng(0)
    mean, slopes = rng.normal(size=20), rng.normal(size=(5, 20))
    draws = rng.standard_normal(200_000)
    for gain, slope in zip(knowledge_gradient(mean, slopes), slopes, strict=True):
        drawn = (mean[:, None] + slope[:, None] * draws).max(axis=0).mean() - mean.max()
        assert gain == pytest.approx(drawn, abs=0.01)


def test_what_changes_nothing_is_worth_nothing() -> None:
    mean = np.array([1.0, 0.5, 0.2])
    nothing, all_alike = [0.0] * 3, [0.8] * 3
    gains = knowledge_gradient(mean, np.array([nothing, all_alike]))
    assert gains == pytest.approx([0.0, 0.0], abs=1e-12)


def test_many_measurements_at_once_are_as_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    mean, slopes = rng.normal(size=7), rng.normal(size=(11, 7))
    whole = knowledge_gradient(mean, slopes)
    monkeypatch.setattr("search.staged.knowledge_gradient._MAX_CHUNK", 1)
    assert knowledge_gradient(mean, slopes) == pytest.approx(whole, rel=1e-12)
    assert math.isfinite(whole.sum()) and (whole >= 0).all()
