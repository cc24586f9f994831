"""Data sets with random access that timm's readers open: folders, tar files, ``hfds/``, ``torch/``.

timm's readers and transforms are used, but not its reader of folders, whose classes are the
innermost folders and whose images are PNG and JPEG alone (``image_tree`` lists them here), nor its
``ImageDataset`` and ``create_loader``. The former puts the next image in the place of one that it
cannot read, leaves photographs lying on their side, and clips 16-bit images, so ``image_folder``
decodes here. The latter has no entry for an order that begins midway, and seeds
its augmentation by worker: no epoch could be entered midway with the very same tensors.
"""

from __future__ import annotations

import logging
import tarfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from timm.data import create_dataset, get_img_extensions, set_img_extensions

from supernets.data.image_folder import DECODE_ERRORS, open_rgb, unreadable, warn_of_missing_test
from supernets.data.image_scan import image_extensions
from supernets.data.image_tree import look_at
from supernets.data.timm_folders import FolderPart, TarPart
from supernets.data.timm_options import TimmOptions
from supernets.data.timm_transforms import Transform, seeded

logger = logging.getLogger(__name__)

#: Of torchvision's sets in timm, those with one label per image and splits of their own.
TORCH_SETS = ("cifar10", "cifar100", "mnist", "kmnist", "fashion_mnist", "imagenet")


class TimmImages:
    """The images of all splits of a data set; nothing is decoded yet.

    Args:
        parts: The splits: "train", and "val" and "test" where the data have them.
        class_names: Names of the classes of the train split or, of data without names, their
            numbers.
        passed_over: The number of files that are not read, by reason; None if that is not known.

    Raises:
        ValueError: If a split has an image without label, or of a class that "train" lacks.
    """

    def __init__(
        self,
        parts: dict[str, _Part],
        class_names: Sequence[str],
        passed_over: Counter[str] | None = None,
    ) -> None:
        self.class_names = tuple(class_names)
        self.passed_over = passed_over
        self.has_files = all(isinstance(part, FolderPart) for part in parts.values())
        self._parts = list(parts.values())
        self._ends = np.cumsum([len(part.labels) for part in self._parts])  # of the parts' indices
        self.labels = np.concatenate([_map_labels(part, self.class_names) for part in self._parts])
        self.splits: dict[str, NDArray[np.int64]] = {
            split: np.arange(end - len(part.labels), end)
            for (split, part), end in zip(parts.items(), self._ends, strict=True)
        }

    def __len__(self) -> int:
        """The number of images."""
        return int(self._ends[-1])

    def name(self, index: int) -> str:
        """Returns the name that identifies the image, wherever the data lie."""
        part, within = self._find(index)
        return part.name(within)

    def path(self, index: int) -> Path:
        """Returns the file of the image; only data that have files have it."""
        part, within = self._find(index)
        return Path(part.path(within))

    def load(self, index: int) -> Image.Image:
        """Decodes an image to RGB.

        Raises:
            ValueError: If it cannot be read, naming it.
        """
        part, within = self._find(index)
        try:
            return part.load(within)
        except (*DECODE_ERRORS, tarfile.TarError) as error:
            raise ValueError(unreadable(part.path(within), error)) from error

    def _find(self, index: int) -> tuple[_Part, int]:
        number = int(np.searchsorted(self._ends, index, side="right"))
        part = self._parts[number]
        return part, index - int(self._ends[number]) + len(part.labels)


class TimmReader:
    """Gives images after a transform, whose randomness follows from (seed, epoch, index) alone.

    Args:
        images: The images.
        image_size: Height and width that the transform gives.
        transform: Makes a (3, H, W) float32 tensor of an RGB image.
        seed: Seed of the transform's random numbers.
    """

    def __init__(
        self, images: TimmImages, image_size: int, transform: Transform, seed: int
    ) -> None:
        self.shape = (image_size, image_size, 3)
        self.name = images.name
        self._images = images
        self._transform = transform
        self._seed = seed

    def __len__(self) -> int:
        """The number of images."""
        return len(self._images)

    def read(self, index: int, epoch: int = 0) -> NDArray[np.float32]:
        """Reads the (H, W, C) pixels of one image, normalised.

        Raises:
            ValueError: If the image cannot be read, naming it.
        """
        image = self._images.load(index)
        with seeded(self._seed, epoch, index):
            x = self._transform(image)  # (C, H, W)
        pixels: NDArray[np.float32] = x.permute(1, 2, 0).numpy()
        return pixels


