"""Images in one folder per class: which there are, the split of each, and their pixels.

Pixels are those that a viewer shows: turned as the EXIF data ask for, and what is transparent on
white.
"""

from __future__ import annotations

import logging
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from supernets.data.image_loader import or_skip
from supernets.data.image_scan import printable
from supernets.data.image_tree import look_at

logger = logging.getLogger(__name__)

#: What Pillow raises on files that are damaged, no images, or beyond its limit on pixels.
DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)

_ORIENTATION = 0x0112  # the tag of EXIF
#: What undoes each orientation of EXIF but the first.
_TURNS: dict[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")


@dataclass(frozen=True)
class ImageFolder:
    """The images below a folder, sorted by split, class and name; nothing is decoded yet."""

    data_dir: Path
    names: list[str]  # relative to data_dir, with forward slashes
    labels: NDArray[np.int64]  # (num_images,)
    class_names: tuple[str, ...]  # in printable characters
    splits: dict[str, NDArray[np.int64]]  # "train" and, where they have folders, "val", "test"
    passed_over: Counter[str]  # the number of files by reason

    def path(self, index: int) -> Path:
        """Returns the file of an image."""
        return self.data_dir / self.names[index]


def find_images(data_dir: Path) -> ImageFolder:
    """Lists the images of ``<class>/``, or of ``train/<class>/`` and ``test/<class>/``.

    ``val/<class>/`` is the val split or, without ``test``, as in ImageNet's official layout, the
    test split. ``train`` may also stand alone. ``image_tree`` has all that counts as these.

    Args:
        data_dir: The folder.

    Returns:
        What was found. Without a ``train`` folder all images are in the split "train".

    Raises:
        ValueError: If the folders are missing, empty, of a single class or do not fit each other.
    """
    tree = look_at(data_dir)
    if tree.has_split_folders and "test" not in tree.splits:
        warn_of_missing_test(data_dir)
    folders = sorted(tree.splits["train"])
    names: list[str] = []
    labels: list[int] = []
    splits: dict[str, NDArray[np.int64]] = {}
    for split in ("train", "val", "test"):
        if split not in tree.splits:
            continue
        first = len(names)
        for label, class_dir in enumerate(folders):
            found = sorted(tree.splits[split].get(class_dir, ()))
            names += found
            labels += [label] * len(found)
        splits[split] = np.arange(first, len(names))
    class_names = tuple(printable(name) for name in folders)
    return ImageFolder(
        data_dir, names, np.array(labels, np.int64), class_names, splits, tree.passed_over
    )


class FolderReader:
    """Decodes the images of a folder to RGB squares of one size.

    Args:
        folder: Images that ``find_images`` found.
        image_size: Height and width in pixels; see ``fit_square``.
    """

    def __init__(self, folder: ImageFolder, image_size: int) -> None:
        self.shape = (image_size, image_size, 3)
        self.path = folder.path
        self._names = folder.names

    def __len__(self) -> int:
        """The number of images."""
        return len(self._names)

    def name(self, index: int) -> str:
        """Returns the path of the image below the data folder."""
        return printable(self._names[index])

    def read(self, index: int, epoch: int = 0) -> NDArray[np.uint8]:
        """Reads the (H, W, C) pixels of one image, the same in every epoch.

        Raises:
            ValueError: If the file cannot be read, naming it.
        """
        path, size = self.path(index), self.shape[0]
        try:
            return fit_square(open_rgb(path, shrink_to=2 * size), size)
        except DECODE_ERRORS as error:
            raise ValueError(unreadable(path, error)) from error


def guess_image_size(folder: ImageFolder, skip_bad_images: bool) -> int:
    """Returns the size of the images if all are squares of one size, else 224.

    Judged by the first train image of each class.

    Args:
        folder: Images that ``find_images`` found.
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
            path = folder.path(int(index))
            try:
                with Image.open(path) as image:
                    sizes.add(image.size)
                break
            except DECODE_ERRORS as error:
                if not skip_bad_images:
                    raise ValueError(or_skip(unreadable(path, error))) from error
    if len(sizes) == 1:
        width, height = sizes.pop()
        if width == height:
            return width
    return 224


def open_rgb(file: Path | str | IO[bytes], shrink_to: int | None = None) -> Image.Image:
    """Decodes an image of any mode to RGB, as ``to_rgb`` does.

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
        return to_rgb(image)


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts an image of any mode to RGB, as a viewer shows it.

    It is turned and mirrored as its EXIF data say. Transparent pixels are blended with white.
    16-bit greyscale is scaled to 8 bits and floats from 0 to 1 to 0..255, where Pillow would clip
    them; of several frames the first counts.

    Raises:
        DECODE_ERRORS: If the image is damaged.
    """
    image.load()  # which turns a TIFF, and reads what stands after the pixels
    turn = _TURNS.get(_orientation(image))
    if image.mode.startswith("I"):
        levels = np.asarray(image, np.float64).clip(0, 65535)  # (H, W)
        rgb = Image.fromarray(np.rint(levels / 257).astype(np.uint8)).convert("RGB")
    elif image.mode == "F":
        values = np.nan_to_num(np.asarray(image, np.float64))  # (H, W)
        scale = 255 if values.max() <= 1 else 1
        rgb = Image.fromarray(np.rint((values * scale).clip(0, 255)).astype(np.uint8))
        rgb = rgb.convert("RGB")
    elif image.mode in _ALPHA_MODES or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        rgb = Image.alpha_composite(white, with_alpha).convert("RGB")
    else:
        rgb = image.convert("RGB")
    return rgb if turn is None else rgb.transpose(turn)


def _orientation(image: Image.Image) -> object:
    try:
        return image.getexif().get(_ORIENTATION)
    except DECODE_ERRORS:  # viewers show an image with damaged EXIF data as it is
        return None


def fit_square(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Returns the central square of an image, resized bilinearly with antialiasing.

    As resizing the shorter side and cropping the centre, without computing what is cropped.

    Args:
        image: An image of mode "L" or "RGB".
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
    """Returns the message for an image file that gave one of ``DECODE_ERRORS``."""
    shown = printable(str(name))
    why = printable(str(error))
    return f"Cannot read image {shown} ({why})."


def warn_of_missing_test(data_dir: Path) -> None:
    """Says that the test split will be drawn, since data with a train split usually have one."""
    logger.warning(
        "%s has a train split but neither test nor val; a fifth of it is held out as test.",
        data_dir,
    )
