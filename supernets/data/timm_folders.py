"""Folders and tar files of images by class, in the order that timm gives them."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from supernets.data.image_folder import open_rgb
from supernets.data.image_scan import Classes, is_passed_over, natural_key, printable, split_of


class FolderPart:
    """The images below folders of the classes' names.

    Args:
        data_dir: The folder of all splits.
        classes: Images of a split by class, as ``image_tree`` found them.
    """

    def __init__(self, data_dir: Path, classes: Classes) -> None:
        folders = sorted(classes, key=_order)
        found = [(image, number) for number, name in enumerate(folders) for image in classes[name]]
        found.sort(key=lambda pair: _order(pair[0]))
        self._data_dir = data_dir
        self._images = [image for image, _ in found]
        self.labels = np.array([number for _, number in found], np.int64)
        self.class_names = tuple(printable(name) for name in folders)

    def name(self, index: int) -> str:
        """Returns the name that identifies the image, wherever the data lie."""
        return printable(self._images[index])

    def path(self, index: int) -> str:
        """Returns the path of the image file."""
        return str(self._data_dir / self._images[index])

    def load(self, index: int) -> Image.Image:
        """Decodes the image to RGB."""
        return open_rgb(self.path(index))


class TarPart:
    """A tar file with images below folders of the classes' names, read as timm does.

    As in folders, an image belongs to the uppermost folder, and hidden ones are passed over; timm's
    innermost folders remain the classes in a tar file of tar files.

    Args:
        reader: timm's, of the whole file.
        root: The tar file.
        data_dir: The folder that names of images leave out.

    Raises:
        ValueError: If an image is in no class folder, or the file holds several splits.
    """

    def __init__(self, reader: Any, root: Path, data_dir: Path) -> None:
        self._reader = reader
        self._data_dir = str(data_dir) + os.sep
        self._parent = str(root) + os.sep  # of the paths in the tar file
        folders = [os.path.dirname(entry.path).split("/") for entry, _, _ in reader.samples]
        paths = (f"{'/'.join(parts)}/{self._file(i)}" for i, parts in enumerate(folders))
        self._kept = [i for i, path in enumerate(paths) if not is_passed_over(path)]
        self.passed_over = +Counter({"hidden": len(folders) - len(self._kept)})
        if any(nested is not None for _, _, nested in reader.samples):
            names = {number: name for name, number in reader.class_name_to_idx.items()}
            classes = [names[int(reader.targets[i])] for i in self._kept]
        else:
            depth = _num_common([folders[i] for i in self._kept])
            classes = [folders[i][depth] for i in self._kept]
        if "" in classes or "." in classes:
            first = self.path(next(i for i, name in enumerate(classes) if name in ("", ".")))
            raise ValueError(f"{first} is in no class folder; expected {root / '<class>'}.")
        found = sorted(set(classes), key=_order)
        if len({split_of(name) for name in found} - {None}) > 1:
            raise ValueError(
                f"{root} holds the splits {', '.join(found[:5])}; unpack it, or make a tar file of "
                "each split, train.tar and so on."
            )
        numbers = {name: number for number, name in enumerate(found)}
        self.labels = np.array([numbers[name] for name in classes], np.int64)
        self.class_names = tuple(printable(name) for name in found)

    def name(self, index: int) -> str:
        """Returns the name that identifies the image, wherever the data lie."""
        return printable(self.path(index).removeprefix(self._data_dir).replace(os.sep, "/"))

    def path(self, index: int) -> str:
        """Returns the path of the image in the tar file, for messages."""
        return f"{self._parent}{self._reader.filename(self._kept[index], absolute=True)}"

    def load(self, index: int) -> Image.Image:
        """Decodes the image to RGB."""
        file, _ = self._reader[self._kept[index]]
        with file:
            return open_rgb(file)

    def _file(self, index: int) -> str:
        return os.path.basename(str(self._reader.samples[index][0].path))


def _order(name: str) -> tuple[list[str | int], str]:
    return natural_key(name), name


def _num_common(folders: list[list[str]]) -> int:
    """How many uppermost folders all images have in common, not counting the innermost."""
    depth = 0
    while all(len(parts) > depth + 1 for parts in folders) and (
        len({parts[depth] for parts in folders}) == 1
    ):
        depth += 1
    return depth
