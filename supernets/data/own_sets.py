"""Data of one's own: any PyTorch ``Dataset`` of (image, label), named as code is.

Images are read once and kept as 8-bit pixels, as those of the built-in data sets: splits,
augmentation, and trainings that resume to the same bits follow.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sized
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from supernets.data.builtin_sets import ArrayReader, ImageSet
from supernets.data.image_folder import fit_square
from supernets.data.image_loader import Augmentation
from supernets.runtime.named_objects import NamedObjects
from supernets.runtime.option_types import shown
from supernets.runtime.trusted_code import check_trusted

#: Functions that make data sets, by name. None is built in: those have folders and options.
OWN_SETS: NamedObjects[Callable[..., Any]] = NamedObjects(
    "data set", "paceline.datasets", object, {}
)
_SPLITS = ("train", "val", "test")


def make_own(name: str, data_dir: Path | None) -> dict[str, Any]:
    """Returns what a function of one's own makes, by split.

    Args:
        name: ``package.module:Object``, ``file.py:Object`` or an installed name of a function (or
            class) that returns a ``Dataset`` of (image, label), or a mapping of these by
            ``"train"`` and, unless they are to be drawn from it, ``"val"`` and ``"test"``; or a
            mapping of ``DataLoader``s, see ``own_loaders``.
        data_dir: Passed to the function if it is given, as ``data_dir``.

    Raises:
        ValueError: If there is no such function, or it makes something else.
    """
    make = OWN_SETS.find(name)
    if not callable(make):
        raise ValueError(f"{name} must be a function that makes a data set, got {shown(make)}.")
    parameters = inspect.signature(make).parameters
    if data_dir is not None and "data_dir" not in parameters:
        raise ValueError(f"{name} takes no data_dir; leave out --data-dir {data_dir}.")
    made = make() if data_dir is None else make(data_dir=data_dir)
    parts = dict(made) if isinstance(made, Mapping) else {"train": made}
    unknown = [split for split in parts if split not in _SPLITS]
    if unknown or "train" not in parts:
        raise ValueError(
            f"{name} must make a data set or a mapping of train and, if there are, val and test, "
            f"got {', '.join(map(str, parts)) or 'none'}."
        )
    return parts


def open_own(name: str, parts: Mapping[str, Any], image_size: int | None) -> ImageSet:
    """Opens data sets of one's own.

    Args:
        name: What made them, for messages.
        parts: ``Dataset``s by split, as of ``make_own``. Images are pictures of PIL, arrays
            (H, W, C) or (H, W), or tensors (C, H, W); 8-bit, or real numbers from 0 to 1. Labels
            are whole numbers from 0 on. Attribute ``classes`` names them.
        image_size: Side in pixels to which images are resized and cropped; None for their own.

    Raises:
        ValueError: If they are no such data sets.
    """
    pixels, labels, splits, first = [], [], {}, 0
    for split, dataset in parts.items():
        if not isinstance(dataset, Sized) or not hasattr(dataset, "__getitem__"):
            raise ValueError(
                f"{split} of {name} must be a data set with a length, whose items are (image, "
                f"label), got {shown(dataset)}."
            )
        if len(dataset) == 0:
            raise ValueError(f"{split} of {name} has no images.")
        splits[split] = np.arange(first, first + len(dataset))
        for index in range(len(dataset)):
            image, label = _item(dataset, index, f"{split}[{index}] of {name}")
            pixels.append(_resized(image, image_size))
            labels.append(label)
        first += len(dataset)
    shapes = {image.shape for image in pixels}
    if len(shapes) > 1:
        raise ValueError(
            f"The images of {name} have {len(shapes)} sizes, such as {sorted(shapes)[0]} and "
            f"{sorted(shapes)[-1]}; pass --image-size to make them squares of one."
        )
    (shape,) = shapes
    if shape[0] != shape[1]:
        raise ValueError(f"The images of {name} are {shape}, no squares; pass --image-size.")
    classes = getattr(parts["train"], "classes", None)
    names = tuple(map(str, classes)) if classes is not None else ()
    if not names:
        names = tuple(str(label) for label in range(max(labels) + 1))
    if max(labels) >= len(names):
        raise ValueError(f"{name} has label {max(labels)}, and {len(names)} classes.")
    stacked = np.stack(pixels)
    mean, std = _statistics(stacked[splits["train"]])
    places = [f"{split}/{i}" for split, dataset in parts.items() for i in range(len(dataset))]
    # also what is in an image, as the code may make another one under the same name
    image_names = [
        f"{place} {hashlib.sha256(image.tobytes()).hexdigest()[:16]}"
        for place, image in zip(places, stacked, strict=True)
    ]
    return ImageSet(
        reader=ArrayReader(stacked, image_names, None),
        labels=np.array(labels, np.int64),
        class_names=names,
        splits=splits,
        mean=mean,
        std=std,
        augmentation=Augmentation(pad=shape[0] // 8, flip=False),
    )


def check_set_trusted(path: Path, name: object, *, trust_code: bool) -> None:
    """Makes sure that a file which names data of one's own may have its code imported.

    Args:
        path: The file, for messages.
        name: Name of the data set that it holds.
        trust_code: Whether code that only the file names may be imported.

    Raises:
        ValueError: If it is code that was neither loaded by this process nor is trusted.
    """
    if OWN_SETS.is_reference(name) and not OWN_SETS.is_loaded(str(name)):
        check_trusted(
            path, f"was trained on data that {name} makes", str(name), trust_code=trust_code
        )


def _statistics(pixels: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel, of pixels scaled to 0..1; 1 where there is none."""
    mean, std = [], []
    for channel in range(pixels.shape[3]):
        counts = np.bincount(pixels[..., channel].ravel(), minlength=256)  # no copy in floats
        share, values = counts / counts.sum(), np.arange(256) / 255
        mean.append(float(share @ values))
        std.append(float(np.sqrt(share @ (values - mean[-1]) ** 2)) or 1.0)
    return tuple(round(each, 6) for each in mean), tuple(round(each, 6) for each in std)


