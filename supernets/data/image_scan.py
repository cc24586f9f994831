"""Every file below a folder of images, looked at once: what is an image, and what is not and why.

1. Images are files that Pillow decodes, by their extension in any case; of a link its own counts.
2. Hidden files and folders, and those that systems add, are passed over.
3. Links are followed, but neither in circles nor to an image that is there already.
"""

from __future__ import annotations

import os
import re
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

#: Spellings of the splits, in lower case and without spaces, ``_``, ``-`` and an ending "set",
#: "split", "data" or "images".
SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "validate", "eval", "evaluation", "dev"),
    "test": ("test", "testing"),
}

#: Formats that Pillow knows by name alone, or decodes by other programs.
_NOT_DECODED = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")
#: Pictures that Pillow does not decode; a class of nothing else is an oversight.
OTHER_PICTURES = frozenset(
    ".heic .heif .jxl .svg .eps .raw .dng .cr2 .cr3 .nef .arw .orf .rw2 .raf .mp4 .mov".split()
)
_SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")

Classes = dict[str, list[str]]  # the images of each class: below the data folder, with "/"


def split_of(name: str) -> str | None:
    """Returns the split that a folder of this name is taken for, or None."""
    short = re.sub(r"[\s_-]+", "", name.lower())
    short = re.sub(r"(?<=.)(set|split|data|images)$", "", short)
    return next((split for split, names in SPLIT_NAMES.items() if short in names), None)


