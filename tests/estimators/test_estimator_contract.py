"""What every estimator promises."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from estimators.base import Estimate, Estimator
from estimators.factory import ESTIMATORS
from estimators.inherited import ValAccuracyEstimator
from estimators.tabular import TabularEstimator
from estimators.tse import TSEEstimator
from supernets.base import Supernet
from supernets.spaces import Architecture

Batches = list[tuple[Tensor, Tensor]]
# Two cells with no operation in common on any edge.
TRAINED, UNTRAINED = (3, 2, 3, 1, 3, 2), (2, 3, 2, 3, 2, 3)


@dataclass
class Setting:
    """A supernet in which one path has been trained, and what estimators take."""

    supernet: Supernet
    train: Batches
    val: Batches
    archs: list[Architecture]  # the first two are the trained and the untrained one

    def tse(self) -> Estimator:
        return TSEEstimator(self.supernet, self.train, num_batches=3, lr=0.01)

    def val_acc(self) -> Estimator:
        return ValAccuracyEstimator(self.supernet, self.val)

    def val_acc_recalibrated(self) -> Estimator:
        return ValAccuracyEstimator(self.supernet, self.val, recalibrate_batches=self.train)

    def table(self) -> Estimator:
        return TabularEstimator({arch: -float(i) for i, arch in enumerate(self.archs)}, "top1")


KINDS = ("tse", "val_acc", "val_acc_recalibrated", "table")


@pytest.fixture(scope="module")
def setting(
    make_supernet: Callable[..., Supernet], make_batches: Callable[..., Batches]
) -> Setting:
    supernet = make_supernet()
    rng = np.random.default_rng(2)
    archs = [supernet.space.architecture(choices) for choices in (TRAINED, UNTRAINED)]
    archs += [supernet.space.sample(rng) for _ in range(2)]
    optimizer = torch.optim.SGD(supernet.train().parameters(), lr=0.1, momentum=0.9)
    for x, y in make_batches(20, batch_size=24, seed=5):
        optimizer.zero_grad()
        F.cross_entropy(supernet(x, archs[0]), y).backward()
        optimizer.step()
    supernet.zero_grad()
    return Setting(supernet, make_batches(3, seed=6), make_batches(2, seed=7), archs)


@pytest.fixture(params=KINDS)
def make_estimator(request: pytest.FixtureRequest, setting: Setting) -> Callable[[], Estimator]:
    make: Callable[[], Estimator] = getattr(setting, request.param)
    return make


def values(estimate: Estimate) -> tuple[object, ...]:
    """All but the time it took."""
    return estimate.score, dict(estimate.metrics), dict(estimate.curves)


def test_every_estimator_is_under_contract() -> None:
    assert set(ESTIMATORS) <= set(KINDS)


def test_estimate_is_of_plain_finite_numbers(
    make_estimator: Callable[[], Estimator], setting: Setting
) -> None:
    estimator = make_estimator()
    assert estimator.name in ESTIMATORS
    for arch in setting.archs:
        estimate = estimator.estimate(arch)
        assert estimate.seconds >= 0
        assert estimate.metrics
        curves = [value for curve in estimate.curves.values() for value in curve]
        for value in (estimate.score, estimate.seconds, *estimate.metrics.values(), *curves):
            assert type(value) is float
            assert math.isfinite(value)


def test_same_score_twice(make_estimator: Callable[[], Estimator], setting: Setting) -> None:
    estimator, other = make_estimator(), make_estimator()
    for arch in setting.archs:
        first = values(estimator.estimate(arch))
        assert values(estimator.estimate(arch)) == first
        assert values(other.estimate(arch)) == first


def test_scores_do_not_depend_on_the_order(
    make_estimator: Callable[[], Estimator], setting: Setting
) -> None:
    estimator, other = make_estimator(), make_estimator()
    forward = {arch: values(estimator.estimate(arch)) for arch in setting.archs}
    backward = {arch: values(other.estimate(arch)) for arch in reversed(setting.archs)}
    assert forward == backward
    assert len({str(value) for value in forward.values()}) > 1


def test_scores_do_not_depend_on_torchs_global_randomness(
    make_estimator: Callable[[], Estimator], setting: Setting
) -> None:
    estimator = make_estimator()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = values(estimator.estimate(setting.archs[0]))
        torch.manual_seed(2)
        assert values(estimator.estimate(setting.archs[0])) == first


def test_supernet_is_only_read(
    make_estimator: Callable[[], Estimator],
    setting: Setting,
    weights_of: Callable[[nn.Module], dict[str, Tensor]],
    assert_same_weights: Callable[..., None],
) -> None:
    for training in (True, False):
        setting.supernet.train(training)
        before = weights_of(setting.supernet)
        estimator = make_estimator()
        for arch in setting.archs[:3]:
            estimator.estimate(arch)
        assert_same_weights(setting.supernet, before)
        assert {module.training for module in setting.supernet.modules()} == {training}
        assert all(parameter.requires_grad for parameter in setting.supernet.parameters())
        assert all(parameter.grad is None for parameter in setting.supernet.parameters())


def test_data_is_only_read(make_estimator: Callable[[], Estimator], setting: Setting) -> None:
    batches = setting.train + setting.val
    before = [(x.clone(), y.clone()) for x, y in batches]
    make_estimator().estimate(setting.archs[0])
    for (x, y), (old_x, old_y) in zip(batches, before, strict=True):
        assert torch.equal(x, old_x) and torch.equal(y, old_y)


def test_a_trained_path_scores_higher_than_an_untrained_one(
    make_estimator: Callable[[], Estimator], setting: Setting
) -> None:
    estimator = make_estimator()
    trained, untrained, *_ = setting.archs
    assert estimator.estimate(trained).score > estimator.estimate(untrained).score
