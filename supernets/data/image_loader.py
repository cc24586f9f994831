"""Minibatches of normalised images, augmented on the device a whole uint8 batch at a time."""

from __future__ import annotations

import copy
import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from supernets.data.pixel_scaling import Affine, PixelScaling, Standardised
from supernets.runtime.outputs import WorkError


class UnreadableImage(WorkError, ValueError):
    """An image that is read while the minibatches are made cannot be read; names the file."""


def or_skip(problem: object) -> str:
    """Adds to a reader's message on an unreadable image what to do about it."""
    return f"{problem} Repair or remove it, or train with --skip-bad-images."


class Loader(ABC):
    """Minibatches (x, y) of one split on one device.

    x is (N, C, H, W) float32 with channels_last strides, normalised; y is (N,) int64.
    """

    num_images: int
    batch_size: int  # of this process
    #: What may have made x of 8-bit pixels, on the device, the likeliest first; none if not known.
    scalings: tuple[PixelScaling, ...] = ()

    @abstractmethod
    def __len__(self) -> int:
        """The number of minibatches of an epoch."""

    @abstractmethod
    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterates over the minibatches of one epoch.

        Args:
            epoch: Selects the order and the augmentation. At least 0.
            start: Number of first minibatches to leave out.

        Returns:
            An iterator over (x, y).

        Raises:
            ValueError: If ``epoch`` or ``start`` is out of range.
        """

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The minibatches of epoch 0."""
        return self.epoch(0)

    def take(self, num_batches: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterates over the first minibatches of epochs 0, 1, 2 and so on, smaller ones included.

        Args:
            num_batches: Number of minibatches. At least 1; may exceed one epoch.

        Returns:
            An iterator over (x, y).

        Raises:
            ValueError: If ``num_batches`` is less than 1.
        """
        if num_batches < 1:
            raise ValueError(f"num_batches must be at least 1, got {num_batches}.")
        epochs = (self.epoch(epoch) for epoch in itertools.count())
        return itertools.islice(itertools.chain.from_iterable(epochs), num_batches)

    def _check_epoch(self, epoch: int, start: int) -> None:
        if epoch < 0:
            raise ValueError(f"epoch must be at least 0, got {epoch}.")
        if not 0 <= start <= len(self):
            raise ValueError(f"start must be from 0 to the {len(self)} minibatches, got {start}.")


class ImageReader(Protocol):
    """Random access to the images of a data set, all of one shape."""

    shape: tuple[int, int, int]  # (height, width, channels)

    def __len__(self) -> int:
        """The number of images."""

    def name(self, index: int) -> str:
        """Returns the name that identifies the image within its data set."""

    def read(self, index: int, epoch: int = 0) -> NDArray[Any]:
        """Reads the (H, W, C) pixels of one image; a ValueError names one that cannot be read.

        They are uint8 as stored, or float32 and normalised; ``epoch`` then selects the augmentation
        of readers that augment.
        """


class PixelSource(Protocol):
    """Gives the pixels of batches of image indices on the device."""

    def batches(
        self, index_batches: Sequence[NDArray[np.int64]], epoch: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields the pixels (n, H, W, C) of each batch, and their positions (n,) within it.

        The pixels are as an ``ImageReader`` gives them; n is 0 where none can be read.
        """


@dataclass(frozen=True)
class Augmentation:
    """Random crop of the zero-padded image and, if wanted, a horizontal flip of every second.

    Then, if wanted, a square of the normalised image is set to zero.
    """

    pad: int  # pixels on each side
    flip: bool
    cutout: int = 0  # side of the square in pixels


class ImageLoader(Loader):
    """Minibatches of a split with random access to its images, on the device of the labels.

    Unreadable images are missing from their minibatch. Of a minibatch without any other, nothing
    is given; if ``shuffle`` is set, so that all epochs have as many, one of fewer than two images
    is replaced by the next that has them.

    The order is drawn from (seed, epoch), the augmentation from (seed, epoch, batch) for the batch
    of all ranks together. So ``world_size`` ranks see together exactly the tensors that one process
    with ``world_size`` times the batch size sees, and an epoch can be entered at any batch.

    A last minibatch that would leave a process with one image, of which BatchNorm on maps of 1x1
    has no variance, joins the one before.

    Args:
        pixels: Source of the images.
        labels: Labels of all images of the source, (num_images,) int64, on the device.
        indices: The images of this split, as indices into ``pixels`` and ``labels``.
        batch_size: Images per minibatch and rank. At least 1.
        mean: Mean of each channel, of uint8 pixels scaled to 0..1; unused if ``pixels`` are
            normalised.
        std: Standard deviation of each channel, of uint8 pixels scaled to 0..1; likewise.
        augmentation: Augmentation of uint8 pixels, or None for the images as they are.
        shuffle: Whether every epoch has an order of its own; otherwise all have that of
            ``indices``.
        seed: Seed of the order and the augmentation. At least 0.
        rank: Rank of this process among the ``world_size`` that share each batch.
        world_size: The number of such processes. They get equally many minibatches: a smaller last
            batch is split evenly and, with fewer images than ranks, dropped. With less than two
            images for each rank it joins the batch before, which one process with as large batches
            does with one image alone.

    Raises:
        ValueError: If ``batch_size`` is less than 1, or there is not one image per rank.
    """

    def __init__(
        self,
        pixels: PixelSource,
        labels: Tensor,
        indices: NDArray[np.int64],
        batch_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        augmentation: Augmentation | None = None,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        _check_images(len(indices), world_size)
        self.num_images = len(indices)
        self.batch_size = batch_size
        self.source = pixels
        self._labels = labels
        self._indices = indices
        self._augmentation = augmentation
        self._shuffle = shuffle
        self._seed = seed
        self._rank = rank
        self._world_size = world_size
        self._scaling = Affine.of(mean, std, labels.device)
        #: Pixels that are read as floats were scaled by torchvision.
        self.scalings = self._scaling, Standardised.of(mean, std, labels.device)

    def label_counts(self) -> Tensor:
        """Counts the images of each class in the split, from class 0 to the last it holds."""
        return torch.bincount(self._labels[torch.from_numpy(self._indices).to(self._labels.device)])

    def __len__(self) -> int:
        """The number of minibatches of an epoch, the same on every rank."""
        full, rest = divmod(self.num_images, self.batch_size * self._world_size)
        return full + (rest >= self._world_size and not self.num_joining)

    @property
    def num_joining(self) -> int:
        """Images of all ranks that would be too small a last batch, and join the one before."""
        full, rest = divmod(self.num_images, self.batch_size * self._world_size)
        return rest if full and self._world_size <= rest < 2 * self._world_size else 0

    def over(self, indices: NDArray[np.int64]) -> ImageLoader:
        """Returns the same loader over other images of the source.

        Args:
            indices: The images of the new loader, as indices into the source.

        Raises:
            ValueError: If there is not one image per rank.
        """
        other = copy.copy(self)
        _check_images(len(indices), self._world_size)
        other._indices, other.num_images = indices, len(indices)
        return other

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterates over the minibatches of an epoch; ``start`` does not change those after it."""
        self._check_epoch(epoch, start)
        return self._minibatches(epoch, start)

    def _minibatches(self, epoch: int, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = self._order(epoch)
        numbers = range(start, len(self))
        index_batches = [order[slice(*self._bounds(number)[1:])] for number in numbers]
        for number, (pixels, kept) in zip(
            numbers, self.source.batches(index_batches, epoch), strict=True
        ):
            if self._is_enough(number, kept) or (len(kept) and not self._shuffle):
                yield self._minibatch(epoch, number, order, pixels, kept)
            elif self._shuffle:  # for training, where the steps of an epoch are counted
                yield self._next_readable(epoch, number, order)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if not self._shuffle:
            return self._indices
        rng = np.random.default_rng((self._seed, epoch))
        return self._indices[rng.permutation(len(self._indices))]

    def _minibatch(
        self, epoch: int, number: int, order: NDArray[np.int64], pixels: Tensor, kept: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A minibatch of an epoch out of the pixels at the positions ``kept`` (n,) of it."""
        device = self._labels.device
        within, first, last = self._bounds(number)
        if self._augmentation is None:
            x = self._normalise(pixels)
        else:
            height, width = pixels.shape[1:3]
            mine = kept + (first - within)
            drawn = self._draw(epoch, number, height, width)  # for all ranks
            top, left, flipped, *centre = (numbers[mine].to(device) for numbers in drawn)
            pad, side = self._augmentation.pad, self._augmentation.cutout
            x = self._normalise(crop_and_flip(pixels, top, left, flipped, pad))
            if side > 0:
                cut_out(x, *centre, side=side)
        indices = torch.from_numpy(order[first:last])[kept].to(device)  # (n,)
        return x, self._labels[indices]

    def _next_readable(
        self, epoch: int, number: int, order: NDArray[np.int64]
    ) -> tuple[Tensor, Tensor]:
        """The minibatch of this process after ``number`` that has an image which can be read."""
        for other in (*range(number + 1, len(self)), *range(number)):
            _, first, last = self._bounds(other)
            ((pixels, kept),) = self.source.batches([order[first:last]], epoch)
            if self._is_enough(other, kept):
                return self._minibatch(epoch, other, order, pixels, kept)
        raise UnreadableImage("Too few train images can be read for a minibatch; repair the files.")

    def _is_enough(self, number: int, kept: Tensor) -> bool:
        """Whether a minibatch lacks no image that BatchNorm needs: two, where it has as many."""
        _, first, last = self._bounds(number)
        return len(kept) >= min(2, last - first)

    def _bounds(self, batch: int) -> tuple[int, int, int]:
        """Positions in the epoch: start of all ranks' batch, start and end of this rank's part."""
        begin = batch * self.batch_size * self._world_size
        share, extra = divmod(self._size(batch), self._world_size)
        first = begin + self._rank * share + min(self._rank, extra)
        return begin, first, first + share + (self._rank < extra)

    def _size(self, batch: int) -> int:
        """Images of all ranks in a batch."""
        size = self.batch_size * self._world_size
        joining = self.num_joining if batch == len(self) - 1 else 0
        return min(size + joining, self.num_images - batch * size)

    def _draw(self, epoch: int, batch: int, height: int, width: int) -> tuple[Tensor, ...]:
        """Draws crop offsets (n,), (n,) and flips (n,) for the images of all ranks in a batch.

        With cutout also the row and the column (n,) of the square's centre.
        """
        assert self._augmentation is not None
        num_images = self._size(batch)
        (seed,) = np.random.SeedSequence((self._seed, epoch, batch)).generate_state(1)
        generator = torch.Generator().manual_seed(int(seed))  # on the CPU: the same on every device
        top, left = torch.randint(
            2 * self._augmentation.pad + 1, (2, num_images), generator=generator
        )
        flipped = torch.rand(num_images, generator=generator) < 0.5
        drawn = top, left, flipped & self._augmentation.flip
        if self._augmentation.cutout == 0:
            return drawn
        row = torch.randint(height, (num_images,), generator=generator)
        column = torch.randint(width, (num_images,), generator=generator)
        return *drawn, row, column

    def _normalise(self, pixels: Tensor) -> Tensor:
        """Normalises (N, H, W, C) to (N, C, H, W) float32."""
        if pixels.dtype == torch.float32:
            return pixels.permute(0, 3, 1, 2)
        return self._scaling(pixels).permute(0, 3, 1, 2)


def _check_images(num_images: int, world_size: int) -> None:
    if num_images < world_size:
        raise ValueError(
            f"{num_images} images cannot feed {world_size} processes; use fewer processes."
        )


def crop_and_flip(images: Tensor, top: Tensor, left: Tensor, flipped: Tensor, pad: int) -> Tensor:
    """Crops each image out of its zero-padded self at its own offset, then flips some.

    Args:
        images: Images (N, H, W, C) uint8.
        top: First row of the crop in the padded image, (N,) int64 in 0..2 * pad.
        left: First column of the crop, likewise.
        flipped: Which images are flipped, (N,) bool.
        pad: Pixels of black added on each side.

    Returns:
        (N, H, W, C) uint8.
    """
    num_images, height, width, channels = images.shape
    padded = F.pad(images, (0, 0, pad, pad, pad, pad))  # (N, H + 2 pad, W + 2 pad, C)
    padded_height, padded_width = padded.shape[1:3]
    down = torch.arange(height, device=images.device)
    across = torch.arange(width, device=images.device)
    number = torch.arange(num_images, device=images.device)
    rows = number[:, None] * padded_height + top[:, None] + down  # (N, H), over all images
    columns = left[:, None] + torch.where(flipped[:, None], width - 1 - across, across)  # (N, W)
    flat = rows[:, :, None] * padded_width + columns[:, None, :]  # (N, H, W)
    # One gather of whole pixels: several times faster than indexing with three tensors.
    return padded.view(-1, channels).index_select(0, flat.view(-1)).view(images.shape)


def cut_out(x: Tensor, row: Tensor, column: Tensor, *, side: int) -> None:
    """Sets a square in each image to zero, in place; at the border it is clipped.

    Paper: Improved Regularization of Convolutional Neural Networks with Cutout,
    https://arxiv.org/abs/1708.04552

    Args:
        x: Normalised images (N, C, H, W).
        row: Row of the centre, (N,) int64 in 0..H - 1; for an even side the first row of the second
            half.
        column: Column of the centre, (N,) int64 in 0..W - 1, likewise.
        side: Side of the square in pixels.
    """

    def is_inside(centre: Tensor, length: int) -> Tensor:
        distance = torch.arange(length, device=x.device) - (centre[:, None] - side // 2)
        return (distance >= 0) & (distance < side)  # (N, length)

    rows, columns = is_inside(row, x.shape[2]), is_inside(column, x.shape[3])
    x.masked_fill_((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)
