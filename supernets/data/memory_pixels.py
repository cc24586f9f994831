"""Data sets that are read once and kept in memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from supernets.data.image_loader import ImageReader, or_skip
from supernets.runtime.progress import hides_bars
from supernets.runtime.wording import plural

logger = logging.getLogger(__name__)

_CHUNK = 256  # images decoded per task of the thread pool


class MemoryPixels:
    """A data set held as one uint8 tensor.

    Args:
        images: Images (num_images, H, W, C) uint8, on the device.
    """

    def __init__(self, images: Tensor) -> None:
        self._images = images

    def batches(
        self, index_batches: Sequence[NDArray[np.int64]], epoch: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields the uint8 pixels (n, H, W, C) of each batch, and 0 to n - 1 as their positions."""
        for indices in index_batches:
            chosen = torch.from_numpy(indices).to(self._images.device)
            yield self._images.index_select(0, chosen), torch.arange(len(indices))


def read_all(
    reader: ImageReader, num_workers: int, skip_bad_images: bool
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Reads every image.

    Args:
        reader: The images.
        num_workers: Threads; 0 and 1 are the same.
        skip_bad_images: Report unreadable images, with one warning each, instead of raising.

    Returns:
        The pixels (num_images, H, W, C) and the indices of the unreadable images, left black.

    Raises:
        ValueError: If an image cannot be read and is not to be skipped.
    """
    pixels = np.zeros((len(reader), *reader.shape), np.uint8)

    def read_chunk(first: int) -> list[tuple[int, ValueError]]:
        problems = []
        for index in range(first, min(first + _CHUNK, len(reader))):
            try:
                pixels[index] = reader.read(index)
            except ValueError as error:
                if not skip_bad_images:
                    raise ValueError(or_skip(error)) from error
                problems.append((index, error))
        return problems

    chunks = range(0, len(reader), _CHUNK)
    bad = []
    executor = ThreadPoolExecutor(max(1, num_workers))
    try:
        read = executor.map(read_chunk, chunks)
        disable = True if hides_bars() else None
        for problems in tqdm(read, "Reading images", len(chunks), leave=False, disable=disable):
            for index, error in problems:
                logger.warning("Left out: %s", error)
                bad.append(index)
    finally:
        executor.shutdown(cancel_futures=True)
    if bad:
        unread = plural(len(bad), "unreadable image")
        logger.warning("Left out %s of %d.", unread, len(reader))
    return pixels, np.array(bad, np.int64)