def open_images(
    dataset: str, data_dir: Path | None, options: TimmOptions, *, download: bool = False
) -> TimmImages:
    """Finds the images and labels of all splits.

    Args:
        dataset: "timm" for a folder or a tar file, "hfds/<name>" or "torch/<name>".
        data_dir: The folder or tar file, or where timm keeps the data.
        options: Splits and classes.
        download: Whether to fetch one of ``TORCH_SETS``; ``hfds/`` fetches what is missing in any
            case.

    Raises:
        ValueError: If the data are missing, or unfit, or a split does not exist.
    """
    passed_over = None
    if dataset == "timm":
        assert data_dir is not None
        parts, passed_over = _open_folder(data_dir, options)
    elif dataset.startswith("torch/"):
        parts = _open_torch(dataset, data_dir, options, download)
    else:
        parts = _open_hfds(dataset, data_dir, options)
    names = check_classes(parts["train"].class_names, options.num_classes, data_dir or dataset)
    return TimmImages(parts, names, passed_over)


def check_classes(names: Sequence[str], num_classes: int | None, source: object) -> tuple[str, ...]:
    """Returns the names of the classes, or their numbers as text where the data have no names.

    Raises:
        ValueError: If there are no names and no number, too few names, or another number of them.
    """
    if not names:
        if num_classes is None:
            raise ValueError(f"{source} does not name its classes; pass num_classes.")
        return tuple(str(label) for label in range(num_classes))
    if len(names) < 2:
        raise ValueError(f"{source} has the single class {names[0]!r}; add at least another.")
    if num_classes not in (None, len(names)):
        raise ValueError(f"{source} has {len(names)} classes, but num_classes is {num_classes}.")
    return tuple(names)


class _Part(Protocol):
    """The images of one split."""

    labels: NDArray[np.int64]  # (num_images,), numbers of the part's own classes
    class_names: tuple[str, ...]  # empty if the data do not say

    def name(self, index: int) -> str:
        """What identifies the image, wherever the data lie."""

    def path(self, index: int) -> str:
        """Where the image is, for messages."""

    def load(self, index: int) -> Image.Image:
        """The image as RGB."""


def _map_labels(part: _Part, class_names: tuple[str, ...]) -> NDArray[np.int64]:
    """The labels of a part as numbers of the train split's classes."""
    if not len(part.labels):
        raise ValueError("A split has no images; choose another.")
    names = part.class_names or class_names
    unlabelled = np.flatnonzero((part.labels < 0) | (part.labels >= len(names)))
    if len(unlabelled):
        first = int(unlabelled[0])
        raise ValueError(
            f"{part.path(first)} has the label {part.labels[first]}, expected one from 0 to "
            f"{len(names) - 1}; choose another split or num_classes."
        )
    numbers = {name: number for number, name in enumerate(class_names)}
    lookup = np.array([numbers.get(name, -1) for name in names], np.int64)
    labels: NDArray[np.int64] = lookup[part.labels]
    foreign = np.flatnonzero(labels < 0)
    if len(foreign):
        first = int(foreign[0])
        raise ValueError(
            f"{part.path(first)} has the class {names[part.labels[first]]!r}, which the train "
            "split lacks; remove it, add train images or choose another split."
        )
    return labels


