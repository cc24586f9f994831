"""Images that are read and, where the reader does so, augmented by worker processes."""

from __future__ import annotations

import logging
import signal
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from supernets.data.image_loader import ImageReader, UnreadableImage, or_skip
from supernets.data.image_scan import some
from supernets.runtime.wording import plural

logger = logging.getLogger(__name__)

_CHUNK = 32  # images of a worker's task: less than a minibatch, so that the first comes soon

_Request = tuple[int, NDArray[np.int64]]  # epoch, image indices
_Decoded = tuple[Tensor, list[int], list[str]]  # pixels, positions of the request, problems


class StreamedPixels:
    """A data set read from its files whenever a batch is wanted.

    The workers are started for the first batch and kept for all epochs. Batches are made of tasks
    that do not depend on the number of workers, and so their pixels do not either.

    Args:
        reader: The images.
        device: Device that the pixels are moved to.
        num_workers: Worker processes; 0 reads in this process.
        skip_bad_images: Whether to leave unreadable images out, with one warning each, instead of
            raising.
    """

    def __init__(
        self, reader: ImageReader, device: torch.device, num_workers: int, skip_bad_images: bool
    ) -> None:
        self._reader = reader
        self._device = device
        self._num_workers = num_workers
        self._skip_bad_images = skip_bad_images
        self._reported: set[str] = set()
        self._requests: list[_Request] = []  # of the epoch that the kept workers are in
        self._loader = self._create_loader(self._requests, are_kept=num_workers > 0)
        self._is_busy = False

    def batches(
        self, index_batches: Sequence[NDArray[np.int64]], epoch: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields the pixels (n, H, W, C) and the positions (n,) of each batch's readable images.

        Where none of a batch is readable, n is 0 and the pixels have no other dimension.

        Raises:
            ValueError: If an image cannot be read and is not to be skipped.
        """
        num_reported = len(self._reported)
        tasks = [np.array_split(indices, -(-len(indices) // _CHUNK)) for indices in index_batches]
        decoded = self._decode([(epoch, indices) for batch in tasks for indices in batch])
        for batch in tasks:
            parts, kept, problems, first = [], [], [], 0
            for indices in batch:
                pixels, positions, found = next(decoded)
                problems += found
                if positions:  # else there is no shape
                    parts.append(pixels.to(self._device, non_blocking=True))
                    kept += [first + position for position in positions]
                first += len(indices)
            self._report(problems)
            pixels = torch.cat(parts) if parts else torch.empty(0, device=self._device)
            yield pixels, torch.tensor(kept, dtype=torch.int64)
        if len(self._reported) > num_reported:
            unread = plural(len(self._reported), "unreadable image")
            logger.warning("Left out %s so far.", unread)

    def _decode(self, requests: list[_Request]) -> Iterator[_Decoded]:
        if self._is_busy:  # this is a second iterator beside one that is midway
            yield from self._create_loader(requests, are_kept=False)
            return
        self._is_busy = True
        try:
            self._requests[:] = requests
            yield from self._loader
        finally:
            self._is_busy = False

    def _create_loader(self, requests: list[_Request], are_kept: bool) -> DataLoader[_Decoded]:
        return DataLoader(
            _Decoder(self._reader),
            batch_size=None,
            sampler=requests,
            num_workers=self._num_workers,
            persistent_workers=are_kept,
            worker_init_fn=_leave_interrupts,
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),  # or it would advance the global one
        )

    def __getstate__(self) -> dict[str, Any]:
        """Without worker processes, which are of this process; another one starts its own."""
        return {**self.__dict__, "_loader": None, "_requests": [], "_is_busy": False}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._loader = self._create_loader(self._requests, are_kept=self._num_workers > 0)

    def _report(self, problems: list[str]) -> None:
        for problem in problems:
            if not self._skip_bad_images:
                raise UnreadableImage(or_skip(problem))
            if problem not in self._reported:
                self._reported.add(problem)
                logger.warning("Left out: %s", problem)


def _leave_interrupts(worker: int) -> None:
    """A Ctrl-C reaches every process of a terminal; what to do is for the main process to say."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def check_readable(
    reader: ImageReader,
    splits: Mapping[str, NDArray[np.int64]],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    num_workers: int,
) -> None:
    """Makes sure that of each class a train image, and of each split an image, can be read.

    Reads no more than that takes: one image of each class and split, unless it is unreadable. A
    class of which another split has none is a warning.

    Args:
        reader: The images.
        splits: Indices of "train" and the other splits.
        labels: Class number of each image, (num_images,).
        class_names: Name of each class number in ``labels``.
        num_workers: Threads; 0 and 1 are the same.

    Raises:
        ValueError: If all train images of a class, or all images of a split, are unreadable.
    """

    def has_readable(indices: NDArray[np.int64]) -> bool:
        for index in indices:
            try:
                reader.read(int(index))
            except ValueError:  # named when its minibatch comes
                continue
            return True
        return False

    readable: dict[str, set[int]] = {}
    with ThreadPoolExecutor(max(1, num_workers)) as executor:
        for split, indices in splits.items():
            present = [int(label) for label in np.unique(labels[indices])]
            parts = [indices[labels[indices] == label] for label in present]
            found = executor.map(has_readable, parts)
            readable[split] = {label for label, is_so in zip(present, found, strict=True) if is_so}
    check_classes(splits, labels, readable, class_names)


def check_classes(
    splits: Mapping[str, NDArray[np.int64]],
    labels: NDArray[np.int64],
    readable: Mapping[str, Collection[int]],
    class_names: Sequence[str],
) -> None:
    """Makes sure that what can be read is enough to train on, and warns of what is missing.

    Args:
        splits: Indices of the images of each split, whether they can be read or not.
        labels: Class number of each image, (num_images,).
        readable: The labels of the images of each split that can be read.
        class_names: Name of each class number in ``labels``.

    Raises:
        ValueError: If all train images of a class, or all images of a split, are unreadable.
    """
    for split, indices in splits.items():
        lost = [int(x) for x in np.unique(labels[indices]) if x not in readable[split]]
        if lost and split == "train":
            raise no_readable_image(class_names[lost[0]])
        if not readable[split]:
            raise no_readable_image(split=split)
        if lost:
            names = some([class_names[label] for label in lost])
            logger.warning("The %s split has no readable image of %s.", split, names)


def no_readable_image(class_name: str | None = None, *, split: str = "train") -> ValueError:
    """Builds the error for a class, or a split, of damaged files only."""
    if class_name is not None:
        return ValueError(
            f"Class {class_name!r} has no readable {split} image; repair its files or remove it."
        )
    return ValueError(f"The {split} split has no readable image; repair its files.")


class _Decoder(Dataset[_Decoded]):
    """Reads the images of a request, in a worker."""

    def __init__(self, reader: ImageReader) -> None:
        self._reader = reader

    def __getitem__(self, request: _Request) -> _Decoded:
        epoch, indices = request
        images, positions, problems = [], [], []
        for position, index in enumerate(indices):
            try:
                images.append(self._reader.read(int(index), epoch))
            except ValueError as error:
                problems.append(str(error))
            else:
                positions.append(position)
        pixels = torch.from_numpy(np.stack(images)) if images else torch.empty(0)
        return pixels, positions, problems
