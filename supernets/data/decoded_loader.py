"""Images that are decoded once and looked at again and again, such as by every candidate.

Their 8-bit pixels lie in memory where they take at most ``MEMORY_BUDGET`` and a quarter of what is
free, and otherwise in a file among the temporary ones (``TMPDIR``), which is mapped: all workers of
a machine share it, in the memory that is left for caches. Where that disk is full, or 8-bit pixels
do not give the very bits of the loader, images are decoded again every time.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from supernets.data.image_loader import ImageLoader, Loader
from supernets.data.packed_batches import PackedImages, pack
from supernets.data.streamed_pixels import StreamedPixels
from supernets.data.timm_stream import StreamLoader
from supernets.runtime.free_memory import free_memory
from supernets.runtime.progress import hides_bars
from supernets.runtime.temporary_file import TemporaryFile, room_for_files
from supernets.runtime.wording import first_line, size_of_bytes

logger = logging.getLogger(__name__)

#: Bytes of pixels that are kept in memory at most; more lie in a file.
MEMORY_BUDGET = 4 * 2**30
_PREFIX, _FILE = "paceline-images-", "pixels.bin"

_Decoded = list[tuple[PackedImages, Tensor]]


def decoded_once(loader: Loader, what: str) -> Loader:
    """Returns a loader that decodes once what the given one decodes every time.

    Images in memory stay as they are, and so does what a ``DataLoader`` of one's own gives: nobody
    knows whether it gives the same again.

    Args:
        loader: Loader that neither shuffles nor augments.
        what: What its images are called in messages, such as "val".
    """
    is_streamed = isinstance(loader, ImageLoader) and isinstance(loader.source, StreamedPixels)
    return (
        DecodedLoader(loader, what) if is_streamed or isinstance(loader, StreamLoader) else loader
    )


class DecodedLoader(Loader):
    """The minibatches of a loader, decoded when they are first asked for and kept from then on.

    They are those of its epoch 0 in every epoch. Before they are sent to workers they are decoded;
    a worker that does not find their file, as on another machine, decodes them every time, unless
    they are of a stream, which cannot be sent: that is an ``OSError``. The file
    is removed with the loader, or when the process ends; that of a process that was killed, by the
    next one that needs such a file.

    Args:
        loader: Gives the same minibatches every time.
        what: What its images are called in messages.
    """

    def __init__(self, loader: Loader, what: str) -> None:
        self.loader: Loader | None = loader
        self._what, self._length = what, len(loader)
        self.num_images, self.batch_size = loader.num_images, loader.batch_size
        self.scalings = loader.scalings
        self._decoded: _Decoded | None = None  # once they are; pixels are in memory or the file
        self._path: Path | None = None
        self._is_streamed = False  # as they cannot be kept

    def __len__(self) -> int:
        """The number of minibatches of an epoch."""
        return self._length

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterates over the minibatches; all are decoded before the first comes."""
        self._check_epoch(epoch, start)
        return self._minibatches(start)

    def _minibatches(self, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        self._decode()
        if self._decoded is None:
            assert self.loader is not None
            yield from self.loader.epoch(0, start)
            return
        for images, y in self._decoded[start:]:
            yield _on(images, y.device).unpack(), y

    def _decode(self) -> None:
        """Decodes all images, unless that is done or they cannot be kept."""
        if self._decoded is not None or self._is_streamed:
            return
        assert self.loader is not None
        try:
            with torch.inference_mode(False), torch.no_grad():  # they are looked at elsewhere too
                self._decoded, file = _decode_all(self.loader, self._what)
        except _CannotKeep as problem:
            self._is_streamed = True
            logger.warning(
                "The %s images are decoded again every time they are looked at: %s",
                self._what,
                problem,
            )
            return
        where = "memory"
        if file is not None:
            self._path = file.path
            weakref.finalize(self, file.close)
            where = f"{file.path}, which is removed at the end"
        logger.info(
            "Decoded %d %s images once; they are %s in %s.",
            sum(len(y) for _, y in self._decoded),
            self._what,
            size_of_bytes(sum(images.num_bytes for images, _ in self._decoded)),
            where,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Decodes all, and leaves out pixels that are in a file, or a loader that is done with."""
        self._decode()
        state = self.__dict__.copy()
        if self._path is not None and self._decoded is not None:
            state["_decoded"] = [(_without_pixels(images), y) for images, y in self._decoded]
        if self._decoded is not None and (
            self._path is None or isinstance(self.loader, StreamLoader)  # of which none can be sent
        ):
            state["loader"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._path is None or self._decoded is None:
            return
        try:
            self._decoded = _mapped(self._path, self._decoded)
        except OSError as error:
            if self.loader is None:
                raise
            self._decoded, self._path, self._is_streamed = None, None, True
            logger.warning(
                "This worker decodes the %s images again every time they are looked at: %s",
                self._what,
                error,
            )


class _CannotKeep(Exception):
    """Images that are to be decoded every time; says why, and what to do."""


def _decode_all(loader: Loader, what: str) -> tuple[_Decoded, TemporaryFile | None]:
    """The minibatches of a loader, and the file that their pixels are in."""
    decoded: _Decoded = []
    file: _PixelFile | None = None
    minibatches = tqdm(
        loader,
        f"Decoding {what} images",
        len(loader),
        leave=False,
        disable=True if hides_bars() else None,
    )
    try:
        for x, y in minibatches:
            packed = pack(x, loader.scalings)
            if packed is None:
                raise _CannotKeep("they are not of 8-bit pixels.")
            packed = _on(packed, torch.device("cpu"))  # GPUs have better uses for their memory
            if not decoded:
                file = _file_for(packed.pixels.nbytes / len(y) * loader.num_images)
            if file is not None:
                packed = file.write(packed)
            decoded.append((packed, y))
        if file is None:
            return decoded, None
        return file.finish(decoded), file.temporary
    except BaseException:
        if file is not None:
            file.close()
        raise


def _file_for(num_bytes: float) -> _PixelFile | None:
    """A file for so many bytes of pixels, or None where they lie in memory."""
    free = free_memory()
    if num_bytes <= (MEMORY_BUDGET if free is None else min(MEMORY_BUDGET, free // 4)):
        return None
    try:
        return _PixelFile(int(num_bytes))
    except OSError as error:
        raise _no_room(error) from error


class _PixelFile:
    """The pixels of minibatches, one after another.

    Args:
        num_bytes: How many they will about be.

    Raises:
        OSError: If the file cannot be made, or the disk has too little room.
    """

    def __init__(self, num_bytes: int) -> None:
        self.temporary = TemporaryFile(_PREFIX, _FILE)
        try:
            _, free = room_for_files()
            if free is not None and free < num_bytes:
                raise OSError(f"they take {size_of_bytes(num_bytes)}")
            self._file = self.temporary.path.open("wb")
        except BaseException:
            self.temporary.close()
            raise

    def write(self, images: PackedImages) -> PackedImages:
        """Writes the pixels of images, and returns these without."""
        try:
            self._file.write(images.pixels.contiguous().numpy().data)
        except OSError as error:
            raise _no_room(error) from error
        return _without_pixels(images)

    def finish(self, decoded: _Decoded) -> _Decoded:
        """Returns the minibatches with their pixels, which are mapped from the file."""
        try:
            self._file.close()
            return _mapped(self.temporary.path, decoded)
        except OSError as error:
            raise _no_room(error) from error

    def close(self) -> None:
        """Removes the file."""
        try:
            self._file.close()
        except OSError:  # of what was not written yet
            pass
        self.temporary.close()


def _no_room(error: OSError) -> _CannotKeep:
    folder, free = room_for_files()
    room = "" if free is None else f", which has {size_of_bytes(free)} free"
    return _CannotKeep(
        f"they cannot be kept in a file in {folder}{room} ({error.strerror or error}); set TMPDIR "
        "to a folder with room."
    )


def _on(images: PackedImages, device: torch.device) -> PackedImages:
    """The same images, to be unpacked on a device by the scaling they have."""
    return replace(
        images,
        pixels=images.pixels.to(device),
        places=images.places.to(device),
        values=images.values.to(device),
    )


def _without_pixels(images: PackedImages) -> PackedImages:
    """The same images with the shape of their pixels alone."""
    shape = images.pixels.shape
    return replace(images, pixels=torch.empty(shape, dtype=torch.uint8, device="meta"))


def _mapped(path: Path, decoded: _Decoded) -> _Decoded:
    """Minibatches with their pixels, which a file has one after another.

    Raises:
        OSError: If the file is missing, another, or cannot be mapped.
    """
    sizes = [images.pixels.numel() for images, _ in decoded]
    found = path.stat().st_size
    if found != sum(sizes):
        raise OSError(f"{path} has {found} bytes, expected {sum(sizes)}.")
    try:
        pixels = torch.from_file(str(path), shared=False, size=found, dtype=torch.uint8)
    except RuntimeError as error:  # such as a limit of addresses
        raise OSError(f"{path} cannot be mapped: {first_line(error)}") from error
    return [
        (replace(images, pixels=part.view(images.pixels.shape)), y)
        for part, (images, y) in zip(torch.split(pixels, sizes), decoded, strict=True)
    ]
