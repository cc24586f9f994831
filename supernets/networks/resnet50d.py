"""Elastic ResNet-50D as a supernet, with the weights and widths of OFA's released network.

Papers: Once for All: Train One Network and Specialize it for Efficient Deployment,
https://arxiv.org/abs/1908.09791; Bag of Tricks for Image Classification with Convolutional Neural
Networks, https://arxiv.org/abs/1812.01187

Subnets are timm's own ``ResNet``. Differs from the authors' code:

1. The last BatchNorm of a bottleneck of the supernet multiplies by 0.1 at first, where the authors
   have 0, so that untrained subnets can be told apart.
2. ``width`` multiplies all widths after they were rounded, so that it changes no other choice.
3. ``strides`` of the stem and the pool may be 1, for small images; a pool of stride 1 is left out.
4. The image's size is no decision.
5. Drop path grows linearly over the bottlenecks, as in timm.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from supernets.networks.base import Supernet
from supernets.networks.batchnorm import BatchNorm2d
from supernets.networks.block_stages import RESIDUAL_WEIGHT
from supernets.networks.elastic_resnet import ElasticBottleneck, narrow_conv
from supernets.networks.inherited_parts import NoInit, inherit_parts
from supernets.networks.resnet50d_subnet import (
    STAGE_STRIDES,
    STRIDES,
    WIDTH_STEP,
    StemLayer,
    deep_stem,
    resnet50d_subnet,
    scaled_channels,
    start_convolutions,
)
from supernets.spaces import Architecture, ResNet50DSpace
from supernets.spaces.resnet50d import MAX_DEPTHS, NUM_STAGES, PLACE_OF, STAGE_OF


class ResNet50DSupernet(Supernet):
    """All architectures of elastic ResNet-50D in one network.

    Args:
        num_classes: Number of logits. At least 2.
        width: Multiplier on all widths, a multiple of one eighth; OFA released 1.0.
        input_size: Images as (channels, height, width).
        strides: Strides of the stem and of the pool after it, each 1 or 2; (1, 1) suits 32 pixels.

    Raises:
        ValueError: If a number is out of range, or the network reduces an image to less than one
            pixel.

    Example:
        >>> supernet = ResNet50DSupernet(num_classes=10, width=0.125, input_size=(3, 32, 32)).eval()
        >>> smallest, largest = supernet.space.extremes()
        >>> images = torch.rand(2, 3, 32, 32)
        >>> subnet = supernet.extract(smallest)
        >>> type(subnet).__name__, torch.equal(supernet(images, smallest), subnet(images))
        ('ResNet', True)
    """

    has_drop_path = True
    needs_recalibration = True
    space: ResNet50DSpace

    def __init__(
        self,
        *,
        num_classes: int,
        width: float = 1.0,
        input_size: tuple[int, int, int] = (3, 224, 224),
        strides: Sequence[int] = STRIDES,
    ) -> None:
        super().__init__()
        self.space = ResNet50DSpace()
        self.num_classes = num_classes
        self.input_size = (input_size[0], input_size[1], input_size[2])
        self.settings: dict[str, Any] = {
            "num_classes": num_classes,
            "width": width,
            "input_size": self.input_size,
            "strides": tuple(strides),
        }
        _check(self.settings)
        widths = scaled_channels(width)
        self._widths = widths
        stem = widths.stem[-1]
        self.conv1 = deep_stem(
            input_size[0],
            widths.inner[-1],
            stem,
            stride=strides[0],
            has_layer=True,
            norm=BatchNorm2d,
        )
        self.bn1 = BatchNorm2d(stem)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if strides[1] == 2 else nn.Identity()
        in_channels = stem
        for stage in range(NUM_STAGES):
            channels, mid = widths.stages[stage][-1], widths.mids[stage][-1][-1]
            blocks = nn.ModuleList()
            for place in range(MAX_DEPTHS[stage]):
                stride = STAGE_STRIDES[stage] if place == 0 else 1
                block = ElasticBottleneck(
                    in_channels, mid, channels, stride, has_downsample=place == 0
                )
                blocks.append(block)
                in_channels = channels
            self.add_module(f"layer{stage + 1}", blocks)
        self.fc = nn.Linear(in_channels, num_classes)
        start_convolutions(self)
        for module in self.modules():
            if isinstance(module, ElasticBottleneck):
                nn.init.constant_(module.bn3.weight, RESIDUAL_WEIGHT)

    def forward(
        self, x: Tensor, arch: Architecture, *, dropout: float = 0.0, drop_path: float = 0.0
    ) -> Tensor:
        """Maps images (N, C, H, W) to logits (N, num_classes) along the path of ``arch``."""
        self.space.validate(arch)
        x = self.maxpool(self.bn1(self._stem(x, arch), activation=F.relu))
        stages = self.space.stages(arch)
        last = sum(len(expands) for _, expands in stages) - 1  # as timm counts
        position = 0
        for stage, (width, expands) in enumerate(stages):
            channels, mids = self._widths.stages[stage][width], self._widths.mids[stage][width]
            blocks = cast(Sequence[nn.Module], getattr(self, f"layer{stage + 1}"))
            for block, expand in zip(blocks, expands, strict=False):  # depth
                x = block(x, mids[expand], channels, drop_path * position / last)
                position += 1
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        if dropout > 0:
            x = F.dropout(x, dropout, self.training)
        return F.linear(x, self.fc.weight[:, : x.shape[1]], self.fc.bias)

    def _stem(self, x: Tensor, arch: Architecture) -> Tensor:
        """Maps images to what the stem's last convolution gives."""
        inner, stem = self.space.stem_choices(arch)
        conv1, bn1, _, layer, conv2 = self.conv1
        x = narrow_conv(cast(nn.Conv2d, conv1), x, self._widths.inner[inner])
        x = bn1(x, activation=F.relu)
        if self.space.has_stem_layer(arch):
            layer = cast(StemLayer, layer)
            x = x + layer.bn(narrow_conv(layer.conv, x, x.shape[1]), activation=F.relu)
        return narrow_conv(cast(nn.Conv2d, conv2), x, self._widths.stem[stem])

    def build_subnet(self, arch: Architecture) -> nn.Module:
        """Builds timm's ``ResNet`` for ``arch`` with fresh weights: ``resnet50d_subnet``."""
        subnet: nn.Module = resnet50d_subnet(arch, **self.settings)
        return subnet

    def extract(self, arch: Architecture) -> nn.Module:
        """Extracts timm's ``ResNet`` for ``arch`` with inherited weights.

        Running statistics of BatchNorm are those of the mixture that trained the supernet:
        recalibrate them before use in eval mode.
        """
        with torch.device("meta"), NoInit():  # no weights are drawn only to be overwritten
            subnet = self.build_subnet(arch)
        inherit_parts(subnet, self, cast(nn.Conv2d, self.conv1[0]))
        return subnet.train(self.training)

    def to_standalone(self, subnet: nn.Module) -> nn.Module:
        """Copies an extracted ``subnet``, which stands alone already."""
        return copy.deepcopy(subnet)

    def count(self, choices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Counts the exact params and macs of architectures' subnets.

        ``macs`` are the multiply-accumulates of convolutions and the classifier, without biases;
        BatchNorm, activations, pooling and sums are free.
        """
        found = self.space.quantities(choices)
        widths = self._widths
        inner = np.array(widths.inner)[found.inner_width]  # (num_archs,)
        stem = np.array(widths.stem)[found.stem_width]
        of_stem, of_pool, *of_stages = self._areas
        has_layer = found.has_stem_layer
        convs = [
            9 * self.input_size[0] * inner,
            9 * inner**2 * has_layer,
            9 * inner * stem,
        ]
        params = sum(convs) + 2 * (inner + inner * has_layer + stem)
        macs = sum(convs) * of_stem
        channels, area = stem, of_pool
        for block, (stage, place) in enumerate(zip(STAGE_OF, PLACE_OF, strict=True)):
            choice = found.widths[:, stage]
            out = np.array(widths.stages[stage])[choice]
            mid = np.array(widths.mids[stage])[choice, found.expands[:, block]]
            first, others = channels * mid, 9 * mid**2 + mid * out
            norms = 2 * (2 * mid + out)
            if place == 0:
                others, norms = others + channels * out, norms + 2 * out
            active = found.active[:, block]
            params = params + active * (first + others + norms)
            macs = macs + active * (first * area + others * of_stages[stage])
            channels, area = out, of_stages[stage]
        classifier = channels * self.num_classes
        return params + classifier + self.num_classes, macs + classifier

    @cached_property
    def _areas(self) -> list[int]:
        """Pixels after the stem, after the pool, and after each stage."""
        _, height, width = self.input_size
        areas = []
        for stride in (*self.settings["strides"], *STAGE_STRIDES):
            height, width = (height - 1) // stride + 1, (width - 1) // stride + 1
            areas.append(height * width)
        return areas


def _check(settings: dict[str, Any]) -> None:
    strides, sides = settings["strides"], settings["input_size"][1:]
    width = settings["width"]
    if settings["num_classes"] < 2:
        raise ValueError(f"num_classes must be at least 2, got {settings['num_classes']}.")
    if not 0 < width < math.inf or not float(width * WIDTH_STEP).is_integer():
        raise ValueError(f"width must be a positive multiple of {1 / WIDTH_STEP}, got {width}.")
    if settings["input_size"][0] < 1:
        raise ValueError(f"input_size must start with the channels, got {settings['input_size']}.")
    if len(strides) != len(STRIDES) or not set(strides) <= {1, 2}:
        raise ValueError(
            "strides must be 2 numbers, each 1 or 2, for the stem and the pool after it, got "
            f"{list(strides)}."
        )
    total_stride = math.prod(strides) * math.prod(STAGE_STRIDES)
    if min(sides) < total_stride:
        raise ValueError(
            f"Images of {min(sides)} pixels are smaller than the network's total stride of "
            f"{total_stride}; use larger ones, or smaller strides (now {list(strides)})."
        )
