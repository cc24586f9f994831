"""Acquisition functions against integrals of the normal density, and where nothing is uncertain."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from search.algorithms.acquisition import expected_improvement, log_expected_improvement

MEAN, STD = np.array([0.3, -1.2, 2.0]), np.array([0.5, 2.0, 0.1])


def test_improvements_are_the_integrals_they_stand_for() -> None:
    best = 0.7
    for mean, std, gain in zip(MEAN, STD, expected_improvement(MEAN, STD, best), strict=True):
        normal = norm(mean, std)
        high = mean + 12 * std
        expected, _ = quad(
            lambda y, normal=normal: (y - best) * normal.pdf(y), best, max(high, best), epsabs=1e-12
        )
        assert gain == pytest.approx(expected, rel=1e-6)


def test_what_is_certain_improves_by_its_gain_or_not_at_all() -> None:
    mean, std = np.array([1.0, 0.5, 0.2]), np.zeros(3)
    assert expected_improvement(mean, std, 0.5).tolist() == [0.5, 0, 0]


def test_logarithm_goes_on_where_the_improvement_is_no_number() -> None:
    std = np.full(6, 0.5)
    mean = np.array([2.0, 0.5, 0.0, -3.0, -24.9, -25.1])
    found = log_expected_improvement(mean, std, 0.0)
    np.testing.assert_allclose(
        found[:4], np.log(expected_improvement(mean[:4], std[:4], 0.0)), rtol=1e-9
    )
    # on both sides of where the formula changes, log(phi(z) / z^2 * std)
    z = mean[4:] / 0.5
    expected = norm.logpdf(z) - 2 * np.log(-z) + np.log(0.5)
    np.testing.assert_allclose(found[4:], expected, atol=2e-3)
    many = log_expected_improvement(-np.logspace(0, 4, 400), np.ones(400), 0.0)
    assert np.isfinite(many).all() and (np.diff(many) < 0).all()
