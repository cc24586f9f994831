"""What is said of opened data: classes, images, files passed over, images in two splits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from supernets.data.image_folder import DECODE_ERRORS
from supernets.runtime.digests import ends_digest, file_digest
from supernets.runtime.wording import plural

logger = logging.getLogger(__name__)

#: Data of more images are not searched for equal ones, which takes a look at every file.
MAX_COMPARED = 100_000

_SHOWN_CLASSES = 5
_SHOWN_REASONS = 5


def summary(
    class_names: Sequence[str],
    sizes: Mapping[str, int],
    passed_over: Mapping[str, int] | None,
) -> str:
    """Returns a line: ``3 classes (bus, car, train): 240 train, 60 val, 50 test images; …``.

    Args:
        class_names: Names of all classes, of which the first few are shown.
        sizes: The number of images of each split.
        passed_over: The number of files that are not used, by reason; None if that is not known.
    """
    names = " ".join(", ".join(class_names[:_SHOWN_CLASSES]).split())  # one line
    names += ", …" if len(class_names) > _SHOWN_CLASSES else ""
    images = ", ".join(f"{size} {split}" for split, size in sizes.items())
    line = f"{plural(len(class_names), 'class')} ({names}): {images} images"
    if not passed_over:
        return line
    reasons = sorted(passed_over.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = [f"{count} {reason}" for reason, count in reasons[:_SHOWN_REASONS]]
    rest = sum(count for _, count in reasons[_SHOWN_REASONS:])
    shown += [plural(rest, "other")] if rest else []
    total = sum(passed_over.values())
    return f"{line}; {plural(total, 'file')} passed over: {', '.join(shown)}"


def data_found(
    class_names: Sequence[str],
    sizes: Mapping[str, int],
    passed_over: Mapping[str, int] | None,
    num_copies: int | None,
) -> dict[str, Any]:
    """Returns the line on the data and its numbers, in plain types for a record.

    Args:
        class_names: Names of the classes, as for ``summary``.
        sizes: Number of images of each split, as for ``summary``.
        passed_over: Number of files that are not used, by reason, as for ``summary``.
        num_copies: The number of images that are in two splits, or None if that is not known.
    """
    return {
        "summary": summary(class_names, sizes, passed_over),
        "passed_over": None if passed_over is None else dict(sorted(passed_over.items())),
        "images_in_two_splits": num_copies,
    }


def count_copies(
    path: Callable[[int], Path],
    splits: Mapping[str, NDArray[np.int64]],
    class_of: NDArray[np.int64],
) -> int | None:
    """Looks for files with the same bytes in different splits or classes, and warns of them.

    Only files of one size are read, and in full only those whose ends are equal as well. Equal
    files that are no images are left to whoever decodes them.

    Args:
        path: The file of the image of an index.
        splits: Indices of the images of each split.
        class_of: Class number of each image, (num_images,).

    Returns:
        The number of different images that are in more than one split, or None if there are more
        than ``MAX_COMPARED`` images, which are not compared.
    """
    if sum(map(len, splits.values())) > MAX_COMPARED:
        logger.info("More than %d images: not searched for equal ones.", MAX_COMPARED)
        return None
    split_of = {int(i): split for split, indices in splits.items() for i in indices}
    groups = _divide(split_of, path, _size)
    groups = [group for group in groups if path(group[0]).stat().st_size > 0]
    for key in (ends_digest, file_digest):
        groups = [part for group in groups for part in _divide(group, path, key)]
    groups = [group for group in groups if _is_image(path(group[0]))]
    in_two = [group for group in groups if len({split_of[i] for i in group}) > 1]
    if in_two:
        first = sorted(in_two[0])[:2]
        logger.warning(
            "%s in two splits, such as %s and %s: what is measured on val or test is too good; "
            "remove one of each.",
            _images_are(len(in_two)),
            *(path(index) for index in first),
        )
    in_classes = [group for group in groups if len({int(class_of[i]) for i in group}) > 1]
    if in_classes:
        logger.warning(
            "%s in two classes, such as %s and %s; remove the wrong ones.",
            _images_are(len(in_classes)),
            *(path(index) for index in sorted(in_classes[0])[:2]),
        )
    return len(in_two)


def _images_are(count: int) -> str:
    return f"{plural(count, 'image')} {'is' if count == 1 else 'are'}"


def _divide(
    group: Iterable[int], path: Callable[[int], Path], key: Callable[[Path], Any]
) -> list[list[int]]:
    """The parts of a group with equal keys that have two members at least."""
    keyed = []
    for index in group:
        try:
            keyed.append((key(path(index)), index))
        except OSError:  # whoever decodes it says so
            continue
    keyed.sort()
    parts = ([index for _, index in part] for _, part in groupby(keyed, key=lambda pair: pair[0]))
    return [part for part in parts if len(part) > 1]


def _is_image(path: Path) -> bool:
    """Whether a file begins as an image does, and is no error page under its name."""
    try:
        with Image.open(path):
            return True
    except DECODE_ERRORS:
        return False


def _size(path: Path) -> int:
    return path.stat().st_size
