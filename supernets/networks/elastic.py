"""Elastic building blocks: one set of weights for several kernel sizes and widths.

Paper: Once for All: Train One Network and Specialize it for Efficient Deployment,
https://arxiv.org/abs/1908.09791

A narrower layer uses the first channels of the shared weights. A smaller depthwise kernel is the
centre of the next larger one, passed through a learned matrix that all channels of a block share.

Attributes are named as in timm's blocks, so that weights of both have the same names.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from timm.layers import drop_path as drop_images
from timm.layers import make_divisible
from torch import Tensor, nn

from supernets.kernels.batchnorm import Activation
from supernets.networks.batchnorm import BatchNorm2d
from supernets.runtime.device import autocast

#: Kernel sizes from largest to smallest; each but the first is made from the one before.
KERNEL_SIZES = (7, 5, 3)


def expanded_width(in_channels: int, expand: int) -> int:
    """Returns the number of channels between the expansion and the projection of a block."""
    width: int = make_divisible(in_channels * expand, 8)
    return width


def squeezed_width(channels: int) -> int:
    """Returns the number of channels in the bottleneck of squeeze-and-excitation."""
    width: int = make_divisible(channels // 4, 8)
    return width


def first_channels(weight: Tensor, out_channels: int, in_channels: int) -> Tensor:
    """Returns the first output and input channels of a convolution's weight."""
    if weight.shape[:2] == (out_channels, in_channels):
        return weight
    return weight[:out_channels, :in_channels]


class ElasticSqueezeExcite(nn.Module):
    """Squeeze-and-excitation of the first channels; its bottleneck is as narrow as they ask for."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, squeezed_width(channels), 1)
        self.conv_expand = nn.Conv2d(squeezed_width(channels), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to the same shape, with C up to the channels held."""
        channels = x.shape[1]
        squeezed = squeezed_width(channels)
        gate = x.mean((2, 3), keepdim=True)  # (N, C, 1, 1)
        for conv, out_channels, in_channels, act in (
            (self.conv_reduce, squeezed, channels, F.relu),
            (self.conv_expand, channels, squeezed, F.hardsigmoid),
        ):
            assert conv.bias is not None
            weight = first_channels(conv.weight, out_channels, in_channels)
            gate = act(F.conv2d(gate, weight, conv.bias[:out_channels]))
        return x * gate


class ElasticMBConv(nn.Module):
    """Inverted residual block of elastic kernel size and expansion ratio.

    Args:
        in_channels: Width of the input.
        channels: Width of the output.
        stride: Stride of the depthwise convolution.
        act: Activation after the expansion and the depthwise convolution.
        has_se: Whether squeeze-and-excitation follows the depthwise convolution.
        max_expand: Largest expansion ratio, whose weights are held.
        kernel_transform: Whether smaller kernels are transformed centres of larger ones, as in the
            paper, or just their centres.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        *,
        act: Activation,
        has_se: bool,
        max_expand: int,
        kernel_transform: bool,
    ) -> None:
        super().__init__()
        width = expanded_width(in_channels, max_expand)
        size = KERNEL_SIZES[0]
        self.conv_pw = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.conv_dw = nn.Conv2d(width, width, size, stride, size // 2, groups=width, bias=False)
        self.bn2 = BatchNorm2d(width)
        self.se = ElasticSqueezeExcite(width) if has_se else None
        self.conv_pwl = nn.Conv2d(width, channels, 1, bias=False)
        self.bn3 = BatchNorm2d(channels)
        # one square matrix per smaller kernel size, over row-major kernel positions
        self.kernel_transforms = nn.ParameterDict(
            {str(smaller): torch.eye(smaller**2) for smaller in KERNEL_SIZES[1:]}
            if kernel_transform
            else {}
        )
        self.act = act
        self.has_skip = stride == 1 and in_channels == channels

    def depthwise_weight(self, kernel: int, channels: int) -> Tensor:
        """Returns the kernel of the first channels, shape (channels, 1, kernel, kernel)."""
        weight = first_channels(self.conv_dw.weight, channels, 1)
        for size in KERNEL_SIZES[1:]:
            if weight.shape[-1] == kernel:
                break
            weight = weight[:, :, 1:-1, 1:-1]
            if str(size) in self.kernel_transforms:
                transform = self.kernel_transforms[str(size)]
                with autocast(weight.device, False):
                    weight = F.linear(weight.reshape(channels, size**2), transform)
                weight = weight.reshape(channels, 1, size, size)
        return weight

    def forward(self, x: Tensor, kernel: int, expand: int, drop_path: float = 0.0) -> Tensor:
        """Maps (N, in_channels, H, W) to (N, channels, ceil(H / stride), ceil(W / stride))."""
        in_channels = x.shape[1]
        width = expanded_width(in_channels, expand)
        out = F.conv2d(x, first_channels(self.conv_pw.weight, width, in_channels))
        out = self.bn1(out, activation=self.act)
        weight = self.depthwise_weight(kernel, width)
        out = F.conv2d(out, weight, None, self.conv_dw.stride, kernel // 2, groups=width)
        out = self.bn2(out, activation=self.act)
        if self.se is not None:
            out = self.se(out)
        out = F.conv2d(out, first_channels(self.conv_pwl.weight, len(self.conv_pwl.weight), width))
        out = self.bn3(out)
        if self.has_skip:
            out = drop_images(out, drop_path, self.training) + x
        return cast(Tensor, out)