def _open_folder(
    data_dir: Path, options: TimmOptions
) -> tuple[dict[str, _Part], Counter[str] | None]:
    if not data_dir.exists():
        raise ValueError(f"Image folder or tar file {data_dir} does not exist; pass --data-dir.")
    if data_dir.is_file():
        if data_dir.suffix != ".tar":  # as timm asks
            raise ValueError(f"{data_dir} is neither a folder nor a .tar file; pass --data-dir.")
        if options.train_split or options.val_split or options.test_split:
            raise ValueError(f"{data_dir} is a single tar file; leave the names of splits out.")
        part = _open_tar(data_dir, data_dir.parent)
        return {"train": part}, part.passed_over
    named = {"train": options.train_split, "val": options.val_split, "test": options.test_split}
    tree = look_at(data_dir, named, with_tars=True)
    parts: dict[str, _Part] = {}
    for split in ("train", "val", "test"):
        if split in tree.splits:
            parts[split] = FolderPart(data_dir, tree.splits[split])
        elif split in tree.tars:
            parts[split] = part = _open_tar(tree.tars[split], data_dir)
            tree.passed_over += part.passed_over
    if tree.has_split_folders and "test" not in parts:
        warn_of_missing_test(data_dir)
    return parts, tree.passed_over


def _open_tar(root: Path, data_dir: Path) -> TarPart:
    usual = get_img_extensions()
    set_img_extensions(tuple(image_extensions()))
    try:
        reader = open_with_timm(root, "", root=str(root), search_split=False).reader
    finally:
        set_img_extensions(usual)
    return TarPart(reader, root, data_dir)


def _open_torch(
    dataset: str, data_dir: Path | None, options: TimmOptions, download: bool
) -> dict[str, _Part]:
    if dataset.removeprefix("torch/") not in TORCH_SETS:
        raise ValueError(
            f"Unknown dataset {dataset!r}; choose from {', '.join(TORCH_SETS)} after torch/."
        )
    if options.train_split or options.val_split or options.test_split:
        raise ValueError(f"{dataset} has fixed splits; leave their names out.")
    return {
        split: _TorchPart(dataset, data_dir, name, download)
        for split, name in (("train", "train"), ("test", "validation"))
    }


class _TorchPart:
    """A split of a data set of torchvision."""

    def __init__(self, dataset: str, data_dir: Path | None, split: str, download: bool) -> None:
        source = f"{dataset} in {data_dir}"
        self._images = open_with_timm(
            source, dataset, root=str(data_dir), split=split, download=download
        )
        if dataset == "torch/imagenet":
            self._images.loader = open_rgb  # torchvision's own shows photographs on their side
        self._source = f"{dataset}/{split}"
        self.labels = np.array(self._images.targets, np.int64)
        self.class_names = tuple(
            name if isinstance(name, str) else ", ".join(name) for name in self._images.classes
        )

    def name(self, index: int) -> str:
        return f"{self._source}/{index}"

    path = name

    def load(self, index: int) -> Image.Image:
        image: Image.Image = self._images[index][0]
        return image.convert("RGB")


def _open_hfds(dataset: str, data_dir: Path | None, options: TimmOptions) -> dict[str, _Part]:
    splits = {"train": options.train_split or "train", "val": options.val_split}
    taken = splits.values()
    splits["test"] = options.test_split or ("test" if "validation" in taken else "validation")
    return {
        split: _HfdsPart(dataset, data_dir, name)
        for split, name in splits.items()
        if name is not None
    }


class _HfdsPart:
    """A split of a data set of the Hugging Face hub, or of a folder that ``datasets`` can load."""

    def __init__(self, dataset: str, data_dir: Path | None, split: str) -> None:
        root = None if data_dir is None else str(data_dir)
        source = f"split {split} of {dataset}"
        self._reader = open_with_timm(source, dataset, root=root, split=split).reader
        self._source = f"{dataset}/{split}"
        self.labels = np.array(list(self._reader.dataset[self._reader.label_key]), np.int64)
        self.class_names = tuple(self._reader.class_to_idx)

    def name(self, index: int) -> str:
        return f"{self._source}/{index}"

    path = name

    def load(self, index: int) -> Image.Image:
        file, _ = self._reader[index]
        with file:
            return open_rgb(file)


def open_with_timm(source: object, name: str, **settings: Any) -> Any:
    """Opens timm's data set; a ValueError says if the data or a package are missing."""
    try:
        return create_dataset(name, **settings)
    except ImportError as error:
        raise ValueError(
            f"{name} needs a package that is missing ({error}); install it."
        ) from error
    except (OSError, RuntimeError, ValueError, tarfile.TarError) as error:
        raise ValueError(
            f"timm cannot open {source} ({error}); pass other data or other names of splits."
        ) from error
