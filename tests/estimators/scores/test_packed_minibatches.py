"""Scores of minibatches that are kept as 8-bit pixels: bit by bit those of floats."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from estimators.executors.worker import write_measure
from estimators.factory import create_estimator
from estimators.scores.minibatches import Draws, Minibatches, draw_minibatches
from estimators.scores.multi_score_factory import create_multi_score
from estimators.scores.settings import MultiScoreSettings, TSESettings
from estimators.trials.store import Trial
from supernets.data.image_loader import Augmentation, ImageLoader
from supernets.data.loaders import Loaders
from supernets.data.memory_pixels import MemoryPixels
from supernets.data.packed_batches import PackedBatches
from supernets.networks.base import Supernet
from supernets.spaces import Architecture

NAMES = ["tse", "sovl", "val_acc", "val_loss_after", "naswot", "jacob_cov", "snip"]


def loaders_of(supernet: Supernet, batch_size: int = 8) -> Any:
    """Loaders of noise in three classes, of which val comes in other minibatches than train."""
    channels, height, width = supernet.input_size
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (120, height, width, channels), generator=generator)
    source, labels = MemoryPixels(pixels.to(torch.uint8)), torch.arange(120) % 3

    def loader(first: int, last: int, size: int, **settings: Any) -> ImageLoader:
        split = np.arange(first, last)
        mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
        return ImageLoader(source, labels, split, size, mean, std, **settings)

    augmentation = Augmentation(pad=1, flip=True, cutout=2)
    plain = loader(0, 60, batch_size, shuffle=True)
    train = loader(0, 60, batch_size, shuffle=True, augmentation=augmentation)
    val, test = loader(60, 90, 13), loader(90, 120, 13)
    names, shape = ("a", "b", "c"), (channels, height, width)
    settings: dict[str, Any] = {"seed": 0}
    return Loaders(train, plain, val, test, 3, names, shape, settings, {})


def in_floats(minibatches: Minibatches) -> Minibatches:
    """The same as lists of tensors, as they were kept before."""

    def floats(batches: Any) -> list[tuple[Tensor, Tensor]]:
        return [(x.clone(), y.clone()) for x, y in batches]

    recalibrate = minibatches.recalibrate
    recalibrate = None if recalibrate is None else floats(recalibrate)
    return Minibatches(floats(minibatches.train), floats(minibatches.val), recalibrate)


@pytest.mark.parametrize("space", ["nasbench201", "mobilenetv3"])
@pytest.mark.parametrize("num_val_batches", [None, 2])
def test_all_scores_are_those_of_floats(
    space: str, num_val_batches: int | None, make_supernet: Callable[..., Supernet]
) -> None:
    supernet = make_supernet(space)
    settings = MultiScoreSettings(
        num_batches=3, batch_size=8, num_val_batches=num_val_batches, num_recalibrate_batches=2
    )
    loaders = loaders_of(supernet)
    minibatches, _ = draw_minibatches(NAMES, settings, supernet, loaders)
    records = []
    for data in (minibatches, in_floats(minibatches)):
        estimator = create_multi_score(NAMES, settings, supernet=supernet, data=data)
        archs = [supernet.space.sample(np.random.default_rng(i)) for i in range(2)]
        records.append([estimator.measure(arch) for arch in archs])
    for found, expected in zip(*records, strict=True):
        assert (found.metrics, found.curves) == (expected.metrics, expected.curves)


def test_what_estimators_keep_is_8_bits(make_supernet: Callable[..., Supernet]) -> None:
    supernet = make_supernet("mobilenetv3")
    loaders = loaders_of(supernet)
    images = 3 * 32 * 32
    settings = MultiScoreSettings(num_batches=4, batch_size=8, num_recalibrate_batches=1)
    draws = Draws(supernet, loaders)
    minibatches, _ = draw_minibatches(NAMES, settings, supernet, loaders, draws)
    estimator = create_multi_score(
        NAMES, settings, supernet=supernet, data=minibatches, draws=draws
    )
    assert estimator.training is not None and estimator.val is not None
    recalibrated = estimator.val.recalibrate_batches
    assert recalibrated is not None
    kept = (estimator.training.batches, estimator.sovl_batches, estimator.proxy_batches)
    for batches, num_images in zip((*kept, recalibrated), (32, 32, 8, 200), strict=True):
        assert isinstance(batches, PackedBatches)
        assert sum(batches.sizes) == num_images
        assert batches.num_bytes < num_images * (images * 1.03 + 8)  # and cutout of 2x2
    # the training and the proxies look at the same memory
    pixels: Any = (estimator.training.batches, estimator.proxy_batches)
    first, proxies = (each._held[0][0].pixels for each in pixels)
    assert first.data_ptr() == proxies.data_ptr()


class Measured:
    """Measures with an estimator, as searches do."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def __call__(self, number: int, arch: Architecture) -> Trial:
        found = self.estimator.estimate(arch)
        return Trial(number, arch, found.score, found.metrics, 0.0, None)


def test_8_bits_are_what_is_sent_to_workers(
    make_supernet: Callable[..., Supernet], tmp_path: Path
) -> None:
    supernet = make_supernet("mobilenetv3")
    loaders = loaders_of(supernet)
    settings = TSESettings(num_batches=20, batch_size=8)
    images = 20 * 8 * 3 * 32 * 32

    def size_sent(data: Any) -> int:
        estimator = create_estimator("tse", settings, supernet=supernet, data=data)
        buffer = io.BytesIO()
        write_measure(Measured(estimator), buffer)
        return buffer.tell()

    weights = io.BytesIO()
    torch.save(supernet, weights)
    sent, floats = size_sent(loaders), size_sent(Minibatches(list(loaders.train.take(20))))
    assert sent - weights.tell() < images * 1.05
    assert floats - weights.tell() > images * 3.5


def test_workers_measure_what_this_process_does(
    make_supernet: Callable[..., Supernet], forked_workers: None
) -> None:
    from estimators.executors.local_processes import LocalProcesses

    supernet = make_supernet()
    settings = TSESettings(num_batches=3, batch_size=8)
    estimator = create_estimator("tse", settings, supernet=supernet, data=loaders_of(supernet))
    archs = [supernet.space.sample(np.random.default_rng(i)) for i in range(3)]
    with LocalProcesses(Measured(estimator), num_workers=2) as workers:
        trials = sorted(workers.measure(list(enumerate(archs))), key=lambda trial: trial.number)
    expected = [estimator.estimate(arch).metrics for arch in archs]
    assert [trial.metrics for trial in trials] == expected
