"""Image classification data: the named data sets, their seeded splits, a loader for each split."""

from __future__ import annotations

import hashlib
import logging
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torchvision.datasets import CIFAR10, CIFAR100

from supernets.image_folder import FolderReader, find_images, fit_square, guess_image_size
from supernets.image_loader import (
    Augmentation,
    ImageLoader,
    ImageReader,
    MemoryPixels,
    PixelSource,
    StreamedPixels,
    read_all,
)

__all__ = ["DATASETS", "ImageLoader", "Loaders", "create_loaders"]

logger = logging.getLogger(__name__)

DATASETS = ("digits", "cifar10", "cifar100", "folder")

MEMORY_BUDGET = 4 * 2**30  # bytes of pixels; larger sets are read batch by batch
TEST_FRACTION = 0.2  # held out of sets that come without a test split

# Mean and std per channel of pixels scaled to 0..1: for CIFAR those of NAS-Bench-201's code, for
# folders those of ImageNet.
_STATISTICS = {
    "digits": ((0.305,), (0.376,)),
    "cifar10": (
        (125.3 / 255, 123.0 / 255, 113.9 / 255),
        (63.0 / 255, 62.1 / 255, 66.7 / 255),
    ),
    "cifar100": (
        (129.3 / 255, 124.1 / 255, 112.4 / 255),
        (68.2 / 255, 65.4 / 255, 70.4 / 255),
    ),
    "folder": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


@dataclass(frozen=True)
class Loaders:
    """The loaders of one data set and what identifies its splits.

    A search looks at ``train`` and ``val``; ``test`` is for the final report.
    """

    train: ImageLoader  # augmented, shuffled
    train_eval: ImageLoader  # the train images, shuffled, not augmented
    val: ImageLoader  # not augmented, in fixed order
    test: ImageLoader  # not augmented, in fixed order
    num_classes: int
    class_names: tuple[str, ...]
    input_size: tuple[int, int, int]  # (channels, height, width)
    settings: dict[str, Any]  # plain types; split_digest is a sha256 over names and labels
    splits: dict[str, NDArray[np.int64]]  # train, val and, if drawn from the same images, test


@dataclass(frozen=True)
class _Dataset:
    """All images of a data set and the splits it comes with."""

    reader: ImageReader
    labels: NDArray[np.int64]  # (num_images,)
    class_names: tuple[str, ...]
    splits: dict[str, NDArray[np.int64]]  # "train" and, unless they are to be drawn, "val", "test"


def create_loaders(
    dataset: str,
    *,
    data_dir: Path | None = None,
    image_size: int | None = None,
    val_fraction: float = 0.2,
    batch_size: int = 64,
    eval_batch_size: int = 512,
    seed: int = 0,
    device: torch.device | str = "cpu",
    num_workers: int = 2,
    download: bool = False,
    skip_bad_images: bool = False,
    rank: int = 0,
    world_size: int = 1,
) -> Loaders:
    """Opens a data set, draws its splits and builds their loaders.

    Splits are stratified and depend on the images, ``val_fraction`` and ``seed`` only. Train images
    are padded with black by an eighth of their size, 4 pixels at 32, cropped at random and, except
    digits, flipped with probability 0.5. Sets of up to ``MEMORY_BUDGET`` bytes are read here and
    kept on the device as uint8; larger ones are read whenever a batch is wanted.

    Args:
        dataset: One of ``DATASETS``. "digits" is scikit-learn's 8x8 set, with a fifth held out as
            test. "cifar10" and "cifar100" are torchvision's, with the official test split. "folder"
            is ``train/<class>/`` with ``test/<class>/`` or, in its place, ``val/<class>/``; one
            with all three brings its val split, and ``val_fraction`` is not used. Of plain
            ``<class>/`` folders a fifth is held out as test.
        data_dir: Folder of the data; for all but the digits.
        image_size: Height and width in pixels, or None for those of the data. The images of a
            folder are resized by their shorter side and cropped to the central square; None means
            their own size if the first train image of each class is a square of one size, else 224.
        val_fraction: Part of the train images to hold out as val, in (0, 1).
        batch_size: Images per minibatch and process of ``train`` and ``train_eval``.
        eval_batch_size: Images per minibatch of ``val`` and ``test``.
        seed: Of splits, order and augmentation, in 0..2**32 - 1.
        device: Where the minibatches are made.
        num_workers: Threads that read images into memory, or processes that read batch by batch.
        download: Download CIFAR if ``data_dir`` lacks it.
        skip_bad_images: Leave unreadable images of a folder out, with a warning each.
        rank: This process among those that share the batches of ``train``; every process sees all
            of the other splits.
        world_size: The number of such processes.

    Returns:
        The loaders, with what describes the data.

    Raises:
        ValueError: If an argument is out of range or does not apply, or the data are missing or
            unfit.
    """
    _check_source(dataset, data_dir, download, skip_bad_images)
    _check_at_least(1, batch_size=batch_size, eval_batch_size=eval_batch_size)
    _check_at_least(1, image_size=image_size, world_size=world_size)
    _check_at_least(0, num_workers=num_workers)
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction must be between 0 and 1, got {val_fraction}.")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must be from 0 to 2**32 - 1, got {seed}.")
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must be from 0 to world_size - 1 = {world_size - 1}, got {rank}.")

    images = _open_dataset(dataset, data_dir, image_size, download, skip_bad_images)
    splits = _draw_splits(images, val_fraction, seed)
    device = torch.device(device)
    pixels, splits = _open_pixels(images, splits, device, num_workers, skip_bad_images)
    height, width, channels = images.reader.shape
    mean, std = _STATISTICS[dataset]
    labels = torch.from_numpy(images.labels).to(device)
    loader = partial(ImageLoader, pixels, labels, mean=mean, std=std, seed=seed)
    train = loader(
        indices=splits["train"],
        batch_size=batch_size,
        augmentation=Augmentation(pad=height // 8, flip=dataset != "digits"),
        shuffle=True,
        rank=rank,
        world_size=world_size,
    )
    return Loaders(
        train=train,
        train_eval=loader(indices=splits["train"], batch_size=batch_size, shuffle=True),
        val=loader(indices=splits["val"], batch_size=eval_batch_size),
        test=loader(indices=splits["test"], batch_size=eval_batch_size),
        num_classes=len(images.class_names),
        class_names=images.class_names,
        input_size=(channels, height, width),
        settings={
            "dataset": dataset,
            "val_fraction": val_fraction,
            "seed": seed,
            **_describe(dataset, images, splits),
        },
        splits={s: i for s, i in splits.items() if s != "test" or "test" not in images.splits},
    )


def _check_source(
    dataset: str, data_dir: Path | None, download: bool, skip_bad_images: bool
) -> None:
    if dataset not in DATASETS:
        raise ValueError(f"Unknown dataset {dataset!r}; choose from {', '.join(DATASETS)}.")
    if dataset == "digits" and data_dir is not None:
        raise ValueError(f"digits come with scikit-learn; leave out --data-dir {data_dir}.")
    if dataset != "digits" and data_dir is None:
        raise ValueError(f"{dataset} needs the folder of its data; pass --data-dir.")
    if download and dataset in ("digits", "folder"):
        raise ValueError(f"{dataset} cannot be downloaded; leave out --download.")
    if skip_bad_images and dataset != "folder":
        raise ValueError(f"{dataset} has no image files to skip; leave out --skip-bad-images.")


def _check_at_least(least: int, **values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}.")


class _ArrayReader:
    """Images of an array (num_images, H, W, C), resized to ``image_size`` unless that is None."""

    def __init__(self, images: NDArray[np.uint8], names: list[str], image_size: int | None) -> None:
        size = image_size or images.shape[1]
        self.shape = (size, size, images.shape[3])
        self._images = images
        self._names = names

    def __len__(self) -> int:
        return len(self._images)

    def name(self, index: int) -> str:
        return self._names[index]

    def read(self, index: int) -> NDArray[np.uint8]:
        image: NDArray[np.uint8] = self._images[index]
        if image.shape == self.shape:
            return image
        plane = image[:, :, 0] if image.shape[2] == 1 else image
        return fit_square(Image.fromarray(plane), self.shape[0])


def _open_dataset(
    dataset: str,
    data_dir: Path | None,
    image_size: int | None,
    download: bool,
    skip_bad_images: bool,
) -> _Dataset:
    if data_dir is None:
        return _open_digits(image_size)
    if dataset != "folder":
        return _open_cifar(dataset, data_dir, image_size, download)
    folder = find_images(data_dir)
    if len(folder.class_names) < 2:
        raise ValueError(
            f"{data_dir} has the single class {folder.class_names[0]!r}; add at least another."
        )
    if "val" in folder.splits:
        logger.info("%s brings its own val split; val_fraction is not used.", data_dir)
    if image_size is None:
        image_size = guess_image_size(folder, skip_bad_images)
    reader = FolderReader(folder, image_size)
    return _Dataset(reader, folder.labels, folder.class_names, folder.splits)


def _open_digits(image_size: int | None) -> _Dataset:
    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]  # (1797, 8, 8, 1)
    names = [str(index) for index in range(len(images))]
    return _Dataset(
        reader=_ArrayReader(images, names, image_size),
        labels=bunch.target.astype(np.int64),
        class_names=tuple(str(digit) for digit in range(10)),
        splits={"train": np.arange(len(images))},
    )


