"""The elastic bottleneck of ResNet-50D: one set of weights for several widths in, inside and out.

Paper: Once for All: Train One Network and Specialize it for Efficient Deployment,
https://arxiv.org/abs/1908.09791

A narrower layer uses the first channels of the shared weights. Attributes are named as in timm's
``Bottleneck``, so that weights of both have the same names.
"""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from timm.layers import drop_path as drop_images
from torch import Tensor, nn

from supernets.networks.batchnorm import BatchNorm2d
from supernets.networks.elastic import first_channels
from supernets.networks.resnet50d_subnet import average_pool


def narrow_conv(conv: nn.Conv2d, x: Tensor, channels: int) -> Tensor:
    """Convolves all channels of ``x`` to the first ``channels`` of ``conv``, which has no bias."""
    weight = first_channels(conv.weight, channels, x.shape[1])
    return F.conv2d(x, weight, None, conv.stride, conv.padding)


class ElasticBottleneck(nn.Module):
    """Bottleneck of elastic width inside, and as wide in and out as the path is.

    Args:
        in_channels: Largest width of the input.
        mid_channels: Largest width inside.
        channels: Largest width of the output.
        stride: Stride of the 3x3 convolution.
        has_downsample: Whether the skip has a convolution, after an average pool where the stride
            is not 1.
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        channels: int,
        stride: int,
        *,
        has_downsample: bool,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, mid_channels, 1, bias=False)
        self.bn1 = BatchNorm2d(mid_channels)
        self.conv2 = nn.Conv2d(mid_channels, mid_channels, 3, stride, 1, bias=False)
        self.bn2 = BatchNorm2d(mid_channels)
        self.conv3 = nn.Conv2d(mid_channels, channels, 1, bias=False)
        self.bn3 = BatchNorm2d(channels)
        self.downsample: nn.Sequential | None = None
        if has_downsample:
            self.downsample = nn.Sequential(
                nn.Identity() if stride == 1 else average_pool(stride),
                nn.Conv2d(in_channels, channels, 1, bias=False),
                BatchNorm2d(channels),
            )

    def forward(
        self, x: Tensor, mid_channels: int, channels: int, drop_path: float = 0.0
    ) -> Tensor:
        """Maps (N, C, H, W) to (N, channels, ceil(H / stride), ceil(W / stride)).

        Args:
            x: Images of as many channels as the path has here.
            mid_channels: Width inside.
            channels: Width of the output.
            drop_path: Rate at which all but the skip is dropped per image, in train mode.
        """
        out = self.bn1(narrow_conv(self.conv1, x, mid_channels), activation=F.relu)
        out = self.bn2(narrow_conv(self.conv2, out, mid_channels), activation=F.relu)
        out = self.bn3(narrow_conv(self.conv3, out, channels))
        out = drop_images(out, drop_path, self.training)
        if self.downsample is not None:
            pool, conv, norm = self.downsample
            x = norm(narrow_conv(cast(nn.Conv2d, conv), pool(x), channels))
        out += x
        return F.relu(out, inplace=True)
