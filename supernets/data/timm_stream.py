"""Data sets that timm reads as streams: ``wds/`` (webdataset), ``tfds/`` and ``hfids/`` names.

A stream has no random access, so the readers, the order and the loaders are timm's own. Then, other
than with ``ImageLoader``:

1. An epoch that is entered midway, as by a resumed training, has another order and augmentation
   than a whole one: the minibatches before ``start`` are read and thrown away.
2. The minibatches depend on ``num_workers``, since each worker reads shards of its own. A worker's
   part is filled up with repeated images to whole minibatches in training, and has a smaller last
   minibatch of its own in evaluation; one of a single image joins the minibatch before.
3. No val split can be drawn: all three splits have names.
4. One process reads all; several that train together are refused.
5. Unreadable images are left out or end the run, whichever the reader of timm does. After the
   first whole epoch of training, classes are named of which no image came.
6. Images of ``wds/`` and ``hfids/`` are turned and blended as all others are, see ``image_folder``;
   those of ``tfds/`` come decoded, without EXIF data.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from timm.data import create_loader
from torch import Tensor

from supernets.data.image_folder import to_rgb
from supernets.data.image_loader import Loader
from supernets.data.image_scan import image_extensions
from supernets.data.pixel_scaling import Standardised
from supernets.data.rebatching import without_single_images
from supernets.data.timm_options import TimmAugmentation, TimmOptions
from supernets.data.timm_readers import check_classes, open_with_timm
from supernets.data.timm_transforms import MEAN, STD, eval_settings, train_settings
from supernets.runtime.wording import plural

logger = logging.getLogger(__name__)


class StreamLoader(Loader):
    """Minibatches of a stream; an epoch's number selects its shuffling.

    Args:
        dataset: timm's iterable data set.
        batch_size: Images per minibatch.
        image_size: Height and width of the images in pixels.
        augmentation: Augmentation of a loader for training, which gives whole minibatches only;
            None for evaluation.
        crop_pct: Part of the shorter side that is kept in evaluation.
        interpolation: Interpolation that resizes the images in evaluation.
        device: Device that the minibatches are moved to.
        num_workers: Processes that read and augment; 0 does so here, with the global generators.
        seed: Seed of the generator that seeds the workers.
        class_names: Names of all classes, of which those without an image in the first whole epoch
            are named in a warning; empty for no warning.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        image_size: int,
        *,
        augmentation: TimmAugmentation | None,
        crop_pct: float,
        interpolation: str,
        device: torch.device,
        num_workers: int,
        seed: int,
        class_names: tuple[str, ...] = (),
    ) -> None:
        self._device, self._class_names = device, class_names
        self.scalings = (Standardised.of_levels(MEAN, STD, device),)
        self.num_images = int(dataset.reader.num_samples)
        self.batch_size = batch_size
        self._dataset = dataset
        if augmentation is None:
            settings = eval_settings(image_size, crop_pct, interpolation)
        else:
            settings = train_settings(image_size, augmentation)
        self._loader = create_loader(
            dataset,
            batch_size=batch_size,
            is_training=augmentation is not None,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,  # older versions of timm leave that to us
            pin_memory=device.type == "cuda",
            device=device,
            **settings,
        )
        dataset.transform = _AsShown(dataset.transform)
        # or the workers would be seeded by the global generator, and advance it
        self._loader.loader.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        """The number of minibatches of an epoch; of val and test about as many."""
        return len(self._loader)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterates over the minibatches of one epoch, without the first ``start`` that come."""
        self._check_epoch(epoch, start)
        return self._minibatches(epoch, start)

    def _minibatches(self, epoch: int, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        self._dataset.set_epoch(epoch)
        counts = None
        if self._class_names and start == 0:
            counts = torch.zeros(len(self._class_names), dtype=torch.int64, device=self._device)
        for x, y in itertools.islice(without_single_images(self._loader), start, None):
            if counts is not None:
                counts.index_add_(0, y.clamp(0, len(counts) - 1), torch.ones_like(y))
            yield x.contiguous(memory_format=torch.channels_last), y
        if counts is not None:
            missing = [self._class_names[i] for i in (counts == 0).nonzero().flatten().tolist()]
            if missing:
                logger.warning(
                    "No image of %s came in a whole epoch (%s): either they cannot be "
                    "read or the data have none.",
                    plural(len(missing), "class"),
                    ", ".join(missing[:5]) + (", …" if len(missing) > 5 else ""),
                )
            self._class_names = ()


def open_streams(
    dataset: str,
    data_dir: Path | None,
    options: TimmOptions,
    augmentation: TimmAugmentation,
    *,
    image_size: int,
    batch_size: int,
    eval_batch_size: int,
    seed: int,
    device: torch.device,
    num_workers: int,
    download: bool = False,
) -> tuple[dict[str, StreamLoader], tuple[str, ...]]:
    """Opens the three splits of a stream.

    Args:
        dataset: "wds/<name>", "tfds/<name>" or "hfids/<name>".
        data_dir: Folder of the data, or the one in which timm keeps them.
        options: Options that name the splits, in the words of the reader; for ``wds/`` without a
            file of information, for instance, "train-{0000..0099}.tar|100000" with the number of
            images.
        augmentation: Augmentation of the train images.
        image_size: Height and width of the images in pixels.
        batch_size: Images per minibatch of the train split.
        eval_batch_size: Images per minibatch of the other splits.
        seed: Seed of the order and the augmentation.
        device: Device that the minibatches are moved to.
        num_workers: Processes per loader.
        download: Whether to fetch the data first; not for ``wds/``.

    Returns:
        The loaders "train", "train_eval", "val" and "test", and the names of the classes.

    Raises:
        ValueError: If the data are missing or a split is not named, unknown or of unknown size.
    """
    names = {
        "train": options.train_split,
        "train_eval": options.train_split,
        "val": options.val_split,
        "test": options.test_split,
    }
    loaders = {}
    class_names: tuple[str, ...] = ()
    for split, name in names.items():
        if name is None:
            raise ValueError(
                f"{dataset} is a stream, of which no split can be drawn; "
                "pass train_split, val_split and test_split."
            )
        is_train = split.startswith("train")
        images = open_with_timm(
            f"split {name} of {dataset}",
            dataset,
            root=None if data_dir is None else str(data_dir),
            split=name,
            is_training=is_train,
            batch_size=batch_size if is_train else eval_batch_size,
            seed=seed,
            download=download,
            **_decoding(dataset),
        )
        if not images.reader.num_samples:
            raise ValueError(
                f"Split {name} of {dataset} does not say how many images it has; append |<number>."
            )
        if split == "train":
            found = tuple(images.reader.class_to_idx)
            class_names = check_classes(found, options.num_classes, dataset)
        loaders[split] = StreamLoader(
            images,
            batch_size if is_train else eval_batch_size,
            image_size,
            augmentation=augmentation if split == "train" else None,
            crop_pct=options.crop_pct,
            interpolation=augmentation.interpolation,
            device=device,
            num_workers=num_workers,
            seed=seed,
            class_names=class_names if split == "train" else (),
        )
    return loaders, class_names


def _decoding(dataset: str) -> dict[str, str]:
    """The settings of timm's reader by which images come as they are, whatever their format."""
    if dataset.startswith("tfds/"):
        return {}
    usual = ("jpg", "png", "webp")  # what timm takes, first; or it would skip the others
    others = sorted({extension[1:] for extension in image_extensions()} - set(usual))
    settings = {"input_img_mode": ""}  # "RGB" would drop the alpha channel
    if dataset.startswith("wds/"):
        settings["input_key"] = ";".join([*usual, *others])
    return settings


class _AsShown:
    """A transform of RGB images, for images as they were decoded."""

    def __init__(self, transform: Callable[[Image.Image], Any]) -> None:
        self._transform = transform

    def __call__(self, image: Image.Image) -> Any:
        return self._transform(to_rgb(image))
