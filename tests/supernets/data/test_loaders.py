"""The named data sets: splits, normalisation, settings, and every refusal of an argument."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from sklearn.datasets import load_digits

from supernets.data import loaders as data
from supernets.data.config import DataConfig
from supernets.data.image_loader import Augmentation
from supernets.data.loaders import create_loaders
from supernets.training.checkpoint import reopen_data
from tests.supernets.data.opening import open_data


def test_digits_splits() -> None:
    loaders = create_loaders(DataConfig("digits", val_fraction=0.25), seed=4)
    assert (loaders.num_classes, loaders.input_size) == (10, (1, 8, 8))
    splits = loaders.splits
    assert {name: len(indices) for name, indices in splits.items()} == {
        "train": 1077,
        "val": 360,
        "test": 360,
    }
    everything = np.concatenate(list(splits.values()))
    assert np.array_equal(np.sort(everything), np.arange(1797))
    labels = load_digits().target
    for indices in splits.values():
        share = np.bincount(labels[indices]) / len(indices)
        assert np.abs(share - np.bincount(labels) / 1797).max() < 0.01


def test_digits_val_and_test_are_the_digits_in_a_fixed_order() -> None:
    loaders = create_loaders("digits", eval_batch_size=100)
    bunch = load_digits()
    orders = {
        "val": np.random.default_rng(0).permutation(loaders.splits["val"]),
        "test": loaders.splits["test"],
    }
    for name, loader in (("val", loaders.val), ("test", loaders.test)):
        for epoch in (0, 1):
            batches = list(loader.epoch(epoch))
            x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
            assert torch.equal(y, torch.from_numpy(bunch.target[orders[name]]))
            expected = (bunch.images[orders[name]] / 16 - 0.305) / 0.376
            # 16 levels on the scale 0..255 are off by at most half a step.
            assert np.abs(x[:, 0].numpy() - expected).max() < 0.51 / 255 / 0.376


def test_digits_are_normalised_and_never_flipped() -> None:
    loaders = create_loaders("digits", batch_size=2000)
    x, _ = next(iter(loaders.train_eval))
    assert abs(float(x.mean())) < 0.02
    assert abs(float(x.std()) - 1) < 0.02
    assert not loaders.train._draw(0, 0, 8, 8)[2].any()


def test_train_eval_is_the_train_split_shuffled_without_augmentation() -> None:
    loaders = create_loaders("digits", batch_size=2000)
    x, y = next(iter(loaders.train_eval))
    train_x, train_y = next(iter(loaders.train))
    assert not torch.equal(x, train_x)
    assert torch.equal(y.bincount(), train_y.bincount())
    rows = {row.numpy().tobytes() for row in x}
    order = {row.numpy().tobytes() for row in next(loaders.train_eval.epoch(1))[0]}
    assert rows == order
    assert not torch.equal(next(loaders.train_eval.epoch(1))[1], y)


def test_cutout_is_of_the_train_split_alone_and_is_recorded(
    assert_same: Callable[..., None],
) -> None:
    plain, cut = create_loaders("digits"), create_loaders(DataConfig("digits", cutout=4))
    (x, y), (cut_x, cut_y) = next(iter(plain.train)), next(iter(cut.train))
    assert torch.equal(y, cut_y) and not torch.equal(x, cut_x)
    assert ((x == cut_x) | (cut_x == 0)).all()
    for name in ("train_eval", "val", "test"):
        assert_same(getattr(cut, name), list(getattr(plain, name)))
    assert cut.settings == {**plain.settings, "cutout": 4}


@pytest.mark.parametrize("settings", [{}, {"cutout": 4}])
def test_data_are_reopened_with_their_cutout(
    settings: dict[str, int], assert_same: Callable[..., None]
) -> None:
    loaders = create_loaders(DataConfig("digits", **settings))
    stored = {"data": {**loaders.settings, "batch_size": 64}, "data_dir": None}
    reopened = reopen_data(
        {**stored, "skip_bad_images": False}, Path("last.pt"), device=torch.device("cpu")
    )
    assert reopened.settings == loaders.settings
    assert_same(reopened.train, list(loaders.train))


def test_splits_and_digest_follow_the_seed() -> None:
    same = [create_loaders("digits", seed=1), create_loaders("digits", seed=1)]
    other = create_loaders("digits", seed=2)
    assert same[0].settings == same[1].settings
    for name, indices in same[0].splits.items():
        assert np.array_equal(indices, same[1].splits[name])
        assert not np.array_equal(indices, other.splits[name])
    assert same[0].settings["split_digest"] != other.settings["split_digest"]
    assert len(same[0].settings["split_digest"]) == 64


def test_settings_are_plain_and_rebuild_the_splits() -> None:
    loaders = create_loaders(DataConfig("digits", image_size=12, val_fraction=0.3), seed=5)
    settings = json.loads(json.dumps(loaders.settings))
    again = create_loaders(
        DataConfig(
            settings["dataset"],
            image_size=settings["image_size"],
            val_fraction=settings["val_fraction"],
        ),
        seed=settings["seed"],
    )
    assert again.settings == settings
    assert settings["class_names"] == list(loaders.class_names) == [str(i) for i in range(10)]
    for name in ("train", "val", "test"):
        assert settings[f"num_{name}"] == len(loaders.splits[name])
        assert settings[f"num_{name}"] == getattr(loaders, name).num_images


def test_digits_can_be_resized() -> None:
    loaders = create_loaders(DataConfig("digits", image_size=16))
    x, _ = next(iter(loaders.test))
    assert x.shape[1:] == (1, 16, 16) == loaders.input_size
    index = loaders.splits["test"][0]
    pixels = np.rint(load_digits().images[index] * 255 / 16).astype(np.uint8)
    resized = Image.fromarray(pixels).resize((16, 16), Image.Resampling.BILINEAR)
    expected = (np.asarray(resized, np.float32) / 255 - 0.305) / 0.376
    assert np.allclose(x[0, 0].numpy(), expected, atol=1e-5)


def test_only_train_is_shared_among_ranks(assert_same: Callable[..., None]) -> None:
    ranks = [create_loaders("digits", batch_size=32, rank=rank, world_size=2) for rank in range(2)]
    whole = create_loaders("digits", batch_size=64)
    first, second = (next(iter(loaders.train)) for loaders in ranks)
    x, y = next(iter(whole.train))
    assert torch.equal(torch.cat([first[0], second[0]]), x)
    assert torch.equal(torch.cat([first[1], second[1]]), y)
    assert_same(ranks[0].val, list(whole.val))
    assert_same(ranks[0].train_eval, list(ranks[1].train_eval))


@pytest.fixture
def write_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Writes tiny sets in CIFAR's file format; their checksums are taken for granted."""
    monkeypatch.setattr(
        torchvision.datasets.cifar, "check_integrity", lambda path, md5=None: Path(path).is_file()
    )

    def write(dataset: str) -> Path:
        cifar = getattr(torchvision.datasets, dataset.upper())
        base = tmp_path / cifar.base_folder
        base.mkdir()
        num_classes = int(dataset.removeprefix("cifar"))
        key = "labels" if dataset == "cifar10" else "fine_labels"
        rng = np.random.default_rng(0)
        for file_name, _ in cifar.train_list + cifar.test_list:
            pixels = rng.integers(0, 256, (4 * num_classes, 3072), dtype=np.uint8)
            entry = {"data": pixels, key: [i % num_classes for i in range(4 * num_classes)]}
            (base / file_name).write_bytes(pickle.dumps(entry))
        names = [f"class{i}" for i in range(num_classes)]
        (base / cifar.meta["filename"]).write_bytes(pickle.dumps({cifar.meta["key"]: names}))
        return tmp_path

    yield write