def _open_cifar(dataset: str, data_dir: Path, image_size: int | None, download: bool) -> _Dataset:
    cifar = CIFAR10 if dataset == "cifar10" else CIFAR100
    try:
        train = cifar(data_dir, train=True, download=download)
        test = cifar(data_dir, train=False, download=download)
    except (RuntimeError, OSError) as error:
        if download:
            raise ValueError(f"Cannot download {dataset} to {data_dir} ({error}).") from error
        raise ValueError(
            f"{dataset} is missing or incomplete in {data_dir}; "
            "pass --download, or its folder as --data-dir."
        ) from error
    num_train = len(train.data)
    names = [f"train/{i}" for i in range(num_train)] + [f"test/{i}" for i in range(len(test.data))]
    return _Dataset(
        reader=_ArrayReader(np.concatenate([train.data, test.data]), names, image_size),
        labels=np.array(train.targets + test.targets, np.int64),
        class_names=tuple(train.classes),
        splits={"train": np.arange(num_train), "test": np.arange(num_train, len(names))},
    )


def _draw_splits(images: _Dataset, val_fraction: float, seed: int) -> dict[str, NDArray[np.int64]]:
    """Train, val and test, ascending; what the data set lacks is drawn from its train images."""
    splits = dict(images.splits)
    for split, fraction in (("test", TEST_FRACTION), ("val", val_fraction)):
        if split in splits:
            continue
        pool = splits["train"]
        labels = images.labels[pool]
        counts = np.bincount(labels, minlength=len(images.class_names))
        if counts.min() < 2:
            raise ValueError(
                f"Class {images.class_names[counts.argmin()]!r} has {counts.min()} train images, "
                f"but drawing a {split} split takes at least 2 of each class; add images."
            )
        num_drawn = math.ceil(fraction * len(pool))
        if min(num_drawn, len(pool) - num_drawn) < len(counts):
            raise ValueError(
                f"A {split} split of {num_drawn} of {len(pool)} images leaves fewer images than "
                f"the {len(counts)} classes on one side; add images or change val_fraction."
            )
        train, drawn = train_test_split(
            pool, test_size=num_drawn, stratify=labels, random_state=seed
        )
        splits["train"], splits[split] = np.sort(train), np.sort(drawn)
    return {split: splits[split] for split in ("train", "val", "test")}


