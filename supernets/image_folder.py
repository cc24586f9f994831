"""Images in one folder per class: which there are, the split of each, and their pixels.

Pixels are taken as they are stored: the rotation that EXIF data may ask for is not applied.
"""

from __future__ import annotations

import logging
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")

#: What Pillow raises on files that are damaged, no images, or beyond its limit on pixels.
DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class ImageFolder:
    """The images below a folder, sorted by split, class and name; nothing is decoded yet."""

    data_dir: Path
    names: list[str]  # relative to data_dir, with forward slashes
    labels: NDArray[np.int64]  # (num_images,)
    class_names: tuple[str, ...]
    splits: dict[str, NDArray[np.int64]]  # "train" and, where they have folders, "val", "test"


def find_images(data_dir: Path) -> ImageFolder:
    """Lists the images of ``<class>/``, or of ``train/<class>/`` and ``test/<class>/``.

    ``val/<class>/`` is the val split or, without ``test``, as in ImageNet's official layout, the
    test split. ``train`` may also stand alone.

    Args:
        data_dir: The folder.

    Returns:
        What was found. Without a ``train`` folder all images are in the split "train".

    Raises:
        ValueError: If the folders are missing, empty, of a single class or do not fit each other.
    """
    if not data_dir.is_dir():
        raise ValueError(f"Image folder {data_dir} does not exist; pass --data-dir.")
    split_dirs = {"train": data_dir}
    if (data_dir / "train").is_dir():
        split_dirs = {s: data_dir / s for s in ("train", "val", "test") if (data_dir / s).is_dir()}
        if len(split_dirs) == 1:
            warn_of_missing_test(data_dir)
        elif "test" not in split_dirs:
            split_dirs["test"] = split_dirs.pop("val")
    elif (data_dir / "test").is_dir() or (data_dir / "val").is_dir():
        raise ValueError(f"{data_dir} has a folder test or val but no folder train; add it.")

    class_names = _class_names(split_dirs["train"])
    names: list[str] = []
    labels: list[int] = []
    splits = {}
    for split, split_dir in split_dirs.items():
        unknown = sorted(set(_class_names(split_dir)) - set(class_names))
        if unknown:
            raise ValueError(
                f"{split_dir} has the class {unknown[0]!r}, which {split_dirs['train']} lacks; "
                "remove it or add train images."
            )
        first = len(names)
        for label, class_name in enumerate(class_names):
            class_dir = split_dir / class_name
            found = _image_names(class_dir, data_dir) if class_dir.is_dir() else []
            if not found and (split == "train" or class_dir.is_dir()):
                raise ValueError(
                    f"{class_dir} holds no image ({', '.join(IMAGE_SUFFIXES)}); "
                    "add some or remove it."
                )
            names += found
            labels += [label] * len(found)
        splits[split] = np.arange(first, len(names))
    return ImageFolder(data_dir, names, np.array(labels, np.int64), class_names, splits)


def _class_names(split_dir: Path) -> tuple[str, ...]:
    names = sorted(
        entry.name for entry in split_dir.iterdir() if entry.is_dir() and entry.name[0] != "."
    )
    if not names:
        raise ValueError(f"{split_dir} holds no class folders; expected {split_dir / '<class>'}.")
    return tuple(names)


def _image_names(class_dir: Path, data_dir: Path) -> list[str]:
    found = []
    for folder, _, names in os.walk(class_dir):
        prefix = Path(folder).relative_to(data_dir).as_posix()
        found += [f"{prefix}/{name}" for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
    return sorted(found)


class FolderReader:
    """Decodes the images of a folder to RGB squares of one size.

    Args:
        folder: What ``find_images`` found.
        image_size: Height and width in pixels; see ``fit_square``.
    """

    def __init__(self, folder: ImageFolder, image_size: int) -> None:
        self.shape = (image_size, image_size, 3)
        self._data_dir = folder.data_dir
        self._names = folder.names

    def __len__(self) -> int:
        """The number of images."""
        return len(self._names)

    def name(self, index: int) -> str:
        """The path below the data folder."""
        return self._names[index]

    def read(self, index: int, epoch: int = 0) -> NDArray[np.uint8]:
        """The (H, W, C) pixels of one image, the same in every epoch.

        Raises:
            ValueError: If the file cannot be read, naming it.
        """
        path = self._data_dir / self._names[index]
        size = self.shape[0]
        try:
            return fit_square(open_rgb(path, shrink_to=2 * size), size)
        except DECODE_ERRORS as error:
            raise ValueError(unreadable(path, error)) from error


def guess_image_size(folder: ImageFolder, skip_bad_images: bool) -> int:
    """The size of the images if all are squares of one size, else 224.

    Judged by the first train image of each class.

    Args:
        folder: What ``find_images`` found.
        skip_bad_images: Judge by the next image of the class where one cannot be read.

    Returns:
        Pixels.

    Raises:
        ValueError: If an image cannot be read and is not to be skipped.
    """
    sizes = set()
    train = folder.splits["train"]
    for label in range(len(folder.class_names)):
        for index in train[folder.labels[train] == label]:
            path = folder.data_dir / folder.names[index]
            try:
                with Image.open(path) as image:
                    sizes.add(image.size)
                break
            except DECODE_ERRORS as error:
                if not skip_bad_images:
                    raise ValueError(unreadable(path, error)) from error
    if len(sizes) == 1:
        width, height = sizes.pop()
        if width == height:
            return width
    return 224


def open_rgb(file: Path | IO[bytes], shrink_to: int | None = None) -> Image.Image:
    """Decodes an image of any mode to RGB.

    16-bit greyscale is scaled to 8 bits, where Pillow would clip it. Transparency is dropped, which
    shows the colour that lies beneath.

    Args:
        file: A path or an open file.
        shrink_to: Lets the JPEG decoder shrink a large picture to no less than so many pixels.

    Returns:
        The whole image, without a file behind it.

    Raises:
        DECODE_ERRORS: If the file is damaged, no image, or has more than twice Pillow's
            ``MAX_IMAGE_PIXELS``.
    """
    with Image.open(file) as image:
        if shrink_to is not None:
            image.draft("RGB", (shrink_to, shrink_to))
        if image.mode.startswith("I"):
            levels = np.asarray(image, np.float64).clip(0, 65535)  # (H, W)
            return Image.fromarray(np.rint(levels / 257).astype(np.uint8)).convert("RGB")
        if image.mode == "P" and "transparency" in image.info:
            return image.convert("RGBA").convert("RGB")  # Pillow warns of the direct way
        return image.convert("RGB")


def fit_square(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """The central square of an image, resized bilinearly with antialiasing.

    As resizing the shorter side and cropping the centre, without computing what is cropped.

    Args:
        image: Of mode "L" or "RGB".
        size: Height and width of the result.

    Returns:
        (size, size, C) uint8.
    """
    if image.size != (size, size):
        width, height = image.size
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    pixels = np.asarray(image, np.uint8)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def unreadable(name: object, error: Exception) -> str:
    """What to say of an image file that gave one of ``DECODE_ERRORS``."""
    return f"Cannot read image {name} ({error}); repair or remove it, or pass --skip-bad-images."


def warn_of_missing_test(data_dir: Path) -> None:
    """Says that the test split will be drawn, since data with a train split usually have one."""
    logger.warning(
        "%s has a train split but neither test nor val; a fifth of it is held out as test.",
        data_dir,
    )
