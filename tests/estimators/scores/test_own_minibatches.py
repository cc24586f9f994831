"""Scores of ``DataLoader``s of one's own, which nobody checked before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from estimators import Minibatches, MultiScoreSettings, TSESettings, create_estimator
from estimators.scores.inherited import ValAccuracyEstimator
from estimators.scores.multi_score_factory import create_multi_score
from estimators.scores.tse import TSEEstimator
from supernets.data.image_loader import Loader
from supernets.data.loaders import create_loaders
from supernets.networks.base import Supernet
from supernets.training.evaluation import evaluate

CPU = torch.device("cpu")
Batches = list[tuple[Tensor, Tensor]]
Measure = Callable[[Supernet, Any, Any], Any]


def multi_score(score: str, supernet: Supernet, train: Any, val: Any) -> Any:
    data, settings = Minibatches(train, val), MultiScoreSettings(num_batches=2)
    return create_multi_score([score], settings, supernet=supernet, data=data)


#: Builds what measures, of train and val minibatches.
BUILDS: dict[str, tuple[str, Measure]] = {
    "TSE": ("train", lambda supernet, train, _: TSEEstimator(supernet, train, num_batches=2)),
    "TSE by name": (
        "train",
        lambda supernet, train, _: create_estimator(
            "tse", TSESettings(num_batches=2), supernet=supernet, data=Minibatches(train)
        ),
    ),
    "val_acc": ("val", lambda supernet, _, val: ValAccuracyEstimator(supernet, val)),
    "recalibrated": (
        "recalibrate",
        lambda supernet, train, val: ValAccuracyEstimator(
            supernet, [(x.float(), y) for x, y in val], recalibrate_batches=train
        ),
    ),
    "a proxy": ("train", lambda supernet, *data: multi_score("grad_norm", supernet, *data)),
    "sovl": (
        "val",
        lambda supernet, train, val: multi_score(
            "sovl", supernet, [(x.float(), y) for x, y in train], val
        ),
    ),
}


def loader(batches: Batches, kind: torch.dtype) -> DataLoader[Any]:
    x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return DataLoader(TensorDataset(x.to(kind), y.int()), batch_size=len(batches[0][1]))


@pytest.mark.parametrize("name", BUILDS)
def test_pixels_are_refused_before_anything_is_measured(
    name: str, make_supernet: Callable[..., Supernet], make_batches: Callable[..., Batches]
) -> None:
    split, build = BUILDS[name]
    pixels = loader(make_batches(3), torch.uint8)
    with pytest.raises(ValueError, match=f"Images of the .*{split}.* got uint8 .*; normalise"):
        build(make_supernet(), pixels, pixels)


@pytest.mark.parametrize("name", BUILDS)
def test_doubles_are_measured_as_the_floats_they_are(
    name: str, make_supernet: Callable[..., Supernet], make_batches: Callable[..., Batches]
) -> None:
    supernet, batches = make_supernet(), make_batches(3)
    arch = supernet.space.architecture([3, 1, 2, 1, 3, 4])
    found = [
        BUILDS[name][1](supernet, given, given).estimate(arch)
        for given in (batches, loader(batches, torch.float64))
    ]
    assert found[0].score == found[1].score
    plain = {key: value for key, value in found[0].metrics.items() if "seconds" not in key}
    assert plain.items() <= found[1].metrics.items()


def test_an_accuracy_of_a_network_of_ones_own(make_batches: Callable[..., Batches]) -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(3))
    batches = make_batches(3)
    expected = evaluate(network, batches, device=CPU)
    assert evaluate(network, loader(batches, torch.float64), device=CPU) == expected
    with pytest.raises(ValueError, match="Images of the minibatches to evaluate on .* got uint8"):
        evaluate(network, loader(batches, torch.uint8), device=CPU)
    in_double = evaluate(network.double(), loader(batches, torch.float64), device=CPU)
    assert in_double.top1 == expected.top1


def test_a_class_of_loaders_of_ones_own(make_supernet: Callable[..., Supernet]) -> None:
    class Pixels(Loader):
        num_images, batch_size = 8, 4

        def __len__(self) -> int:
            return 2

        def epoch(self, epoch: int, start: int = 0) -> Any:
            x = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
            yield from [(x, torch.arange(4) % 3)] * (2 - start)

    loaders = replace(create_loaders("digits", batch_size=4), train=Pixels())
    settings = TSESettings(batch_size=4, num_batches=2)
    with pytest.raises(ValueError, match="Images of the train minibatches .* got uint8"):
        create_estimator("tse", settings, supernet=make_supernet(), data=loaders)