def _item(dataset: Any, index: int, what: str) -> tuple[NDArray[np.uint8], int]:
    """An image (H, W, C) and its label."""
    item = dataset[index]
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise ValueError(f"{what} must be (image, label), got {shown(item)}.")
    image, label = item
    if isinstance(label, torch.Tensor | np.generic | np.ndarray) and label.ndim == 0:
        label = label.item()
    if isinstance(label, bool) or not isinstance(label, int) or label < 0:
        raise ValueError(
            f"The label of {what} must be a whole number from 0 on, got {shown(label)}."
        )
    return _pixels_of(image, what), label


def _pixels_of(image: Any, what: str) -> NDArray[np.uint8]:
    if isinstance(image, Image.Image):
        image = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    elif isinstance(image, torch.Tensor):
        image = image.detach().cpu().numpy()
        image = np.moveaxis(image, 0, -1) if image.ndim == 3 else image
    if not isinstance(image, np.ndarray) or image.ndim not in (2, 3):
        raise ValueError(
            f"The image of {what} must be a picture of PIL, an array (H, W, C) or a tensor "
            f"(C, H, W), got {shown(image)}."
        )
    pixels = image[..., None] if image.ndim == 2 else image
    if pixels.dtype == np.uint8:
        return pixels
    if not np.issubdtype(pixels.dtype, np.floating) or not (0 <= pixels).all() or pixels.max() > 1:
        raise ValueError(
            f"The pixels of {what} must be 8-bit or from 0 to 1, got {pixels.dtype} from "
            f"{pixels.min()} to {pixels.max()}; leave normalising to paceline, which measures mean "
            "and deviation."
        )
    rounded: NDArray[np.uint8] = np.rint(pixels * 255).astype(np.uint8)
    return rounded


def _resized(pixels: NDArray[np.uint8], image_size: int | None) -> NDArray[np.uint8]:
    if image_size is None or pixels.shape[:2] == (image_size, image_size):
        return pixels
    if pixels.shape[2] not in (1, 3):
        raise ValueError(
            f"Images of {pixels.shape[2]} channels are not resized; leave out --image-size."
        )
    plane = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    return fit_square(Image.fromarray(plane), image_size)
