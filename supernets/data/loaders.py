"""Image classification data: the named data sets, their seeded splits, a loader for each split."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import supernets.runtime.option_types as kinds
from supernets.data.builtin_sets import ImageSet, open_cifar, open_digits, open_folder, open_timm
from supernets.data.config import DataConfig
from supernets.data.image_loader import ImageLoader, Loader, PixelSource
from supernets.data.memory_pixels import MemoryPixels, read_all
from supernets.data.names import is_own, is_stream, is_timm_dataset
from supernets.data.own_loaders import are_loaders, own_loaders, size_of_images
from supernets.data.own_sets import make_own, open_own
from supernets.data.splits import draw_splits, split_digest
from supernets.data.streamed_pixels import StreamedPixels, check_classes, check_readable
from supernets.data.summary import count_copies, data_found
from supernets.data.timm_options import TimmAugmentation, TimmOptions
from supernets.data.timm_stream import open_streams
from supernets.data.timm_transforms import MEAN, STD
from supernets.runtime.device import resolve_device
from supernets.runtime.option_types import check_settings

logger = logging.getLogger(__name__)

_KINDS: dict[str, kinds.Whole | kinds.Real] = {
    "batch_size": kinds.BATCH,
    "eval_batch_size": kinds.BATCH,
    "seed": kinds.SEED,
    "num_workers": kinds.WORKERS,
    "world_size": kinds.POSITIVE_INT,
}
MEMORY_BUDGET = 4 * 2**30  # bytes of pixels; larger sets are read batch by batch
#: Side of timm's images in pixels where none is asked for.
TIMM_SIZE = 224


@dataclass(frozen=True)
class Loaders:
    """The loaders of one data set and what identifies its splits.

    A search looks at ``train`` and ``val``; ``test`` is for the final report.
    """

    train: Loader  # augmented, shuffled
    train_eval: Loader  # the train images, shuffled, not augmented
    val: Loader  # not augmented, in a fixed order that mixes the classes
    test: Loader  # not augmented, in the order of the data
    num_classes: int
    class_names: tuple[str, ...]
    input_size: tuple[int, int, int]  # (channels, height, width)
    #: Plain types; split_digest is a sha256 over names and labels, found says what was found.
    settings: dict[str, Any]
    splits: dict[str, NDArray[np.int64]]  # those drawn from the same images; none of a stream
    data_dir: Path | None = None  # as it was given
    skip_bad_images: bool = False

    def with_fewer_train(self, num_train: int) -> Loaders:
        """Returns the same data with fewer train images, drawn at random by the seed of the data.

        Args:
            num_train: Number of train images.

        Raises:
            ValueError: If there are fewer, or the data have no random access.
        """
        if not isinstance(self.train, ImageLoader):
            raise ValueError("num_train needs data with random access.")
        if num_train > self.train.num_images:
            raise ValueError(
                f"num_train is {num_train}, but there are {self.train.num_images} train images; "
                "lower it or leave it out."
            )
        rng = np.random.default_rng(self.settings["seed"])
        drawn = rng.permutation(self.splits["train"])[:num_train]
        return replace(
            self,
            train=self.train.over(np.sort(drawn)),
            settings={**self.settings, "num_train": num_train},
        )


def create_loaders(
    data: DataConfig | str,
    *,
    batch_size: int = 64,
    eval_batch_size: int = 512,
    seed: int = 0,
    device: torch.device | str = "cpu",
    num_workers: int = 2,
    rank: int = 0,
    world_size: int = 1,
) -> Loaders:
    """Opens a data set, draws its splits and builds their loaders.

    Splits are stratified, unless a class has a single image, and depend on the images,
    ``val_fraction`` or ``num_val``, and ``seed`` only.

    Sets of up to ``MEMORY_BUDGET`` bytes that timm does not read are read here and kept on the
    device as uint8; others are read whenever a batch is wanted.

    Args:
        data: Which data; a name alone stands for ``DataConfig(name)``.
        batch_size: Images per minibatch and process of ``train`` and ``train_eval``.
        eval_batch_size: Images per minibatch of ``val`` and ``test``.
        seed: Seed of the splits, the order and the augmentation, in 0..2**32 - 1.
        device: Device that the minibatches are made on.
        num_workers: Threads that read images into memory, or processes that read batch by batch.
        rank: Rank of this process among those that share the batches of ``train``; every process
            sees all of the other splits.
        world_size: The number of such processes.

    Returns:
        The loaders, with what describes the data.

    Raises:
        ValueError: If an argument is out of range or does not apply, or the data are missing or
            unfit.

    Example:
        >>> loaders = create_loaders(DataConfig("digits", image_size=16), batch_size=100)
        >>> x, y = next(loaders.train.epoch(0))
        >>> tuple(x.shape), tuple(y.shape)
        ((100, 1, 16, 16), (100,))
    """
    config = DataConfig(data) if isinstance(data, str) else data
    check_settings(
        _KINDS,
        {
            "batch_size": batch_size,
            "eval_batch_size": eval_batch_size,
            "seed": seed,
            "num_workers": num_workers,
            "world_size": world_size,
        },
    )
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must be from 0 to world_size - 1 = {world_size - 1}, got {rank}.")
    device = resolve_device(device)
    settings = {**config.settings, "seed": seed}
    if is_stream(config.dataset):
        if world_size > 1 or config.num_val is not None:
            raise ValueError(f"{config.dataset} is a stream; leave out num_val, use one process.")
        streams = open_streams(
            config.dataset,
            config.folder,
            config.timm_options or TimmOptions(),
            config.augmentation or TimmAugmentation(),
            image_size=config.image_size or TIMM_SIZE,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            seed=seed,
            device=device,
            num_workers=num_workers,
            download=config.download,
        )
        side = config.image_size or TIMM_SIZE
        settings |= {"mean": list(MEAN), "std": list(STD)}
        return _stream_loaders(*streams, config, settings, (3, side, side))
    parts = make_own(config.dataset, config.folder) if is_own(config.dataset) else {}
    if are_loaders(parts):
        if world_size > 1:
            raise ValueError(
                f"{config.dataset} makes DataLoaders, which are of one process; make data sets."
            )
        loaders, class_names = own_loaders(
            parts,
            name=config.dataset,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            device=device,
            seed=seed,
        )
        shape = size_of_images(loaders)
        _check_left_to_loaders(config, shape)
        settings |= {"mean": [0.0] * shape[0], "std": [1.0] * shape[0]}  # as they are given
        return _stream_loaders(loaders, class_names, config, settings, shape)
    images = _open(config, parts, seed)
    drawn = draw_splits(
        images.splits,
        images.labels,
        images.class_names,
        val_fraction=config.val_fraction,
        num_val=config.num_val,
        seed=seed,
    )
    pixels, augmented, splits = _open_pixels(
        images, drawn, device, num_workers, config.skip_bad_images
    )
    found = _found(images, drawn, splits, is_told=rank == 0)
    labels = torch.from_numpy(images.labels).to(device)
    loader = partial(ImageLoader, labels=labels, mean=images.mean, std=images.std, seed=seed)
    height, width, channels = images.reader.shape
    # Images often come sorted by class. Mixed, any first minibatches stand for the whole split, and
    # so do the batch statistics of a BatchNorm that has no running ones.
    val_indices = np.random.default_rng(seed).permutation(splits["val"])
    train = loader(
        augmented,
        indices=splits["train"],
        batch_size=batch_size,
        augmentation=images.augmentation,
        shuffle=True,
        rank=rank,
        world_size=world_size,
    )
    if train.num_joining and rank == 0:
        logger.info(
            "Of %d train images %d would be a last minibatch too small for BatchNorm, and join the "
            "one before.",
            train.num_images,
            train.num_joining,
        )
    return Loaders(
        train=train,
        train_eval=loader(pixels, indices=splits["train"], batch_size=batch_size, shuffle=True),
        val=loader(pixels, indices=val_indices, batch_size=eval_batch_size),
        test=loader(pixels, indices=splits["test"], batch_size=eval_batch_size),
        num_classes=len(images.class_names),
        class_names=images.class_names,
        input_size=(channels, height, width),
        settings={
            **settings,
            "image_size": height,
            "mean": list(images.mean),
            "std": list(images.std),
            "split_digest": split_digest(splits, images.labels, images.reader.name),
            **{f"num_{split}": len(indices) for split, indices in splits.items()},
            "class_names": list(images.class_names),
            "found": found,
        },
        splits={s: i for s, i in splits.items() if s != "test" or "test" not in images.splits},
        data_dir=config.folder,
        skip_bad_images=config.skip_bad_images,
    )


def _check_left_to_loaders(config: DataConfig, shape: tuple[int, int, int]) -> None:
    for name, is_asked_for in (
        ("--image-size", config.image_size not in (None, shape[1])),
        ("--num-val", config.num_val is not None),
        ("--cutout", config.cutout > 0),
    ):
        if is_asked_for:
            raise ValueError(
                f"{config.dataset} makes DataLoaders, which decide that; leave {name} out, or make "
                "data sets."
            )


def _open(config: DataConfig, parts: Mapping[str, Any], seed: int) -> ImageSet:
    folder, image_size = config.folder, config.image_size
    if is_timm_dataset(config.dataset):
        return open_timm(
            config.dataset,
            folder,
            image_size or TIMM_SIZE,
            config.augmentation or TimmAugmentation(),
            config.timm_options or TimmOptions(),
            seed,
            config.download,
        )
    if is_own(config.dataset):
        images = open_own(config.dataset, parts, image_size)
    elif folder is None:
        images = open_digits(image_size)
    elif config.dataset == "folder":
        images = open_folder(folder, image_size, config.skip_bad_images)
    else:
        images = open_cifar(config.dataset, folder, image_size, config.download)
    if config.cutout == 0:
        return images
    side = images.reader.shape[0]
    if config.cutout > side:
        raise ValueError(
            f"cutout must be at most the {side} pixels of an image, got {config.cutout}."
        )
    assert images.augmentation is not None
    return replace(images, augmentation=replace(images.augmentation, cutout=config.cutout))


def _open_pixels(
    images: ImageSet,
    splits: dict[str, NDArray[np.int64]],
    device: torch.device,
    num_workers: int,
    skip_bad_images: bool,
) -> tuple[PixelSource, PixelSource, dict[str, NDArray[np.int64]]]:
    """The images as stored and for training; reads them, if they fit.

    Of images that are read here, those that cannot be are left out of the splits.
    """
    stream = partial(
        StreamedPixels, device=device, num_workers=num_workers, skip_bad_images=skip_bad_images
    )
    if (
        images.augmenting_reader is not None
        or len(images.reader) * math.prod(images.reader.shape) > MEMORY_BUDGET
    ):
        if skip_bad_images:
            check_readable(images.reader, splits, images.labels, images.class_names, num_workers)
        streamed = stream(images.reader)
        augmenting = images.augmenting_reader
        return streamed, streamed if augmenting is None else stream(augmenting), splits
    array, bad = read_all(images.reader, num_workers, skip_bad_images)
    drawn, splits = splits, {name: np.setdiff1d(i, bad) for name, i in splits.items()}
    readable = {split: set(images.labels[indices].tolist()) for split, indices in splits.items()}
    check_classes(drawn, images.labels, readable, images.class_names)
    pixels = MemoryPixels(torch.from_numpy(array).to(device))
    return pixels, pixels, splits


def _found(
    images: ImageSet,
    drawn: dict[str, NDArray[np.int64]],
    splits: dict[str, NDArray[np.int64]],
    *,
    is_told: bool,
) -> dict[str, Any]:
    """What was found, which is logged as well if ``is_told``; ``splits`` lack unreadable images."""
    num_copies = None
    if images.path is not None and is_told:
        num_copies = count_copies(images.path, splits, images.labels)
    counts = {split: len(indices) for split, indices in splits.items()}
    passed_over = images.passed_over
    num_unreadable = sum(map(len, drawn.values())) - sum(counts.values())
    if num_unreadable > 0:
        passed_over = (passed_over or Counter()) + Counter({"unreadable": num_unreadable})
    found = data_found(images.class_names, counts, passed_over, num_copies)
    if is_told:
        logger.info("%s", found["summary"])
    return found


def _stream_loaders(
    loaders: Mapping[str, Loader],
    class_names: tuple[str, ...],
    config: DataConfig,
    settings: dict[str, Any],
    input_size: tuple[int, int, int],
) -> Loaders:
    counts = {split: loaders[split].num_images for split in ("train", "val", "test")}
    sizes = {f"num_{split}": count for split, count in counts.items()}
    found = data_found(class_names, counts, passed_over=None, num_copies=None)
    logger.info("%s", found["summary"])
    return Loaders(
        train=loaders["train"],
        train_eval=loaders["train_eval"],
        val=loaders["val"],
        test=loaders["test"],
        num_classes=len(class_names),
        class_names=class_names,
        input_size=input_size,
        settings={
            **settings,
            "image_size": input_size[1],
            # nothing else is known without reading all of it
            "split_digest": hashlib.sha256(json.dumps(sizes).encode()).hexdigest(),
            **sizes,
            "class_names": list(class_names),
            "found": found,
        },
        splits={},
        data_dir=config.folder,
    )
