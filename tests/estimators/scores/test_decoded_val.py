"""Validation accuracy of images that are decoded once: the trials of decoding every time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from estimators.executors.in_process import InProcess
from estimators.executors.local_processes import LocalProcesses
from estimators.executors.measure import trial_of_estimate
from estimators.factory import create_estimator
from estimators.scores import minibatches
from estimators.scores.minibatches import Draws, draw_minibatches
from estimators.scores.settings import MultiScoreSettings, ValSettings
from estimators.trials.store import Trial
from supernets.data import decoded_loader
from supernets.data import loaders as opening
from supernets.data.config import DataConfig
from supernets.data.decoded_loader import DecodedLoader
from supernets.data.loaders import Loaders, create_loaders
from supernets.data.streamed_pixels import StreamedPixels
from supernets.data.timm_options import TimmAugmentation
from supernets.networks.base import Supernet


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, of workers too."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def open_loaders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Loaders]:
    """Opens three classes of noise that do not fit into memory as a whole."""
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(0, 256, (10, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i:02}.png")
    monkeypatch.setattr(opening, "MEMORY_BUDGET", 0)

    def open_loaders(dataset: str, num_workers: int = 0) -> Loaders:
        augmentation = TimmAugmentation() if dataset == "timm" else None
        data = DataConfig(
            dataset,
            tmp_path / "images",
            image_size=8,
            val_fraction=0.5,
            augmentation=augmentation,
        )
        return create_loaders(data, batch_size=6, eval_batch_size=7, num_workers=num_workers)

    return open_loaders


def val_accuracy(supernet: Supernet, loaders: Loaders) -> Any:
    settings = ValSettings(num_recalibrate_batches=2)
    return create_estimator("val_acc", settings, supernet=supernet, data=loaders)


def trials_of(executor: Any, supernet: Supernet, num: int = 3) -> list[Any]:
    archs = [supernet.space.sample(np.random.default_rng(i)) for i in range(num)]
    with executor:
        trials = sorted(executor.measure(list(enumerate(archs))), key=lambda each: each.number)
    assert all(trial.error is None for trial in trials)
    return [(trial.arch, trial.score, trial.metrics) for trial in trials]


@pytest.mark.parametrize("where", ["memory", "file"])
@pytest.mark.parametrize("dataset", ["timm", "folder"])
def test_trials_are_those_of_decoding_every_time(
    where: str,
    dataset: str,
    make_supernet: Callable[..., Supernet],
    open_loaders: Callable[..., Loaders],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    supernet = make_supernet()
    loaders = open_loaders(dataset)
    with monkeypatch.context() as before:
        before.setattr(minibatches, "decoded_once", lambda loader, what: loader)
        before.setattr(minibatches, "PackedBatches", lambda batches=(), scalings=(): list(batches))
        before.setattr(minibatches, "_recalibration", partial(plain_recalibration))
        streaming = val_accuracy(supernet, loaders)
    assert streaming.val_batches is loaders.val
    expected = trials_of(InProcess(partial(trial_of_estimate, streaming)), supernet)
    if where == "file":
        monkeypatch.setattr(decoded_loader, "MEMORY_BUDGET", 0)
    decoding = val_accuracy(supernet, open_loaders(dataset))
    assert isinstance(decoding.val_batches, DecodedLoader)
    assert trials_of(InProcess(partial(trial_of_estimate, decoding)), supernet) == expected


def plain_recalibration(num_batches: int, supernet: Supernet, loaders: Loaders) -> Any:
    """Two minibatches as floats."""
    return list(loaders.train_eval.take(2)), {}


class Watching:
    """Measures, and says how many images were decoded on the way."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def __call__(self, number: int, arch: Any) -> Trial:
        decoded: list[int] = []
        batches = StreamedPixels.batches

        def noted(pixels: Any, index_batches: Any, epoch: int) -> Any:
            decoded.extend(len(indices) for indices in index_batches)
            return batches(pixels, index_batches, epoch)

        StreamedPixels.batches = noted  # type: ignore[method-assign]
        try:
            found = self.estimator.estimate(arch)
        finally:
            StreamedPixels.batches = batches  # type: ignore[method-assign]
        return Trial(
            number, arch, found.score, {**found.metrics, "decoded": sum(decoded)}, 0.0, None
        )


@pytest.mark.slow
@pytest.mark.parametrize("where", ["memory", "file"])
def test_workers_share_what_was_decoded(
    where: str,
    make_supernet: Callable[..., Supernet],
    open_loaders: Callable[..., Loaders],
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
    forked_workers: None,
) -> None:
    if where == "file":
        monkeypatch.setattr(decoded_loader, "MEMORY_BUDGET", 0)
    supernet = make_supernet()
    # worker processes of the loader draw for recalibration before it is sent
    estimator = val_accuracy(supernet, open_loaders("timm", num_workers=1))
    found = trials_of(LocalProcesses(Watching(estimator), num_workers=2), supernet)
    assert [metrics.pop("decoded") for _, _, metrics in found] == [0, 0, 0]
    assert len(list(temporary.glob("paceline-images-*"))) == (where == "file")
    here = trials_of(InProcess(partial(trial_of_estimate, estimator)), supernet)
    assert found == here


def test_losses_of_a_few_val_minibatches_decode_no_more_of_them(
    make_supernet: Callable[..., Supernet], open_loaders: Callable[..., Loaders]
) -> None:
    supernet, loaders = make_supernet(), open_loaders("timm")
    settings = MultiScoreSettings(num_batches=1, batch_size=6)
    assert draw_minibatches(["sovl"], settings, supernet, loaders)[0].val is loaders.val
    draws = Draws(supernet, loaders)
    both = draw_minibatches(["sovl", "val_acc"], settings, supernet, loaders, draws)[0].val
    assert isinstance(both, DecodedLoader) and both is draws.val(None)
