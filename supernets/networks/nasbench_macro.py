"""NAS-Bench-Macro as a supernet: one path through eight layers of three blocks each.

Papers: Prioritized Architecture Sampling with Monte-Carlo Tree Search (the benchmark),
https://arxiv.org/abs/2103.11922; Single Path One-Shot Neural Architecture Search with Uniform
Sampling, https://arxiv.org/abs/1904.00420; MobileNetV2 (the blocks),
https://arxiv.org/abs/1801.04381

With 32 channels and images of 32 pixels, subnets have the parameters and multiply-accumulates of
all 6,561 rows of the benchmark: a 3x3 convolution of stride 1 to 32 channels; three stages, whose
first layers halve the sides and double the channels; a 1x1 convolution to 1,280 channels, the mean
over the map, a linear classifier. Blocks that are no identity expand the channels that come in,
with BatchNorm and ReLU as MobileNetV2 has ReLU6; where a layer keeps the shape there is a shortcut.
An identity of a first layer is a 1x1 convolution of stride 2 with BatchNorm.

Differs from the benchmark:

1. The width and the side of images can be chosen.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from supernets.kernels.batchnorm import Activation
from supernets.networks.batchnorm import BatchNorm2d, normalised
from supernets.networks.marked_supernet import MarkedSupernet
from supernets.networks.marks import Choice
from supernets.networks.ops import PointwiseConv2d
from supernets.networks.settings import NASBenchMacroSettings
from supernets.spaces.nasbench_macro import BLOCKS, STAGES, NASBenchMacroSpace

#: Channels before the classifier.
FEATURES = 1280


class NASBenchMacroSupernet(MarkedSupernet):
    """All networks of NAS-Bench-Macro in one; every block of every layer has weights of its own.

    Args:
        num_classes: Number of logits.
        stem_channels: Channels of the stem, which each stage doubles; 32 in the benchmark.
        input_size: Images as (channels, height, width).

    Raises:
        ValueError: If the network does not map such images to logits.

    Example:
        >>> import torch
        >>> supernet = NASBenchMacroSupernet(num_classes=10, stem_channels=4).eval()
        >>> arch = supernet.space.parse("22212220")
        >>> images = torch.rand(2, 3, 32, 32)
        >>> torch.equal(supernet(images, arch), supernet.extract(arch)(images))
        True
    """

    def __init__(
        self,
        *,
        num_classes: int,
        stem_channels: int = NASBenchMacroSettings.stem_channels,
        input_size: tuple[int, int, int] = (3, 32, 32),
    ) -> None:
        super().__init__(
            NASBenchMacroSpace.name,
            _network,
            num_classes=num_classes,
            input_size=input_size,
            stem_channels=stem_channels,
        )
        self.space = NASBenchMacroSpace()  # the decisions of the marks, written in digits


class InvertedResidual(nn.Module):
    """Expands channels, convolves each of them, and projects them.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        stride: Of the depthwise convolution.
        expansion: How many times as many channels are convolved.
        kernel: Side of the depthwise convolution, odd.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, expansion: int, kernel: int
    ) -> None:
        super().__init__()
        inner = expansion * in_channels
        self.expand = _ConvBN(in_channels, inner, activation=F.relu)
        self.depthwise = _ConvBN(
            inner, inner, kernel=kernel, stride=stride, groups=inner, activation=F.relu
        )
        self.project = _ConvBN(inner, out_channels)
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, C', H', W')."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.has_shortcut else y


def _network(num_classes: int, input_size: tuple[int, int, int], stem_channels: int) -> nn.Module:
    layers: list[nn.Module] = []
    width = stem_channels
    for num_layers in STAGES:
        for i in range(num_layers):
            in_channels, stride = width, 1
            if i == 0:
                width, stride = 2 * width, 2
            blocks = _blocks(in_channels, width, stride)
            layers.append(Choice(dict(zip(BLOCKS, blocks, strict=True)), f"layer.{len(layers)}"))
    return nn.Sequential(
        nn.Sequential(_ConvBN(input_size[0], stem_channels, kernel=3, activation=F.relu)),
        nn.Sequential(*layers),
        nn.Sequential(_ConvBN(width, FEATURES, activation=F.relu), nn.AdaptiveAvgPool2d(1)),
        nn.Flatten(),
        nn.Linear(FEATURES, num_classes),
    )


def _blocks(in_channels: int, out_channels: int, stride: int) -> list[nn.Module]:
    """The blocks of a layer, in the order of ``BLOCKS``."""
    is_same = stride == 1 and in_channels == out_channels
    return [
        nn.Identity() if is_same else _ConvBN(in_channels, out_channels, stride=stride),
        InvertedResidual(in_channels, out_channels, stride=stride, expansion=3, kernel=3),
        InvertedResidual(in_channels, out_channels, stride=stride, expansion=6, kernel=5),
    ]


class _ConvBN(nn.Sequential):
    """A convolution, BatchNorm, and an activation in the same pass."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        activation: Activation | None = None,
    ) -> None:
        conv: nn.Module
        if kernel == 1:
            conv = PointwiseConv2d(in_channels, out_channels, stride)
        else:
            conv = nn.Conv2d(
                in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False
            )
        super().__init__(conv, BatchNorm2d(out_channels))
        self._activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, C', H', W')."""
        return normalised(self[1], self[0](x), self._activation)