def split_within(name: str) -> str | None:
    """Returns the split that a word of a name means, as in ``seg_train``, ``val2017``, or None."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
    return next((split for word in words if (split := split_of(word))), None)


def image_extensions() -> frozenset[str]:
    """Returns the extensions, in lower case with the dot, of what Pillow decodes."""
    known = Image.registered_extensions()
    decoded = Image.OPEN.keys() - set(_NOT_DECODED) | {"MPO"}  # that one is opened as JPEG
    return frozenset(extension for extension, kind in known.items() if kind in decoded)


def printable(name: str) -> str:
    """Returns a name for messages and files, in which bytes that are not UTF-8 are ``\\x..``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def some(names: Sequence[str]) -> str:
    """The first five of the names of folders or classes, and how many more there are."""
    shown = ", ".join(printable(name) for name in names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def is_passed_over(path: str) -> bool:
    """Returns whether a path within an archive is hidden, or in a folder that a system adds."""
    parts = [part for part in path.split("/") if part != "."]
    return any(part.startswith(".") or part in _SYSTEM_FOLDERS for part in parts)


def natural_key(name: str) -> list[str | int]:
    """Sorts ``2`` before ``10``, without regard to case, as timm does."""
    parts = re.split(r"(\d+)", name.lower())
    return [int(part) if number % 2 else part for number, part in enumerate(parts)]


class Scan:
    """All that lies in a folder, looked at once.

    ``tops`` has the images of each folder directly in it, of links to folders too.
    """

    def __init__(self, data_dir: Path, with_tars: bool) -> None:
        self.data_dir = data_dir
        self.tops: dict[str, list[str]] = {}
        self.tars: dict[str, Path] = {}
        self.passed: Counter[tuple[str, str]] = Counter()  # by folder and reason
        self._linked: dict[str, str] = {}  # the real paths of images that links lead to
        self._real_folders: dict[str, str] = {}
        self._extensions = image_extensions()
        self._root = os.path.realpath(data_dir)
        for entry in _entries(str(data_dir)):
            is_tar = with_tars and entry.name.lower().endswith(".tar")
            if is_tar and split_of(entry.name[:-4]) and os.path.isfile(entry.path):
                self.tars[entry.name[:-4]] = Path(entry.path)
            elif self._is_folder(entry, ""):
                self.add(entry.name)
            elif self._is_image(entry, ""):
                self.passed["", "outside of class folders"] += 1
        for name in list(self.tars):
            if any(images and split_of(top) == split_of(name) for top, images in self.tops.items()):
                del self.tars[name]  # the folder is what was made of it
                self.passed["", ".tar"] += 1

    def add(self, top: str) -> None:
        """Lists the folder ``top``, links after all else."""
        outer = top.split("/")[0]
        if outer != top and outer in self.tops:
            self.tops[top] = [image for image in self.tops[outer] if image.startswith(f"{top}/")]
            return
        path = str(self.data_dir / top)
        folders, links = deque([(path, top)]), deque[tuple[str, str]]()
        is_linked = os.path.islink(path)
        images = self.tops[top] = []
        seen: set[str] = set()
        if is_linked and self._is_circle(str(self.data_dir), path):
            self.passed["", "links in a circle"] += 1
            return
        while folders or links:
            is_linked = is_linked or not folders
            folder, name = folders.popleft() if folders else links.popleft()
            real = os.path.realpath(folder)
            if real in seen:
                self.passed[name, "reached twice by links"] += 1
                continue
            seen.add(real)
            self._real_folders[name] = real
            for entry in _entries(folder):
                below = f"{name}/{entry.name}"
                if self._is_folder(entry, name):
                    if not entry.is_symlink():
                        folders.append((entry.path, below))
                    elif self._is_circle(folder, entry.path):
                        self.passed[name, "links in a circle"] += 1
                    else:
                        links.append((entry.path, below))
                elif self._is_image(entry, name):
                    images.append(below)
                    if is_linked or entry.is_symlink():
                        self._linked[below] = os.path.realpath(entry.path)

    def _is_circle(self, folder: str, link: str) -> bool:
        target = os.path.join(os.path.realpath(link), "")
        here = os.path.join(os.path.realpath(folder), "")
        return here.startswith(target) or os.path.join(self._root, "").startswith(target)

    def _is_folder(self, entry: os.DirEntry[str], folder: str) -> bool:
        """Whether to go on below; counts what is in folders that are passed over."""
        if not _leads_to_folder(entry):
            return False
        if entry.name.startswith("."):
            self.passed[folder, "hidden"] += _count_files(entry)
        elif entry.name in _SYSTEM_FOLDERS:
            self.passed[folder, f"in {entry.name}"] += _count_files(entry)
        else:
            return True
        return False

    def _is_image(self, entry: os.DirEntry[str], folder: str) -> bool:
        """Whether a file, or what else is no folder to go into, is an image; counts others."""
        if _leads_to_folder(entry):  # one that was passed over
            return False
        extension = os.path.splitext(entry.name)[1].lower()
        if entry.name.startswith("."):
            reason = "hidden"
        elif entry.is_symlink() and not os.path.exists(entry.path):
            reason = "broken links"
        elif not (os.path.isfile(entry.path) if entry.is_symlink() else entry.is_file()):
            reason = "neither files nor folders"
        elif extension in self._extensions:
            return True
        else:
            reason = printable(extension) or "without extension"
        self.passed[folder, reason] += 1
        return False

    def without_repeats(self, classes: Classes) -> Classes:
        """Returns the images of a split without those that a link leads to once more."""
        if not self._linked:
            return classes
        taken = {
            os.path.join(self._real_folders[image.rpartition("/")[0]], image.rpartition("/")[2])
            for images in classes.values()
            for image in images
            if image not in self._linked
        }
        kept: Classes = {}
        for class_name, images in sorted(classes.items()):
            kept[class_name] = []
            for image in sorted(images):
                real = self._linked.get(image)
                if real in taken:
                    self.passed[image.rpartition("/")[0], "reached twice by links"] += 1
                    continue
                if real is not None:
                    taken.add(real)
                kept[class_name].append(image)
        return {class_name: images for class_name, images in kept.items() if images}

    def within(self, top: str) -> set[str]:
        """Returns the names of the folders directly below ``top``."""
        found = (name.split("/") for name in self._real_folders if name.startswith(f"{top}/"))
        return {parts[top.count("/") + 1] for parts in found}

    def reasons(self, folder: str) -> Counter[str]:
        """Counts what is passed over in a folder, at any depth, by reason."""
        found: Counter[str] = Counter()
        for (place, reason), count in self.passed.items():
            if place == folder or place.startswith(f"{folder}/"):
                found[reason] += count
        return found

    def count(self, kept: set[str] | None) -> Counter[str]:
        """Counts what is passed over by reason; of top folders other than ``kept``, all they hold.

        Args:
            kept: The folders of the splits, or None to count each folder's files by reason.
        """
        tops = {name.split("/")[0] for name in kept or ()}
        found: Counter[str] = Counter()
        for (folder, reason), count in self.passed.items():
            top = folder.split("/")[0]
            is_stray = kept is not None and top != "" and top not in tops
            found[f"in {printable(top)}" if is_stray else reason] += count
        if kept is not None:
            for top, images in self.tops.items():
                if top.split("/")[0] not in tops and images:
                    found[f"in {printable(top)}"] += len(images)
        return found


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise ValueError(
            f"Cannot list the folder {folder} ({error.strerror}); make it readable or remove it."
        ) from error


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    # of most entries the listing itself says it, which saves a call per image
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def _count_files(entry: os.DirEntry[str]) -> int:
    if entry.is_symlink():
        return 1
    return sum(len(files) for _, _, files in os.walk(entry.path))
