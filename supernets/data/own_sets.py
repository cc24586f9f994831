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

from supernets.data.axes import look_swapped
from supernets.data.builtin_sets import ArrayReader, ImageSet
from supernets.data.image_folder import fit_square
from supernets.data.image_loader import Augmentation
from supernets.data.names import is_own
from supernets.runtime.named_objects import NamedObjects
from supernets.runtime.option_types import shown
from supernets.runtime.own_code import running_own
from supernets.runtime.trusted_code import check_trusted, located
from supernets.runtime.wording import some

#: Functions that make data sets, by name. None is built in: those have folders and options.
OWN_SETS: NamedObjects[Callable[..., Any]] = NamedObjects(
    "data set", "paceline.datasets", object, {}
)
_SPLITS = ("train", "val", "test")
#: Numbers of channels of images that can be resized.
_RESIZABLE = (1, 3)
#: What is said of an array and of a tensor with the axes of the other.
_SWAPPED = (
    "The axes of the image of {what} look swapped: an array must be (H, W, C), got {shape}; "
    "transpose(1, 2, 0) it there.",
    "The axes of the image of {what} look swapped: a tensor must be (C, H, W), got {shape}; "
    "permute(2, 0, 1) it there.",
)


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
    given = {} if data_dir is None else {"data_dir": data_dir}
    needed = [key for key, each in parameters.items() if _is_needed(each) and key not in given]
    if needed:
        advice = "pass --data-dir" if needed == ["data_dir"] else "give them defaults"
        raise ValueError(
            f"{name} must be a function of nothing, or of data_dir, got one that needs "
            f"{', '.join(needed)}; {advice}."
        )
    with running_own(name):
        made = make(**given)
    parts = dict(made) if isinstance(made, Mapping) else {"train": made}
    unknown = [split for split in parts if split not in _SPLITS]
    if unknown or "train" not in parts:
        raise ValueError(
            f"{name} must make a data set or a mapping of train and, if there are, val and test, "
            f"got {', '.join(map(str, parts)) or 'none'}."
        )
    return parts


