"""What becomes of 8-bit pixels before a network sees them: the last step of a loader."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class PixelScaling(ABC):
    """A function of 8-bit pixels, channel by channel, with the bits that its loader gives.

    Each value follows from its level, 0 to 255, and its channel alone.
    """

    @abstractmethod
    def to(self, device: torch.device | str) -> PixelScaling:
        """Returns the same function on a device."""

    @abstractmethod
    def _apply(self, x: Tensor, num_pixels: int) -> None:
        """Scales levels (N, H * W * C) float32 in place.

        What is of channels is tiled to whole images: broadcasting over three channels is not
        vectorised on a CPU.
        """

    def __call__(self, pixels: Tensor) -> Tensor:
        """Scales pixels (N, H, W, C) uint8 to float32, shape (N, H, W, C)."""
        x: Tensor = pixels.float().contiguous()
        self._apply(x.flatten(1), pixels.shape[1] * pixels.shape[2])
        return x

    def nearest_levels(self, x: Tensor) -> Tensor:
        """Returns the levels (N, H, W, C) uint8 whose values are nearest to those of ``x``.

        Args:
            x: Values (N, H, W, C) float32.
        """
        channels, num_pixels = x.shape[3], x.shape[1] * x.shape[2]
        ends = torch.tensor([0, 255], dtype=torch.uint8, device=x.device)
        black, white = self(ends.view(2, 1, 1, 1).expand(2, 1, 1, channels)).view(2, channels)
        rate = 255 / (white - black)
        levels: Tensor = x.flatten(1) - black.repeat(num_pixels)
        levels.mul_(rate.repeat(num_pixels)).nan_to_num_(0.0).round_().clamp_(0, 255)
        return levels.to(torch.uint8).view(x.shape)


@dataclass(frozen=True)
class Affine(PixelScaling):
    """``shift + x * scale``, which is ``(x / 255 - mean) / std`` of levels x in one operation.

    Args:
        scale: Factor of each channel, (C,) float32.
        shift: Sum of each channel, (C,) float32.
    """

    scale: Tensor
    shift: Tensor

    @classmethod
    def of(cls, mean: Sequence[float], std: Sequence[float], device: torch.device) -> Affine:
        """Builds it from mean and deviation of each channel, of pixels scaled to 0..1."""
        scale = torch.tensor([1 / (255 * s) for s in std], device=device)
        shift = [-m / s for m, s in zip(mean, std, strict=True)]
        return cls(scale, torch.tensor(shift, device=device))

    def to(self, device: torch.device | str) -> Affine:
        """Returns the same function on a device."""
        return Affine(self.scale.to(device), self.shift.to(device))

    def _apply(self, x: Tensor, num_pixels: int) -> None:
        scale, shift = self.scale.repeat(num_pixels), self.shift.repeat(num_pixels)
        torch.addcmul(shift, x, scale, out=x)


@dataclass(frozen=True)
class Standardised(PixelScaling):
    """``(x / divisor - mean) / std`` in these steps, as torchvision and timm compute it.

    Args:
        mean: Mean of each channel, (C,) float32.
        std: Standard deviation of each channel, (C,) float32.
        divisor: Of levels, as a tensor of one; None to leave them as they are.
    """

    mean: Tensor
    std: Tensor
    divisor: Tensor | None

    @classmethod
    def of(cls, mean: Sequence[float], std: Sequence[float], device: torch.device) -> Standardised:
        """Builds torchvision's, ``ToTensor`` and ``Normalize``, of pixels scaled to 0..1."""
        means, stds = (torch.tensor(each, device=device) for each in (mean, std))
        # a tensor: by a number, GPUs multiply with its inverse
        return cls(means, stds, torch.full((1,), 255.0, device=device))

    @classmethod
    def of_levels(
        cls, mean: Sequence[float], std: Sequence[float], device: torch.device
    ) -> Standardised:
        """Builds that of timm's loaders, by mean and deviation of levels, of the same arguments."""
        means, stds = (torch.tensor([255 * x for x in each], device=device) for each in (mean, std))
        return cls(means, stds, divisor=None)

    def to(self, device: torch.device | str) -> Standardised:
        """Returns the same function on a device."""
        divisor = None if self.divisor is None else self.divisor.to(device)
        return replace(self, mean=self.mean.to(device), std=self.std.to(device), divisor=divisor)

    def _apply(self, x: Tensor, num_pixels: int) -> None:
        if self.divisor is not None:
            x.div_(self.divisor)
        x.sub_(self.mean.repeat(num_pixels)).div_(self.std.repeat(num_pixels))
