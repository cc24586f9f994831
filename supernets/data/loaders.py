"""Image classification data: the named data sets, their seeded splits, a loader for each split."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import supernets.runtime.option_types as kinds
from supernets.data.builtin_sets import ImageSet, open_cifar, open_digits, open_folder, open_timm
from supernets.data.image_loader import ImageLoader, Loader, PixelSource
from supernets.data.memory_pixels import MemoryPixels, read_all
from supernets.data.names import DATASETS, PREFIXES, is_known, is_stream, is_timm_dataset
from supernets.data.splits import draw_splits, split_digest
from supernets.data.streamed_pixels import StreamedPixels, check_classes, check_readable
from supernets.data.summary import count_copies, data_found
from supernets.data.timm_options import TimmAugmentation, TimmOptions
from supernets.data.timm_stream import StreamLoader, open_streams
from supernets.data.timm_transforms import MEAN, STD
from supernets.runtime.option_types import check_settings

logger = logging.getLogger(__name__)

_KINDS: dict[str, kinds.Whole | kinds.Real] = {
    "image_size": kinds.PIXELS,
    "val_fraction": kinds.FRACTION,
    "num_val": kinds.POSITIVE_INT,
    "batch_size": kinds.BATCH,
    "eval_batch_size": kinds.BATCH,
    "seed": kinds.SEED,
    "num_workers": kinds.WORKERS,
    "cutout": kinds.Whole(0, kinds.PIXELS.most),
    "world_size": kinds.POSITIVE_INT,
}
MEMORY_BUDGET = 4 * 2**30  # bytes of pixels; larger sets are read batch by batch


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


def create_loaders(
    dataset: str,
    *,
    data_dir: str | Path | None = None,
    image_size: int | None = None,
    val_fraction: float = 0.2,
    num_val: int | None = None,
    batch_size: int = 64,
    eval_batch_size: int = 512,
    seed: int = 0,
    device: torch.device | str = "cpu",
    num_workers: int = 2,
    download: bool = False,
    skip_bad_images: bool = False,
    cutout: int = 0,
    augmentation: TimmAugmentation | None = None,
    timm_options: TimmOptions | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> Loaders:
    """Opens a data set, draws its splits and builds their loaders.

    Splits are stratified, unless a class has a single image, and depend on the images,
    ``val_fraction`` or ``num_val``, and ``seed`` only.

    Data of "timm" and of names with a slash are read, augmented and normalised as timm does, by
    worker processes whenever a batch is wanted. Of the others, train images are padded with black
    by an eighth of their size, 4 pixels at 32, cropped at random and, except digits, flipped with
    probability 0.5. Sets of up to ``MEMORY_BUDGET`` bytes are read here and kept on the device as
    uint8; larger ones are read whenever a batch is wanted.

    Args:
        dataset: One of ``DATASETS``, or "hfds/<name>", "torch/<name>", "wds/<name>", "tfds/<name>"
            or "hfids/<name>" in timm's words; the last three are streams, of which ``timm_stream``
            says how they differ. "digits" is scikit-learn's 8x8 set, with a fifth held out as test.
            "cifar10" and "cifar100" are torchvision's, with the official test split. "folder" is
            ``train/<class>/`` with ``test/<class>/`` or, in its place, ``val/<class>/``; one with
            all three brings its val split, unless ``test`` has no labels, as ImageNet's. Of plain
            ``<class>/`` folders, or of ``train`` alone, a fifth is held out as test. ``image_tree``
            says which names and files count. "timm" is such a folder, or ``train.tar`` and so on,
            or a tar file of class folders; ``timm_options`` can name other splits.
        data_dir: Folder of the data; for all but the digits, and where ``hfds/``, ``hfids/`` and
            ``tfds/`` keep their data.
        image_size: Height and width in pixels, or None for 224 with timm and for those of the data
            else. The images of a "folder" are resized by their shorter side and cropped to the
            central square; None means their own size if the first train image of each class is a
            square of one size, else 224.
        val_fraction: Part of the train images to hold out as val, in (0, 1). Not used where the
            data bring a val split.
        num_val: Number of train images to hold out as val, in place of ``val_fraction``.
        batch_size: Images per minibatch and process of ``train`` and ``train_eval``.
        eval_batch_size: Images per minibatch of ``val`` and ``test``.
        seed: Seed of the splits, the order and the augmentation, in 0..2**32 - 1.
        device: Device that the minibatches are made on.
        num_workers: Threads that read images into memory, or processes that read batch by batch.
        download: Whether to fetch CIFAR, ``torch/``, ``tfds/`` or ``hfids/`` data if they are
            missing.
        skip_bad_images: Whether to leave out unreadable images of files, with a warning each.
        cutout: Side in pixels of the square that is set to the mean in each train image, around a
            random pixel; 0 for none. Not with timm, which has random erasing.
        augmentation: Augmentation of the train images by timm; None for its defaults.
        timm_options: Names of splits and the like, with timm.
        rank: Rank of this process among those that share the batches of ``train``; every process
            sees all of the other splits.
        world_size: The number of such processes.

    Returns:
        The loaders, with what describes the data.

    Raises:
        ValueError: If an argument is out of range or does not apply, or the data are missing or
            unfit.
    """
    data_dir = None if data_dir is None else Path(data_dir)
    _check_source(dataset, data_dir, download, skip_bad_images)
    check_settings(
        _KINDS,
        {
            "image_size": image_size,
            "val_fraction": val_fraction,
            "num_val": num_val,
            "batch_size": batch_size,
            "eval_batch_size": eval_batch_size,
            "seed": seed,
            "num_workers": num_workers,
            "cutout": cutout,
            "world_size": world_size,
        },
    )
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must be from 0 to world_size - 1 = {world_size - 1}, got {rank}.")
    device = torch.device(device)
    settings: dict[str, Any] = {"dataset": dataset, "val_fraction": val_fraction, "seed": seed}
    if num_val is not None:
        settings["requested_num_val"] = num_val  # unreadable images may leave fewer
    if cutout > 0:
        settings["cutout"] = cutout

    if not is_timm_dataset(dataset):
        if augmentation is not None or timm_options is not None:
            raise ValueError(f"{dataset} is not read by timm; leave out augmentation and options.")
        images = _open_own(dataset, data_dir, image_size, download, skip_bad_images)
        images = _with_cutout(images, cutout)
    else:
        if cutout > 0:
            raise ValueError(f"{dataset} is augmented by timm; use --re-prob instead of --cutout.")
        augmentation, options = augmentation or TimmAugmentation(), timm_options or TimmOptions()
        settings |= {"augmentation": _plain(augmentation), "timm_options": _plain(options)}
        if is_stream(dataset):
            if world_size > 1 or num_val is not None:
                raise ValueError(f"{dataset} is a stream; leave out num_val, use one process.")
            streams = open_streams(
                dataset,
                data_dir,
                options,
                augmentation,
                image_size=image_size or 224,
                batch_size=batch_size,
                eval_batch_size=eval_batch_size,
                seed=seed,
                device=device,
                num_workers=num_workers,
                download=download,
            )
            return _stream_loaders(*streams, image_size or 224, settings)
        images = open_timm(
            dataset, data_dir, image_size or 224, augmentation, options, seed, download
        )

    drawn = draw_splits(
        images.splits,
        images.labels,
        images.class_names,
        val_fraction=val_fraction,
        num_val=num_val,
        seed=seed,
    )
    pixels, augmented, splits = _open_pixels(images, drawn, device, num_workers, skip_bad_images)
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
    )


def _check_source(
    dataset: str, data_dir: Path | None, download: bool, skip_bad_images: bool
) -> None:
    if not is_known(dataset):
        raise ValueError(
            f"Unknown dataset {dataset!r}; choose from {', '.join(DATASETS)}, or a name that "
            f"begins with one of {', '.join(PREFIXES)}."
        )
    if dataset == "digits" and data_dir is not None:
        raise ValueError(f"digits come with scikit-learn; leave out --data-dir {data_dir}.")
    if data_dir is None and not dataset.startswith(("digits", "hfds/", "hfids/", "tfds/")):
        raise ValueError(f"{dataset} needs the folder of its data; pass --data-dir.")
    if download and not dataset.startswith(("cifar", "torch/", "tfds/", "hfids/")):
        raise ValueError(f"{dataset} cannot be downloaded; leave out --download.")
    if skip_bad_images and dataset.startswith(("digits", "cifar")):
        raise ValueError(f"{dataset} has no image files to skip; leave out --skip-bad-images.")
    if skip_bad_images and is_stream(dataset):
        raise ValueError("timm decides what a stream skips; leave out --skip-bad-images.")


def _open_own(
    dataset: str,
    data_dir: Path | None,
    image_size: int | None,
    download: bool,
    skip_bad_images: bool,
) -> ImageSet:
    if data_dir is None:
        return open_digits(image_size)
    if dataset == "folder":
        return open_folder(data_dir, image_size, skip_bad_images)
    return open_cifar(dataset, data_dir, image_size, download)


def _with_cutout(images: ImageSet, cutout: int) -> ImageSet:
    if cutout == 0:
        return images
    side = images.reader.shape[0]
    if cutout > side:
        raise ValueError(f"cutout must be at most the {side} pixels of an image, got {cutout}.")
    assert images.augmentation is not None
    return replace(images, augmentation=replace(images.augmentation, cutout=cutout))


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
    loaders: dict[str, StreamLoader],
    class_names: tuple[str, ...],
    image_size: int,
    settings: dict[str, Any],
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
        input_size=(3, image_size, image_size),
        settings={
            **settings,
            "image_size": image_size,
            "mean": list(MEAN),
            "std": list(STD),
            # nothing else is known without reading all of it
            "split_digest": hashlib.sha256(json.dumps(sizes).encode()).hexdigest(),
            **sizes,
            "class_names": list(class_names),
            "found": found,
        },
        splits={},
    )


def _plain(settings: TimmAugmentation | TimmOptions) -> dict[str, Any]:
    """Returns settings as they are read back from JSON: lists for tuples."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    return plain
