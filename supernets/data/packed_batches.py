"""Minibatches that are kept as 8-bit pixels, a quarter of their floats, and come back bit by bit.

Images are 8-bit until the last step of their loader, ``PixelScaling``: crops, flips, colours and
resizing come before. What comes after is kept as it is, pixel by pixel: the squares of Cutout and
the rectangles of random erasing, which are zeros, a colour or noise of normalised images. Images
that no 8-bit pixels give are kept as floats, such as those of ``DataLoader``s of one's own. Mixup
and CutMix are not of loaders, but of training steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import overload

import torch
from torch import Tensor

from supernets.data.image_loader import Loader
from supernets.data.own_minibatches import Minibatch, checked_minibatches
from supernets.data.pixel_scaling import PixelScaling


@dataclass(frozen=True)
class PackedImages:
    """Images of which unpacking gives the very bits that were packed.

    Args:
        pixels: Levels (N, H, W, C) uint8.
        scaling: What makes floats of them.
        stride: Strides of the images (N, C, H, W).
        places: Numbers of the pixels that no level gives, of all N * H * W in their order, (n,)
            int32.
        values: Their values (n, C) float32, or (1, C) where all are the same.
    """

    pixels: Tensor
    scaling: PixelScaling
    stride: tuple[int, ...]
    places: Tensor
    values: Tensor

    @property
    def num_bytes(self) -> int:
        """Bytes of the tensors that each image needs."""
        return sum(each.nbytes for each in (self.pixels, self.places, self.values))

    def to(self, device: torch.device | str) -> PackedImages | Tensor:
        """Returns the images on a device; as floats, if its arithmetic gives others there."""
        if torch.device(device) == self.pixels.device:
            return self
        moved = replace(
            self,
            pixels=self.pixels.to(device),
            scaling=self.scaling.to(device),
            places=self.places.to(device),
            values=self.values.to(device),
        )
        x = self.unpack().to(device)
        return moved if bool((moved.unpack().view(torch.int32) == x.view(torch.int32)).all()) else x

    def unpack(self) -> Tensor:
        """Returns the images (N, C, H, W) float32."""
        scaled = self.scaling(self.pixels)  # (N, H, W, C)
        if len(self.places):
            values = self.values.expand(len(self.places), -1)
            scaled.view(-1, scaled.shape[3]).index_copy_(0, self.places.long(), values)
        x = scaled.permute(0, 3, 1, 2)
        if x.stride() != self.stride:
            x = torch.empty_strided(x.shape, self.stride, device=x.device).copy_(x)
        return x


def pack(x: Tensor, scalings: Sequence[PixelScaling]) -> PackedImages | None:
    """Packs images by what takes least, or returns None where nothing saves half of the bytes.

    Args:
        x: Images (N, C, H, W).
        scalings: What may have made them of 8-bit pixels, on their device.
    """
    if not scalings or x.dim() != 4:
        return None
    is_dense = x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)
    if x.dtype != torch.float32 or x.numel() >= 2**31 or not x.numel() or not is_dense:
        return None
    given = x.detach().permute(0, 2, 3, 1).contiguous()  # (N, H, W, C)
    least: PackedImages | None = None
    for scaling in scalings:
        packed = _pack(given, scaling, x.stride())
        if packed is None:
            continue
        if least is None or packed.num_bytes < least.num_bytes:
            least = packed
        if not len(packed.places):
            break
    return least


def _pack(given: Tensor, scaling: PixelScaling, stride: tuple[int, ...]) -> PackedImages | None:
    """Packs images (N, H, W, C) that came with other strides."""
    levels = scaling.nearest_levels(given)
    bits = given.view(torch.int32)  # which tell -0 from 0, and know nan
    wrong = (scaling(levels).view(torch.int32) != bits).view(-1, given.shape[3]).any(1)
    if int(wrong.sum()) > len(wrong) // 2:
        return None
    places = wrong.nonzero().flatten()  # (n,)
    values = given.view(-1, given.shape[3])[places]  # (n, C)
    if len(values) and (values.view(torch.int32) == values[:1].view(torch.int32)).all():
        values = values[:1].clone()
    packed = PackedImages(levels, scaling, stride, places.int(), values)
    return packed if packed.num_bytes < given.nbytes // 2 else None


class PackedBatches(Sequence[Minibatch]):
    """Minibatches ``(x, y)``, packed where that can be; each is unpacked anew when it is asked for.

    x is (N, C, H, W) float32 with the strides, and y (N,) int64, as they were given.

    Args:
        batches: The minibatches, all of which are taken now, one after another.
        scalings: What may have made them of 8-bit pixels, on their device, see ``scalings_of``.

    Example:
        >>> from supernets import DataConfig, create_loaders
        >>> train = create_loaders(DataConfig("digits", image_size=16)).train
        >>> packed = PackedBatches(train.take(3), train.scalings)
        >>> len(packed), packed.num_bytes, sum(x.nbytes + y.nbytes for x, y in packed)
        (3, 50688, 198144)
    """

    def __init__(
        self, batches: Iterable[Minibatch] = (), scalings: Sequence[PixelScaling] = ()
    ) -> None:
        self.scalings = tuple(scalings)
        self._held: list[tuple[PackedImages | Tensor, Tensor]] = []
        self.extend(batches)

    def extend(self, batches: Iterable[Minibatch]) -> None:
        """Packs further minibatches of the same source."""
        for x, y in batches:
            packed = pack(x, self.scalings)
            if packed is not None:  # the scaling is tried first from then on
                others = (each for each in self.scalings if each is not packed.scaling)
                self.scalings = packed.scaling, *others
            self._held.append((x if packed is None else packed, y))

    def to(self, device: torch.device | str) -> PackedBatches:
        """Returns the minibatches on a device; they share what is there already."""
        return self._of(
            [(images.to(device), y.to(device)) for images, y in self._held],
            [each.to(device) for each in self.scalings],
        )

    @property
    def sizes(self) -> list[int]:
        """The number of images of each minibatch."""
        return [len(y) for _, y in self._held]

    @property
    def num_bytes(self) -> int:
        """Bytes of all images and labels."""
        images = (x.nbytes if isinstance(x, Tensor) else x.num_bytes for x, _ in self._held)
        return sum(images) + sum(y.nbytes for _, y in self._held)

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Minibatch]:
        return map(_unpacked, self._held)

    @overload
    def __getitem__(self, index: int) -> Minibatch: ...
    @overload
    def __getitem__(self, index: slice) -> PackedBatches: ...
    def __getitem__(self, index: int | slice) -> Minibatch | PackedBatches:
        if isinstance(index, slice):
            return self._of(self._held[index], self.scalings)
        return _unpacked(self._held[index])

    @staticmethod
    def _of(
        held: list[tuple[PackedImages | Tensor, Tensor]], scalings: Sequence[PixelScaling]
    ) -> PackedBatches:
        batches = PackedBatches(scalings=scalings)
        batches._held = held
        return batches


def _unpacked(held: tuple[PackedImages | Tensor, Tensor]) -> Minibatch:
    images, y = held
    return images if isinstance(images, Tensor) else images.unpack(), y


def scalings_of(batches: Iterable[Minibatch]) -> tuple[PixelScaling, ...]:
    """Returns what may have made minibatches of 8-bit pixels; nothing where that is not known."""
    return batches.scalings if isinstance(batches, Loader | PackedBatches) else ()


def kept(
    batches: Iterable[Minibatch],
    num_batches: int | None = None,
    device: torch.device | str | None = None,
    what: str = "the minibatches",
) -> PackedBatches:
    """Returns the first minibatches, to be kept.

    Args:
        batches: The minibatches. Packed ones stay so, and those of a loader are packed; others
            stay the numbers they are, as float32.
        num_batches: How many of them, or fewer if there are no more; None for all.
        device: Where they are kept; None for where they are.
        what: What they are called in messages.

    Raises:
        OwnCodeError: As ``checked_minibatch``.
    """
    if not isinstance(batches, PackedBatches):
        drawn = checked_minibatches(islice(batches, num_batches), what)
        batches = PackedBatches(drawn, scalings_of(batches))
    first = batches[:num_batches]
    return first if device is None else first.to(device)


def sizes_of(batches: Sequence[Minibatch]) -> list[int]:
    """Returns the number of images of each minibatch."""
    return batches.sizes if isinstance(batches, PackedBatches) else [len(y) for _, y in batches]
