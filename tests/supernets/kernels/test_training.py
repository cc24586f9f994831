"""Trainings with kernels: what they compute, record, and go on with."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from estimators import ESTIMATORS, create_estimator
from estimators.factory import create_described_estimator
from supernets import DataConfig, TrainConfig, TrainJob, train
from supernets.data.loaders import create_loaders
from supernets.kernels.library import chosen_kernels, identity, load, using
from supernets.networks.factory import create_supernet
from supernets.networks.settings import NASBench201Settings

pytestmark = pytest.mark.skipif(load() is not None, reason=f"no kernels here: {load()}")
CPU = torch.device("cpu")
SPACES: list[tuple[str, dict[str, Any]]] = [
    ("nasbench201", {"channels": 8, "cells_per_stage": 1}),
    ("nasnet", {"channels": 8, "layers": 4, "auxiliary": True, "input_size": (3, 32, 32)}),
    ("nasnet", {"channels": 8, "layers": 3, "stem": "imagenet", "input_size": (3, 32, 32)}),
    ("mobilenetv3", {"width": 0.35, "input_size": (3, 32, 32)}),
    ("proxylessnas", {"width": 0.25, "input_size": (3, 32, 32)}),
    ("resnet50d", {"width": 0.125, "input_size": (3, 32, 32)}),
    ("nasbench_macro", {"stem_channels": 8}),
]


@pytest.mark.parametrize(("space", "settings"), SPACES)
def test_a_step_has_the_gradient_of_float64(space: str, settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    supernet = create_supernet(space, num_classes=4, **settings).train()
    supernet = supernet.to(memory_format=torch.channels_last)
    x = torch.randn(12, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    y = torch.arange(12) % 4
    arch = supernet.space.sample(np.random.default_rng(1))

    def errors(kernels: str) -> tuple[float, float]:
        """Of the gradient and of the running statistics, as parts of their lengths."""
        network, exact = copy.deepcopy(supernet), copy.deepcopy(supernet).double()
        with using(kernels):
            F.cross_entropy(network(x, arch), y).backward()
        F.cross_entropy(exact(x.double(), arch), y).backward()
        both = zip(network.parameters(), exact.parameters(), strict=True)
        pairs = [(p.grad, q.grad) for p, q in both]
        of_weights = [(p, q) for p, q in pairs if q is not None]
        assert all(p is not None for p, _ in of_weights)
        buffers = zip(network.buffers(), exact.buffers(), strict=True)
        of_buffers = [(p, q) for p, q in buffers if p.is_floating_point()]

        def error(found: list[Any]) -> float:
            total = sum(float(q.square().sum()) for _, q in found)
            return (sum(float((p - q).square().sum()) for p, q in found) / max(total, 1e-9)) ** 0.5

        return error(of_weights), error(of_buffers)

    own, theirs = errors(chosen_kernels("auto", CPU)), errors("off")
    assert own[0] < max(1e-4, 3 * theirs[0])  # where a ReLU falls to the other side, in both
    assert own[1] < 1e-5


def job(**config: Any) -> TrainJob:
    return TrainJob(
        "nasbench201",
        NASBench201Settings(channels=8, cells_per_stage=1),
        data=DataConfig("digits"),
        batch_size=300,
        config=TrainConfig(epochs=2, num_probes=0, warmup_epochs=0, **config),
    )


def test_a_training_records_its_kernels_and_goes_on_with_them(tmp_path: Path) -> None:
    result = train(job(), tmp_path / "auto", device="cpu")
    checkpoint = torch.load(result.checkpoint, weights_only=True)
    assert checkpoint["kernels"] == identity()
    train(job(kernels="off"), tmp_path / "off", device="cpu")
    off = torch.load(tmp_path / "off" / "last.pt", weights_only=True)
    assert off["kernels"] == "off"
    with pytest.raises(ValueError, match="kernels was auto and is now off"):
        train(job(kernels="off"), tmp_path / "auto", device="cpu", resume=True)
    checkpoint["kernels"] = "0-other"
    torch.save(checkpoint, result.checkpoint)
    with pytest.raises(ValueError, match=r"last.pt: This run .* C.. kernels 0-other, which"):
        train(job(), tmp_path / "auto", device="cpu", resume=True)


def test_one_that_began_without_kernels_goes_on_without(tmp_path: Path) -> None:
    result = train(job(kernels="off"), tmp_path / "run", device="cpu")
    checkpoint = torch.load(result.checkpoint, weights_only=True)
    del checkpoint["kernels"], checkpoint["train_config"]["kernels"]  # as of an earlier version
    torch.save(checkpoint, result.checkpoint)
    again = train(job(), tmp_path / "run", device="cpu", resume=True)
    assert again.steps == result.steps and again.is_finished


def test_scores_of_extra_steps_are_described_by_their_kernels() -> None:
    torch.manual_seed(0)
    supernet = create_supernet(
        "nasbench201", num_classes=10, channels=8, cells_per_stage=1, input_size=(1, 8, 8)
    )
    loaders = create_loaders("digits", batch_size=64)
    settings = {
        choice: ESTIMATORS["tse"].settings(batch_size=64, num_batches=3, kernels=choice)
        for choice in ("auto", "off")
    }
    _, described = create_described_estimator(
        "tse", settings["auto"], supernet=supernet, data=loaders
    )
    assert described["kernels"] == identity()
    _, described = create_described_estimator(
        "tse", settings["off"], supernet=supernet, data=loaders
    )
    assert "kernels" not in described  # as of an earlier version
    arch = supernet.space.sample(np.random.default_rng(0))
    scores = [
        create_estimator("tse", each, supernet=supernet, data=loaders).estimate(arch).score
        for each in settings.values()
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)
