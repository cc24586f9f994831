"""What every estimator promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from torch import Tensor

from estimators.base import Estimator
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
    TSESettings,
)
from estimators.testing import EstimatorContract, Measured
from estimators.testing.estimator_contract import trained_path
from supernets.data.loaders import Loaders
from supernets.networks.base import Supernet
from supernets.training.checkpoint import weights_digest

Batches = list[tuple[Tensor, Tensor]]
# Two cells with no operation in common on any edge.
TRAINED, UNTRAINED = (3, 2, 3, 1, 3, 2), (2, 3, 2, 3, 2, 3)


@dataclass
class Setting(Measured):
    """A supernet in which one path has been trained, and what estimators take."""

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
    trained_path(supernet, archs, make_batches(20, batch_size=24, seed=5))
    return Setting(
        supernet,
        make_batches(3, seed=6),
        make_batches(2, seed=7),
        archs,
        make_loaders(),
        lambda: tmp_path_factory.mktemp("scratch"),
    )


class TestOurEstimators(EstimatorContract):
    """All that are built in, with few minibatches."""

    @pytest.fixture
    def measured(self, setting: Setting) -> Measured:
        return setting

    @pytest.fixture(params=KINDS)
    def make_estimator(
        self, request: pytest.FixtureRequest, setting: Setting
    ) -> Callable[[], Estimator]:
        return partial(setting.make, request.param)

    def test_a_trained_path_scores_higher_than_an_untrained_one(
        self,
        request: pytest.FixtureRequest,
        make_estimator: Callable[[], Estimator],
        measured: Measured,
    ) -> None:
        if request.node.callspec.params["make_estimator"] not in TRAINED_KINDS:
            pytest.skip("it does not look at trained weights")
        super().test_a_trained_path_scores_higher_than_an_untrained_one(make_estimator, measured)

    def test_its_name_is_known(self, make_estimator: Callable[[], Estimator]) -> None:
        assert make_estimator().name in ESTIMATORS


class TestByName(EstimatorContract):
    """As of a third party: named, and on the contract's own supernet."""

    estimator = "tse"
    settings = TSESettings(num_batches=3, lr=0.01)


class TestOfAnotherSpace(EstimatorContract):
    estimator = "val_acc"
    space = "nasnet"
    supernet: ClassVar = {"num_classes": 3, "channels": 2, "layers": 3, "input_size": (3, 8, 8)}


def test_a_contract_must_say_what_it_tests(setting: Setting) -> None:
    with pytest.raises(TypeError, match="EstimatorContract must say which it tests"):
        EstimatorContract.make_estimator.__wrapped__(EstimatorContract(), setting)
