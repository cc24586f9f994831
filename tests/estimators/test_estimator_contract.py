"""What every estimator promises."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from estimators.base import Estimate, Estimator
from estimators.benchmarks.tabular import TabularEstimator
from estimators.executors.measure import trial_of_scores
from estimators.factory import create_estimator
from estimators.scores.combined_estimator import Reference
from estimators.scores.minibatches import Minibatches
from estimators.scores.multi_score_factory import create_multi_score
from estimators.scores.names import COST_SCORES, PROXY_SCORES, Score
from estimators.scores.registry import ESTIMATORS
from estimators.scores.revisions import revisions
from estimators.scores.score_tables import combined_features
from estimators.scores.settings import (
    CombinedSettings,
    ExtraStepsSettings,
    FromScratchSettings,
    MultiScoreSettings,
)
from supernets.data.loaders import Loaders
from supernets.networks.base import Supernet
from supernets.spaces import Architecture
from supernets.training.checkpoint import weights_digest

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
    loaders: Loaders
    make_folder: Callable[[], Path]

    def make(self, kind: str) -> Estimator:
        if kind == "table":
            return TabularEstimator({arch: -float(i) for i, arch in enumerate(self.archs)}, "top1")
        if kind == "from_scratch":
            settings = FromScratchSettings(
                epochs=1,
                schedule_epochs=2,
                batch_size=10,
                score="tse_ema",
                folder=self.make_folder(),
            )
            return create_estimator(
                "from_scratch", settings, supernet=self.supernet, data=self.loaders
            )
        if kind == "combined":
            reference = CombinedSettings(batch_size=10, reference=self.write_reference())
            return create_estimator(
                "combined", reference, supernet=self.supernet, data=self.loaders
            )
        name = kind.removesuffix(RECALIBRATED)
        own = ESTIMATORS[name].settings
        few: dict[str, Any] = {"num_batches": 3, "lr": 0.01}
        recalibrate = self.train if kind.endswith(RECALIBRATED) else None
        return create_estimator(
            name,
            own(**few) if issubclass(own, ExtraStepsSettings) else None,
            supernet=self.supernet,
            data=Minibatches(self.train, self.val, recalibrate),
        )

    def write_reference(self) -> Path:
        """A ranking of ten subnets by validation accuracy."""
        names, rng = ["val_acc", "params"], np.random.default_rng(4)
        multi_score = create_multi_score(
            names, MultiScoreSettings(), supernet=self.supernet, data=Minibatches((), self.val)
        )
        archs = [self.supernet.space.sample(rng) for _ in range(10)]
        archs[:2] = self.archs[:2]
        trials = [trial_of_scores(multi_score, i, arch) for i, arch in enumerate(archs)]
        scores = [Score(name) for name in names]
        features = combined_features(scores, trials)
        digest, path = weights_digest(self.supernet), self.make_folder() / "reference.json"
        changed: dict[str, Any] = revisions(self.supernet.space.name, names)
        Reference(digest, {}, scores, features, features["val_acc"], **changed).write(path)
        return path


RECALIBRATED = "_recalibrated"
KINDS = (*ESTIMATORS, "val_acc" + RECALIBRATED, "val_loss_after" + RECALIBRATED)
#: What looks at trained weights, or was told.
TRAINED_KINDS = [
    kind for kind in KINDS if kind not in (*PROXY_SCORES, *COST_SCORES, "from_scratch")
]


@pytest.fixture(scope="module")
def setting(
    make_supernet: Callable[..., Supernet],
    make_batches: Callable[..., Batches],
    make_loaders: Callable[..., Loaders],
    tmp_path_factory: pytest.TempPathFactory,
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
    return Setting(
        supernet,
        make_batches(3, seed=6),
        make_batches(2, seed=7),
        archs,
        make_loaders(),
        lambda: tmp_path_factory.mktemp("scratch"),
    )


@pytest.fixture(params=KINDS)
def make_estimator(request: pytest.FixtureRequest, setting: Setting) -> Callable[[], Estimator]:
    return partial(setting.make, request.param)


def values(estimate: Estimate) -> tuple[object, ...]:
    """All but the time it took."""
    return estimate.score, dict(estimate.metrics), dict(estimate.curves)


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


@pytest.mark.parametrize("make_estimator", TRAINED_KINDS, indirect=True)
def test_a_trained_path_scores_higher_than_an_untrained_one(
    make_estimator: Callable[[], Estimator], setting: Setting
) -> None:
    estimator = make_estimator()
    trained, untrained, *_ = setting.archs
    assert estimator.estimate(trained).score > estimator.estimate(untrained).score
