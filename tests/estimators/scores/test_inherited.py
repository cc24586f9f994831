"""Validation accuracy with inherited weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from estimators.base import EstimateError
from estimators.scores.inherited import ValAccuracyEstimator, folding_facts
from supernets.networks.base import Supernet
from supernets.networks.batchnorm import recalibrate_bn
from supernets.training.evaluation import evaluate

Batches = list[tuple[Tensor, Tensor]]


def test_accuracy_and_loss_by_hand(
    make_one_weight_supernet: Callable[..., Any], make_pixels: Callable[..., Batches]
) -> None:
    supernet = make_one_weight_supernet(1.0, -1.0)
    # class 0 wins where w x > 0
    estimator = ValAccuracyEstimator(supernet, make_pixels([1.0, 2.0, -3.0], [4.0]))
    good, bad = (estimator.estimate(supernet.space.architecture([i])) for i in range(2))
    assert (good.score, bad.score) == (75.0, 25.0)
    assert good.metrics["val_top1"] == 75.0
    losses = [math.log(1 + math.exp(-x)) for x in (1, 2, -3, 4)]
    assert good.metrics["val_loss"] == pytest.approx(sum(losses) / 4, rel=1e-6)
    assert good.metrics.keys() == {"val_top1", "val_loss"}
    assert good.seconds > 0
    assert supernet.extracted[0].calls == [False, False]


def test_without_recalibration_the_policy_of_the_supernet_holds(
    make_supernet: Callable[..., Supernet], make_batches: Callable[..., Batches]
) -> None:
    supernet, batches = make_supernet(bn_mode="drnas"), make_batches(3)
    arch = supernet.space.architecture([3, 1, 2, 1, 3, 4])
    expected = evaluate(supernet.extract(arch), batches, device=torch.device("cpu"))
    estimate = ValAccuracyEstimator(supernet, batches).estimate(arch)
    assert estimate.metrics == {"val_top1": expected.top1, "val_loss": expected.loss}


def test_recalibration_takes_the_statistics_of_the_given_batches(
    make_supernet: Callable[..., Supernet], make_batches: Callable[..., Batches]
) -> None:
    supernet, val, train = make_supernet(), make_batches(3), make_batches(2, seed=1)
    arch = supernet.space.architecture([3, 1, 2, 1, 3, 4])
    standalone = supernet.to_standalone(supernet.extract(arch))
    recalibrate_bn(standalone, train, 2)
    expected = evaluate(standalone, val, device=torch.device("cpu"), fold=True)
    plain = evaluate(standalone, val, device=torch.device("cpu"))
    assert (plain.top1, plain.loss) == (expected.top1, pytest.approx(expected.loss, rel=1e-5))
    estimator = ValAccuracyEstimator(supernet, val, recalibrate_batches=iter(train))
    for _ in range(2):  # the batches are kept
        metrics = estimator.estimate(arch).metrics
        assert metrics == {"val_top1": expected.top1, "val_loss": expected.loss}


def test_only_recalibration_makes_the_result_independent_of_the_batch_size(
    make_supernet: Callable[..., Supernet], make_batches: Callable[..., Batches]
) -> None:
    supernet, train = make_supernet(bn_mode="batch"), make_batches(2, seed=1)
    arch = supernet.space.architecture([3, 1, 2, 1, 3, 4])
    (x, y), *_ = make_batches(1, batch_size=24)
    splits = [[(x, y)], list(zip(x.split(4), y.split(4), strict=True))]
    for recalibrate_batches, same in ((None, False), (train, True)):
        losses = [
            ValAccuracyEstimator(supernet, split, recalibrate_batches=recalibrate_batches)
            .estimate(arch)
            .metrics["val_loss"]
            for split in splits
        ]
        assert (losses[0] == pytest.approx(losses[1], rel=1e-5)) == same


@pytest.mark.parametrize("weight", [math.nan, -math.inf])
def test_a_loss_that_is_not_finite_fails(
    make_one_weight_supernet: Callable[..., Any],
    make_pixels: Callable[..., Batches],
    weight: float,
) -> None:
    supernet = make_one_weight_supernet(weight)
    estimator = ValAccuracyEstimator(supernet, make_pixels([1.0]))
    with pytest.raises(EstimateError, match="validation loss is (nan|inf)"):
        estimator.estimate(supernet.space.architecture([0]))


def test_recalibrating_with_nothing_is_refused(
    make_one_weight_supernet: Callable[..., Any], make_pixels: Callable[..., Batches]
) -> None:
    with pytest.raises(ValueError, match="no images to recalibrate BatchNorm with"):
        ValAccuracyEstimator(
            make_one_weight_supernet(0.0), make_pixels([1.0]), recalibrate_batches=[]
        )


def test_supernets_of_mixed_statistics_are_recalibrated_or_refused(
    make_supernet: Callable[..., Supernet],
) -> None:
    supernet = make_supernet("mobilenetv3")
    generator = torch.Generator().manual_seed(0)
    (train,), val = (
        [(torch.randn(6, 3, 32, 32, generator=generator), torch.arange(6) % 3)] for _ in range(2)
    )
    with pytest.raises(ValueError, match="A mobilenetv3 supernet holds .* needs train images"):
        ValAccuracyEstimator(supernet, val)
    arch = supernet.space.extremes()[0]
    expected = supernet.extract(arch)
    recalibrate_bn(expected, [train], 1)
    estimate = ValAccuracyEstimator(supernet, val, recalibrate_batches=[train]).estimate(arch)
    found = evaluate(expected, val, device=torch.device("cpu"), fold=True)
    assert estimate.metrics["val_loss"] == found.loss


def test_only_headers_of_scores_that_folding_changes_say_so(
    make_supernet: Callable[..., Supernet],
) -> None:
    def facts(space: str, score: str, device: str = "cpu", **settings: bool) -> dict[str, bool]:
        given = {"amp": False, "recalibrates": True, **settings}
        return folding_facts([score], make_supernet(space), device, **given)

    assert facts("mobilenetv3", "val_acc") == {"folded_batchnorm": True}
    assert facts("nasbench201", "val_loss_after") == {"folded_batchnorm": True}
    assert facts("mobilenetv3", "tse") == facts("vit", "val_acc", recalibrates=False) == {}
    assert (
        facts("mobilenetv3", "val_acc", "cuda") == facts("mobilenetv3", "val_acc", amp=True) == {}
    )
