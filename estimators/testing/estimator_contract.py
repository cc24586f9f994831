"""What every estimator promises, as tests of one of one's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from estimators.base import Estimate, Estimator
from estimators.factory import create_estimator
from estimators.scores.minibatches import Minibatches
from estimators.scores.settings import EstimatorSettings
from supernets.networks.base import Supernet
from supernets.networks.factory import create_supernet
from supernets.spaces import Architecture
from supernets.testing.supernet_under_test import assert_same_weights, weights_of

Batches = list[tuple[Tensor, Tensor]]
MakeEstimator = Callable[[], Estimator]


@dataclass
class Measured:
    """What estimators measure on.

    Args:
        supernet: A supernet in which one path has been trained.
        train: Minibatches like those it was trained on.
        val: Others like them.
        archs: Architectures, of which the first is the trained one; the second has the fewest of
            its choices.
    """

    supernet: Supernet
    train: Batches
    val: Batches
    archs: list[Architecture]


class EstimatorContract:
    """Tests of an estimator: its numbers, repeated and in another order, and what it leaves alone.

    A test module has a subclass that says which one it is; pytest runs what it inherits. The
    supernet is built and a path of it is trained once.

    Example:
        >>> from estimators import TSESettings
        >>> class TestMyEstimator(EstimatorContract):
        ...     estimator = "tse"  # or "my_score.py:MINE"
        ...     settings = TSESettings(num_batches=3, lr=0.01)
    """

    #: Name of the estimator, as commands take it: ``"my_score.py:MINE"`` or ``"my_package:MINE"``.
    estimator: ClassVar[str | None] = None
    #: Its settings; None for the defaults.
    settings: ClassVar[EstimatorSettings | None] = None
    #: Name of the space that it measures, and settings of a small supernet.
    space: ClassVar[str] = "nasbench201"
    supernet: ClassVar[Mapping[str, Any]] = {
        "num_classes": 3,
        "channels": 4,
        "cells_per_stage": 1,
        "input_size": (3, 8, 8),
    }
    #: Whether it is to give a trained path a higher score than an untrained one.
    tells_trained_from_untrained: ClassVar[bool] = True

    @pytest.fixture
    def measured(self) -> Measured:
        """The supernet, the minibatches, and four architectures."""
        return _measured(type(self))

    @pytest.fixture
    def make_estimator(self, measured: Measured) -> MakeEstimator:
        """Builds the estimator under test."""
        owner = type(self)
        name = owner.estimator
        if name is None:
            raise TypeError(f"{owner.__name__} must say which it tests: estimator = 'mine.py:MINE'")
        supernet, space = measured.supernet, measured.supernet.space
        recalibrate = measured.train if supernet.needs_recalibration else None
        data = Minibatches(measured.train, measured.val, recalibrate)
        return lambda: create_estimator(
            name, owner.settings, supernet=supernet, data=data, space=space
        )

    def test_estimate_is_of_plain_finite_numbers(
        self, make_estimator: MakeEstimator, measured: Measured
    ) -> None:
        estimator = make_estimator()
        for arch in measured.archs:
            estimate = estimator.estimate(arch)
            assert estimate.seconds >= 0
            assert estimate.metrics
            curves = [value for curve in estimate.curves.values() for value in curve]
            for value in (estimate.score, estimate.seconds, *estimate.metrics.values(), *curves):
                assert type(value) is float
                assert math.isfinite(value)

    def test_same_score_twice(self, make_estimator: MakeEstimator, measured: Measured) -> None:
        estimator, other = make_estimator(), make_estimator()
        for arch in measured.archs:
            first = _values(estimator.estimate(arch))
            assert _values(estimator.estimate(arch)) == first
            assert _values(other.estimate(arch)) == first

    def test_scores_do_not_depend_on_the_order(
        self, make_estimator: MakeEstimator, measured: Measured
    ) -> None:
        estimator, other = make_estimator(), make_estimator()
        forward = {arch: _values(estimator.estimate(arch)) for arch in measured.archs}
        backward = {arch: _values(other.estimate(arch)) for arch in reversed(measured.archs)}
        assert forward == backward
        assert len({str(value) for value in forward.values()}) > 1

    def test_scores_do_not_depend_on_torchs_global_randomness(
        self, make_estimator: MakeEstimator, measured: Measured
    ) -> None:
        estimator = make_estimator()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            first = _values(estimator.estimate(measured.archs[0]))
            torch.manual_seed(2)
            assert _values(estimator.estimate(measured.archs[0])) == first

    def test_supernet_is_only_read(self, make_estimator: MakeEstimator, measured: Measured) -> None:
        supernet = measured.supernet
        for training in (True, False):
            supernet.train(training)
            before = weights_of(supernet)
            estimator = make_estimator()
            for arch in measured.archs[:3]:
                estimator.estimate(arch)
            assert_same_weights(supernet, before)
            assert {module.training for module in supernet.modules()} == {training}
            assert all(parameter.requires_grad for parameter in supernet.parameters())
            assert all(parameter.grad is None for parameter in supernet.parameters())

    def test_data_is_only_read(self, make_estimator: MakeEstimator, measured: Measured) -> None:
        batches = measured.train + measured.val
        before = [(x.clone(), y.clone()) for x, y in batches]
        make_estimator().estimate(measured.archs[0])
        for (x, y), (old_x, old_y) in zip(batches, before, strict=True):
            assert torch.equal(x, old_x) and torch.equal(y, old_y)

    def test_a_trained_path_scores_higher_than_an_untrained_one(
        self, make_estimator: MakeEstimator, measured: Measured
    ) -> None:
        if not self.tells_trained_from_untrained:
            pytest.skip("it does not look at trained weights")
        estimator = make_estimator()
        trained, untrained, *_ = measured.archs
        assert estimator.estimate(trained).score > estimator.estimate(untrained).score


def trained_path(
    supernet: Supernet, archs: list[Architecture], batches: Batches
) -> list[Architecture]:
    """Trains the path of the first architecture; returns all, the least like it second.

    Args:
        supernet: The supernet, which is trained in place.
        archs: Architectures, at least two.
        batches: Minibatches to train on.
    """
    trained, *others = archs
    others.sort(key=lambda arch: _num_shared(arch, trained))
    optimizer = torch.optim.SGD(supernet.train().parameters(), lr=0.1, momentum=0.9)
    for x, y in batches:
        optimizer.zero_grad()
        F.cross_entropy(supernet(x, trained), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    supernet.zero_grad()
    return [trained, *others]


def _num_shared(arch: Architecture, other: Architecture) -> int:
    return sum(a == b for a, b in zip(arch.choices, other.choices, strict=True))


#: What was built for classes of tests.
_BUILT: dict[str, Measured] = {}


def _measured(owner: type[EstimatorContract]) -> Measured:
    key = repr((owner.space, dict(owner.supernet)))
    if key not in _BUILT:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            supernet = create_supernet(owner.space, **owner.supernet)
        rng = np.random.default_rng(2)
        drawn = list(dict.fromkeys(supernet.space.sample(rng) for _ in range(100)))
        batches = _batches(supernet, 26)
        archs = trained_path(supernet, drawn, batches[:20])[:4]
        _BUILT[key] = Measured(supernet, batches[20:23], batches[23:], archs)
    return _BUILT[key]


def _batches(supernet: Supernet, num_batches: int, batch_size: int = 24) -> Batches:
    """Noise of the supernet's image size, and a pattern for each class."""
    generator = torch.Generator().manual_seed(5)
    shape, num_classes = supernet.input_size, supernet.num_classes
    patterns = torch.randn(num_classes, *shape, generator=generator)
    found = []
    for _ in range(num_batches):
        y = torch.randint(num_classes, (batch_size,), generator=generator)
        noise = torch.randn(batch_size, *shape, generator=generator)
        found.append((patterns[y] + 0.5 * noise, y))
    return found


def _values(estimate: Estimate) -> tuple[object, ...]:
    """All but the time it took."""
    return estimate.score, dict(estimate.metrics), dict(estimate.curves)