def _is_needed(parameter: inspect.Parameter) -> bool:
    """Whether a function cannot be called without an argument."""
    is_many = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and not is_many


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
    pixels: list[NDArray[np.uint8]] = []
    labels: dict[str, list[int]] = {}
    for split, dataset in parts.items():
        if not isinstance(dataset, Sized) or not hasattr(dataset, "__getitem__"):
            raise ValueError(
                f"{split} of {name} must be a data set with a length, whose items are (image, "
                f"label), got {shown(dataset)}."
            )
        with running_own(f"{split} of {name}"):
            length = len(dataset)
        if length == 0:
            raise ValueError(f"{split} of {name} has no images.")
        labels[split] = []
        for index in range(length):
            image, label = _item(dataset, index, f"{split}[{index}] of {name}")
            pixels.append(_resized(image, image_size))
            labels[split].append(label)
    places = [f"{split}/{i}" for split, each in labels.items() for i in range(len(each))]
    _check_shapes(name, dict(zip(places, pixels, strict=True)))
    names = _class_names(name, parts, labels)
    ends = np.cumsum([len(each) for each in labels.values()])
    splits = {
        split: np.arange(end - len(each), end)
        for (split, each), end in zip(labels.items(), ends, strict=True)
    }
    stacked = np.stack(pixels)
    mean, std = _statistics(stacked[splits["train"]])
    # also what is in an image, as the code may make another one under the same name
    image_names = [
        f"{place} {hashlib.sha256(image.tobytes()).hexdigest()[:16]}"
        for place, image in zip(places, stacked, strict=True)
    ]
    return ImageSet(
        reader=ArrayReader(stacked, image_names, None),
        labels=np.concatenate([np.array(each, np.int64) for each in labels.values()]),
        class_names=names,
        splits=splits,
        mean=mean,
        std=std,
        augmentation=Augmentation(pad=len(pixels[0]) // 8, flip=False),
    )


def _check_shapes(name: str, images: Mapping[str, NDArray[np.uint8]]) -> None:
    """Makes sure that images, by their places, are squares of one size and as many channels."""
    first: dict[tuple[int, ...], str] = {}
    channels: dict[int, str] = {}
    for place, image in images.items():
        first.setdefault(image.shape, place)
        channels.setdefault(image.shape[2], f"{place.replace('/', '[')}]")
    if len(channels) > 1:
        told = " and ".join(f"{number} in {place}" for number, place in channels.items())
        raise ValueError(
            f"The images of {name} must have the same number of channels, got {told}; make them so "
            "there."
        )
    is_resizable = set(channels) <= set(_RESIZABLE)
    what_to_do = "pass --image-size" if is_resizable else "make them squares of one size there"
    if len(first) > 1:
        raise ValueError(
            f"The images of {name} have {len(first)} sizes, such as {min(first)} and {max(first)}; "
            f"{what_to_do}{' to make them squares of one' if is_resizable else ''}."
        )
    (shape,) = first
    if shape[0] != shape[1]:
        raise ValueError(f"The images of {name} are {shape}, no squares; {what_to_do}.")


def _class_names(
    name: str, parts: Mapping[str, Any], labels: Mapping[str, list[int]]
) -> tuple[str, ...]:
    """The names of the classes; where none are given, those of train are all there are."""
    classes = getattr(parts["train"], "classes", None)
    names = () if classes is None else tuple(map(str, classes))
    if names:
        most = max(map(max, labels.values()))
        if most >= len(names):
            raise ValueError(
                f"{name} has label {most}, and {len(names)} classes, whose labels are from 0 to "
                f"{len(names) - 1}; number them so, or name all classes."
            )
        return names
    known = sorted(set(labels["train"]))
    if known != list(range(len(known))):
        raise ValueError(
            f"The labels of train of {name} must be the whole numbers from 0 on without gaps, got "
            f"{some(known)}; number the classes so, or name all of them, also those without "
            "images, as attribute classes of the data set."
        )
    for split, each in labels.items():
        unknown = sorted(set(each) - set(known))
        if unknown:
            raise ValueError(
                f"{split} of {name} has the labels {some(unknown)}, which no image of train has; "
                "leave them out, or name all classes as attribute classes of train."
            )
    return tuple(map(str, known))


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


def located_set(path: Path, name: str) -> str:
    """Returns the name by which data that a file names are found by now.

    Args:
        path: The file.
        name: Name of a data set, which may be one of ours.

    Raises:
        ForeignFileError: If it is of one's own in a file that is not found.
    """
    if not is_own(name) or OWN_SETS.is_loaded(name):
        return name
    return located(path, "was trained on data", name, "--dataset")


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
    with running_own(what):
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
    is_tensor, given = isinstance(image, torch.Tensor), tuple(getattr(image, "shape", ()))
    if isinstance(image, Image.Image):
        image = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    elif is_tensor:
        image = image.detach().cpu().numpy()
        image = np.moveaxis(image, 0, -1) if image.ndim == 3 else image
    if not isinstance(image, np.ndarray) or image.ndim not in (2, 3):
        raise ValueError(
            f"The image of {what} must be a picture of PIL, an array (H, W, C) or a tensor "
            f"(C, H, W), got {shown(image)}."
        )
    pixels = image[..., None] if image.ndim == 2 else image
    if len(given) == 3 and look_swapped(given, 0 if is_tensor else -1):
        raise ValueError(_SWAPPED[is_tensor].format(what=what, shape=given))
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
    if pixels.shape[2] not in _RESIZABLE:
        raise ValueError(
            f"Images of {pixels.shape[2]} channels are not resized; leave out --image-size, and "
            "make them squares of one size there."
        )
    plane = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    return fit_square(Image.fromarray(plane), image_size)
