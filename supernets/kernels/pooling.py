"""Average pools, of our own kernel where the kernels are on."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernets.kernels.library import take


def average_pool(x: Tensor, size: int, stride: int, padding: int) -> Tensor:
    """Computes ``F.avg_pool2d`` without what is padded.

    Where no gradients are taken it is PyTorch's, so that a network is measured in its training as
    it is afterwards.

    Args:
        x: Maps (N, C, H, W).
        size: Side of a window, at most that of the padded maps.
        stride: Pixels between two windows.
        padding: Pixels added on every side, at most half of ``size``; they do not count.

    Returns:
        Maps (N, C, (H + 2 padding - size) // stride + 1, likewise).
    """
    if not (take(x) and torch.is_grad_enabled()):
        return F.avg_pool2d(x, size, stride, padding, count_include_pad=False)
    return cast(Tensor, torch.ops.paceline.average_pool(x, size, stride, padding))


class AveragePool2d(nn.AvgPool2d):
    """``nn.AvgPool2d`` without what is padded, by ``average_pool``.

    Args:
        size: Side of a window.
        stride: Pixels between two windows.
        padding: Pixels added on every side.
    """

    def __init__(self, size: int, stride: int, padding: int) -> None:
        super().__init__(size, stride, padding, count_include_pad=False)
        self._window = size, stride, padding

    def forward(self, input: Tensor) -> Tensor:
        """Pools maps (N, C, H, W)."""
        return average_pool(input, *self._window)