def _open_pixels(
    images: _Dataset,
    splits: dict[str, NDArray[np.int64]],
    device: torch.device,
    num_workers: int,
    skip_bad_images: bool,
) -> tuple[PixelSource, dict[str, NDArray[np.int64]]]:
    """Reads the images, if they fit, and leaves those that could not be read out of the splits."""
    if len(images.reader) * math.prod(images.reader.shape) > MEMORY_BUDGET:
        return StreamedPixels(images.reader, device, num_workers, skip_bad_images), splits
    array, bad = read_all(images.reader, num_workers, skip_bad_images)
    splits = {split: np.setdiff1d(indices, bad) for split, indices in splits.items()}
    counts = np.bincount(images.labels[splits["train"]], minlength=len(images.class_names))
    if counts.min() < 1:
        raise ValueError(
            f"Class {images.class_names[counts.argmin()]!r} has no readable train image; repair "
            "its files or remove it."
        )
    for split, indices in splits.items():
        if not len(indices):
            raise ValueError(f"The {split} split has no readable image; repair its files.")
    return MemoryPixels(torch.from_numpy(array).to(device)), splits


def _describe(
    dataset: str, images: _Dataset, splits: dict[str, NDArray[np.int64]]
) -> dict[str, Any]:
    """What the loaders' settings say of the images."""
    digest = hashlib.sha256()
    for split, indices in splits.items():
        lines = [f"{images.reader.name(int(i))}\t{images.labels[i]}" for i in indices]
        digest.update("\n".join([split, *lines, ""]).encode())
    mean, std = _STATISTICS[dataset]
    return {
        "image_size": images.reader.shape[0],
        "mean": list(mean),
        "std": list(std),
        "split_digest": digest.hexdigest(),
        **{f"num_{split}": len(indices) for split, indices in splits.items()},
        "class_names": list(images.class_names),
    }
