"""Which data a run learns from: the data set, the size of its images, and what is held out."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import supernets.runtime.option_types as kinds
from supernets.data.names import DATASETS, PREFIXES, is_known, is_own, is_stream, is_timm_dataset
from supernets.data.timm_options import TimmAugmentation, TimmOptions
from supernets.runtime.named_objects import HOW_TO_NAME, absolute
from supernets.runtime.options import Options, option


@dataclass(frozen=True)
class DataConfig(Options):
    """Which data a run learns from.

    Data of "timm" and of names with a slash are read, augmented and normalised as timm does, by
    worker processes whenever a batch is wanted. Of the others, train images are padded with black
    by an eighth of their size, 4 pixels at 32, cropped at random and, except digits, flipped with
    probability 0.5.

    Args:
        dataset: One of ``DATASETS``, or "hfds/<name>", "torch/<name>", "wds/<name>", "tfds/<name>"
            or "hfids/<name>" in timm's words; the last three are streams, of which ``timm_stream``
            says how they differ. "digits" is scikit-learn's 8x8 set, with a fifth held out as test.
            "cifar10" and "cifar100" are torchvision's, with the official test split. "folder" is
            ``train/<class>/`` with ``test/<class>/`` or, in its place, ``val/<class>/``; one with
            all three brings its val split, unless ``test`` has no labels, as ImageNet's. Of plain
            ``<class>/`` folders, or of ``train`` alone, a fifth is held out as test. ``image_tree``
            says which names and files count. "timm" is such a folder, or ``train.tar`` and so on,
            or a tar file of class folders; ``timm_options`` can name other splits. Of one's own,
            ``package.module:Object`` or ``file.py:Object`` is a function that makes a PyTorch
            ``Dataset``, see ``own_sets``, or ``DataLoader``s, see ``own_loaders``.
        data_dir: Folder of the data; for all but the digits, and where ``hfds/``, ``hfids/`` and
            ``tfds/`` keep their data.
        download: Whether to fetch CIFAR, ``torch/``, ``tfds/`` or ``hfids/`` data if they are
            missing.
        image_size: Height and width in pixels, or None for 224 with timm and for those of the data
            else. The images of a "folder" are resized by their shorter side and cropped to the
            central square; None means their own size if the first train image of each class is a
            square of one size, else 224.
        val_fraction: Part of the train images to hold out as val, in (0, 1). Not used where the
            data bring a val split.
        num_val: Number of train images to hold out as val, in place of ``val_fraction``.
        skip_bad_images: Whether to leave out unreadable images of files, with a warning each.
        cutout: Side in pixels of the square that is set to the mean in each train image, around a
            random pixel; 0 for none. Not with timm, which has random erasing.
        augmentation: Augmentation of the train images by timm; None for its defaults.
        timm_options: Names of splits and the like, with timm; None for its defaults.

    Raises:
        ValueError: If a value is out of range, or does not apply to the data set.

    Example:
        >>> DataConfig("digits", val_fraction=0.25).image_size is None
        True
        >>> DataConfig("cifar10")
        Traceback (most recent call last):
            ...
        ValueError: cifar10 needs the folder of its data; pass --data-dir.
    """

    dataset: str = option(
        "digits",
        f"{', '.join(DATASETS)}, a name in timm's words beginning with {', '.join(PREFIXES)}, or "
        f"your own as {HOW_TO_NAME}",
        kinds.name,
        metavar="NAME",
        default_text="digits, built in",
    )
    data_dir: str | Path | None = option(None, "where the data is", kinds.path, metavar="DIR")
    download: bool = option(False, "fetch missing data to --data-dir")
    image_size: int | None = option(
        None, "side of the images", kinds.PIXELS, metavar="PX", default_text="the data's"
    )
    val_fraction: float = option(
        0.2, "share of the training images held out as val", kinds.FRACTION, metavar="F"
    )
    num_val: int | None = option(None, "the same as a number", kinds.POSITIVE_INT, metavar="N")
    skip_bad_images: bool = option(False, "leave unreadable images out instead of stopping")
    cutout: int = option(
        0,
        "side of a square cut out of each training image; not of timm data",
        kinds.Whole(0, kinds.PIXELS.most),
        metavar="PX",
        default_text="0, none",
    )
    augmentation: TimmAugmentation | None = None
    timm_options: TimmOptions | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        dataset, data_dir = self.dataset, self.data_dir
        if not is_known(dataset):
            raise ValueError(
                f"Unknown dataset {dataset!r}; choose from {', '.join(DATASETS)}, or a name that "
                f"begins with one of {', '.join(PREFIXES)}, or name your own as {HOW_TO_NAME}."
            )
        if dataset == "digits" and data_dir is not None:
            raise ValueError(f"digits come with scikit-learn; leave out --data-dir {data_dir}.")
        needs_none = is_own(dataset) or dataset.startswith(("digits", "hfds/", "hfids/", "tfds/"))
        if data_dir is None and not needs_none:
            raise ValueError(f"{dataset} needs the folder of its data; pass --data-dir.")
        if self.download and not dataset.startswith(("cifar", "torch/", "tfds/", "hfids/")):
            raise ValueError(f"{dataset} cannot be downloaded; leave out --download.")
        if self.skip_bad_images and (is_own(dataset) or dataset.startswith(("digits", "cifar"))):
            raise ValueError(f"{dataset} has no image files to skip; leave out --skip-bad-images.")
        if self.skip_bad_images and is_stream(dataset):
            raise ValueError("timm decides what a stream skips; leave out --skip-bad-images.")
        if is_timm_dataset(dataset):
            if self.cutout > 0:
                raise ValueError(
                    f"{dataset} is augmented by timm; use --re-prob instead of --cutout."
                )
        elif self.augmentation is not None or self.timm_options is not None:
            raise ValueError(f"{dataset} is not read by timm; leave out augmentation and options.")

    @property
    def folder(self) -> Path | None:
        """The folder of the data."""
        return None if self.data_dir is None else Path(self.data_dir)

    @property
    def settings(self) -> dict[str, Any]:
        """What of it is kept with a result, as it is read back from JSON."""
        dataset = absolute(self.dataset) if is_own(self.dataset) else self.dataset
        settings: dict[str, Any] = {"dataset": dataset, "val_fraction": self.val_fraction}
        if self.num_val is not None:
            settings["requested_num_val"] = self.num_val  # unreadable images may leave fewer
        if self.cutout > 0:
            settings["cutout"] = self.cutout
        if is_timm_dataset(self.dataset):
            settings["augmentation"] = asdict(self.augmentation or TimmAugmentation())
            settings["timm_options"] = asdict(self.timm_options or TimmOptions())
        plain: dict[str, Any] = json.loads(json.dumps(settings))  # lists for tuples
        return plain