@pytest.mark.parametrize(
    ("dataset", "num_train", "mean", "std"),
    [
        ("cifar10", 200, (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
        ("cifar100", 400, (129.3, 124.1, 112.4), (68.2, 65.4, 70.4)),
    ],
)
def test_cifar(
    dataset: str,
    num_train: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    write_cifar: Callable[[str], Path],
) -> None:
    data_dir = write_cifar(dataset)
    loaders = create_loaders(DataConfig(dataset, data_dir=data_dir, val_fraction=0.5))
    num_classes = int(dataset.removeprefix("cifar"))
    assert (loaders.num_classes, loaders.input_size) == (num_classes, (3, 32, 32))
    assert loaders.class_names[3] == "class3"
    assert sorted(loaders.splits) == ["train", "val"]
    assert np.array_equal(
        np.sort(np.concatenate([loaders.splits["train"], loaders.splits["val"]])),
        np.arange(num_train),
    )
    official = getattr(torchvision.datasets, dataset.upper())(data_dir, train=False)
    x, y = next(iter(loaders.test))
    assert y.tolist() == official.targets
    expected = (official.data.astype(np.float32) - mean) / std  # (N, H, W, C)
    assert np.allclose(x.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)
    counts = torch.cat([y for _, y in loaders.val]).bincount()
    assert counts.min() == counts.max()
    assert loaders.train._augmentation == Augmentation(pad=4, flip=True)


def test_cifar_larger_than_the_budget_equals_cifar_in_memory(
    write_cifar: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    assert_same: Callable[..., None],
) -> None:
    data_dir = write_cifar("cifar10")
    config = DataConfig("cifar10", data_dir=data_dir, image_size=48, cutout=16)
    in_memory = create_loaders(config, num_workers=0)
    monkeypatch.setattr(data, "MEMORY_BUDGET", 0)
    streamed = create_loaders(config, num_workers=0)
    assert streamed.input_size == (3, 48, 48)
    assert_same(streamed.train, list(in_memory.train))


def test_missing_cifar_names_its_folder(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=f"cifar10 is missing .*{tmp_path}.*--download.*--data-dir"
    ):
        create_loaders(DataConfig("cifar10", data_dir=tmp_path))


def test_failed_download_names_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", refuse)
    with pytest.raises(ValueError, match=f"download cifar100 to {tmp_path} .no route to host"):
        create_loaders(DataConfig("cifar100", data_dir=tmp_path, download=True))


@pytest.mark.parametrize(
    ("dataset", "settings", "message"),
    [
        ("x", {}, "Unknown dataset 'x'; choose from digits, cifar10, cifar100, folder."),
        ("digits", {"data_dir": Path("d")}, "digits come with scikit-learn; .*--data-dir d"),
        ("digits", {"download": True}, "digits cannot be downloaded"),
        ("folder", {"data_dir": Path("d"), "download": True}, "folder cannot be downloaded"),
        ("digits", {"skip_bad_images": True}, "digits has no image files to skip"),
        ("cifar10", {}, "cifar10 needs the folder of its data; pass --data-dir"),
        ("folder", {}, "folder needs the folder of its data; pass --data-dir"),
        ("folder", {"data_dir": Path("no/such")}, "no/such does not exist"),
        ("digits", {"val_fraction": 0.0}, "val_fraction must be between 0 and 1, got 0.0"),
        ("digits", {"val_fraction": 1.0}, "val_fraction must be between 0 and 1, got 1.0"),
        ("digits", {"val_fraction": float("nan")}, "val_fraction must be between 0 and 1"),
        ("digits", {"val_fraction": 0.001}, "val split of 2 of 1437 images"),
        ("digits", {"val_fraction": 0.999}, "val split of 1436 of 1437 images"),
        ("digits", {"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ("digits", {"eval_batch_size": 0}, "eval_batch_size must be at least 1, got 0"),
        ("digits", {"image_size": 0}, "image_size must be at least 1, got 0"),
        ("digits", {"num_workers": -1}, "num_workers must not be negative, got -1"),
        ("digits", {"cutout": -1}, "cutout must not be negative, got -1"),
        ("digits", {"cutout": 9}, "cutout must be at most the 8 pixels of an image, got 9"),
        ("timm", {"data_dir": Path("d"), "cutout": 4}, "timm is augmented by timm; use --re-prob"),
        ("digits", {"world_size": 0}, "world_size must be at least 1, got 0"),
        ("digits", {"rank": 2, "world_size": 2}, "rank must be from 0 to world_size - 1 = 1"),
        ("digits", {"world_size": 1200}, "1149 images cannot feed 1200 processes"),
        ("digits", {"seed": -1}, "seed must "),
        ("digits", {"seed": 2**32}, "seed must "),
    ],
)
def test_arguments_are_checked(dataset: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        open_data(dataset, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.gpu
def test_an_accelerator_gives_the_batches_of_the_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs an accelerator")
    expected = create_loaders(DataConfig("digits", cutout=3))
    for (x, y), (cpu_x, cpu_y) in zip(
        create_loaders(DataConfig("digits", cutout=3), device="cuda").train,
        expected.train,
        strict=True,
    ):
        assert (x.device.type, y.device.type) == ("cuda", "cuda")
        assert torch.allclose(x.cpu(), cpu_x, atol=1e-6)
        assert torch.equal(y.cpu(), cpu_y)
