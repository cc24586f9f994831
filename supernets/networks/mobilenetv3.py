"""Elastic MobileNetV3 as a supernet, with the weights and widths of OFA's released networks.

Paper: Once for All: Train One Network and Specialize it for Efficient Deployment,
https://arxiv.org/abs/1908.09791

Subnets are timm's own ``MobileNetV3``. Differs from the authors' code:

1. The resolution, where it is elastic, belongs to the architecture; images are resized on the
   device instead of being read at every size.
2. Weights start as timm's do: depthwise convolutions by their fan-out per group.
3. ``kernel_transform=False`` takes the centres of larger kernels as they are (BigNAS).
4. Drop path grows linearly over all blocks, as in timm.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from supernets.networks.base import Supernet
from supernets.networks.batchnorm import BatchNorm2d
from supernets.networks.block_stages import check_settings, inverted_residual_costs, strided
from supernets.networks.elastic import ElasticMBConv, expanded_width, squeezed_width
from supernets.networks.inherited_parts import NoInit, inherit_parts
from supernets.networks.mobilenetv3_subnet import (
    HAS_SE,
    STRIDES,
    USES_RELU,
    ResizingNetwork,
    mobilenetv3_subnet,
    resize,
    scaled_widths,
)
from supernets.runtime.private_names import efficientnet_init_weights
from supernets.spaces import Architecture, MobileNetV3Space
from supernets.spaces.mobilenetv3 import EXPANDS, KERNELS, MAX_DEPTH, NUM_BLOCKS, NUM_STAGES

#: In place, as nothing but the activation needs what BatchNorm gives.


class MobileNetV3Supernet(Supernet):
    """All architectures of elastic MobileNetV3 in one network.

    Args:
        num_classes: Number of logits. At least 2.
        width: Multiplier on all widths; OFA released 1.0 and 1.2.
        input_size: Images as (channels, height, width).
        resolutions: Sides to search and train at, the largest being that of ``input_size``; empty
            for that one only.
        strides: Strides of the stem and the five stages, each 1 or 2, and 1 in one stage at least;
            (2, 1, 2, 2, 1, 1) suits 32 pixels.
        kernel_transform: Whether smaller kernels are transformed centres of larger ones.

    Raises:
        ValueError: If a number is out of range, or the network reduces an image to less than one
            pixel.
    """

    has_drop_path = True
    needs_recalibration = True
    space: MobileNetV3Space

    def __init__(
        self,
        *,
        num_classes: int,
        width: float = 1.0,
        input_size: tuple[int, int, int] = (3, 224, 224),
        resolutions: Sequence[int] = (),
        strides: Sequence[int] = STRIDES,
        kernel_transform: bool = True,
    ) -> None:
        super().__init__()
        self.space = MobileNetV3Space(resolutions)
        self.num_classes = num_classes
        self.input_size = (input_size[0], input_size[1], input_size[2])
        self.settings: dict[str, Any] = {
            "num_classes": num_classes,
            "width": width,
            "input_size": self.input_size,
            "resolutions": self.space.resolutions,
            "strides": tuple(strides),
            "kernel_transform": kernel_transform,
        }
        check_settings(self.settings, NUM_STAGES)
        widths = scaled_widths(width)
        self.conv_stem = nn.Conv2d(input_size[0], widths.stem, 3, strides[0], 1, bias=False)
        self.bn1 = BatchNorm2d(widths.stem)
        self.blocks = nn.ModuleList([nn.ModuleList([_FirstBlock(widths.stem)])])
        in_channels = widths.stem
        for stage, channels in enumerate(widths.stages):
            blocks = nn.ModuleList()
            for block in range(MAX_DEPTH):
                blocks.append(
                    ElasticMBConv(
                        in_channels,
                        channels,
                        strides[1 + stage] if block == 0 else 1,
                        act=F.relu if USES_RELU[stage] else F.hardswish,
                        has_se=HAS_SE[stage],
                        max_expand=EXPANDS[-1],
                        kernel_transform=kernel_transform,
                    )
                )
                in_channels = channels
            self.blocks.append(blocks)
        self.blocks.append(nn.ModuleList([_LastBlock(in_channels, widths.pooled)]))
        self.conv_head = nn.Conv2d(widths.pooled, widths.features, 1, bias=False)
        self.classifier = nn.Linear(widths.features, num_classes)
        efficientnet_init_weights(self)

    def forward(
        self, x: Tensor, arch: Architecture, *, dropout: float = 0.0, drop_path: float = 0.0
    ) -> Tensor:
        """Maps images (N, C, H, W) to logits (N, num_classes) along the path of ``arch``.

        Images of another size than the resolution ``arch`` decides on are resized to it.
        """
        self.space.validate(arch)
        x = resize(x, self.space.resolution(arch))
        x = self.bn1(self.conv_stem(x), activation=F.hardswish)
        stages = self.space.stages(arch)
        num_blocks = 2 + sum(len(stage) for stage in stages)  # as timm counts
        position = 1
        first, *elastic, last = cast(Sequence[Sequence[nn.Module]], self.blocks)
        x = first[0](x)
        for blocks, stage in zip(elastic, stages, strict=True):
            for block, (kernel, expand) in zip(blocks, stage, strict=False):  # depth
                x = block(x, kernel, expand, drop_path * position / num_blocks)
                position += 1
        x = last[0](x)
        x = F.hardswish(self.conv_head(F.adaptive_avg_pool2d(x, 1))).flatten(1)
        if dropout > 0:
            x = F.dropout(x, dropout, self.training)
        return cast(Tensor, self.classifier(x))

    def build_subnet(self, arch: Architecture) -> nn.Module:
        """Builds timm's ``MobileNetV3`` for ``arch`` with fresh weights: ``mobilenetv3_subnet``."""
        settings = {k: v for k, v in self.settings.items() if k != "kernel_transform"}
        return mobilenetv3_subnet(arch, **settings)

    def extract(self, arch: Architecture) -> nn.Module:
        """Extracts timm's ``MobileNetV3`` for ``arch`` with inherited weights.

        Running statistics of BatchNorm are those of the mixture that trained the supernet:
        recalibrate them before use in eval mode.
        """
        with torch.device("meta"), NoInit():  # no weights are drawn only to be overwritten
            subnet = self.build_subnet(arch)
        network = subnet.network if isinstance(subnet, ResizingNetwork) else subnet
        shapes = {name: weight.shape for name, weight in network.named_parameters()}
        kernels = {}
        for i, stage in enumerate(self.space.stages(arch), start=1):
            for j, (kernel, _) in enumerate(stage):
                name = f"blocks.{i}.{j}.conv_dw.weight"
                block = cast(ElasticMBConv, self.blocks[i][j])  # type: ignore[index]
                with torch.no_grad():
                    kernels[name] = block.depthwise_weight(kernel, shapes[name][0])
        inherit_parts(network, self, self.conv_stem, others=kernels)
        return subnet.train(self.training)

    def to_standalone(self, subnet: nn.Module) -> nn.Module:
        """Copies an extracted ``subnet``, which stands alone already."""
        return copy.deepcopy(subnet)

    def count(self, choices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Counts the exact params and macs of architectures' subnets.

        ``macs`` are the multiply-accumulates of convolutions and the classifier, without biases;
        BatchNorm, activations, pooling and sums are free. The image is counted at the resolution
        the architecture decides on, otherwise at ``input_size``.
        """
        costs = self._costs
        sizes = choices[:, -1] if self.space.has_resolution else np.zeros(len(choices), np.int64)
        params = costs.params + self.space.sum_over_blocks(costs.block_params, choices)
        macs = costs.macs[sizes] + self.space.sum_over_blocks(costs.block_macs, choices)
        return params, macs

    @cached_property
    def _costs(self) -> _Costs:
        widths, strides = scaled_widths(self.settings["width"]), self.settings["strides"]
        in_channels = self.input_size[0]
        head = widths.pooled * widths.features + (widths.features + 1) * self.num_classes
        last = widths.stages[-1] * widths.pooled
        stem = 9 * in_channels * widths.stem
        first = 9 * widths.stem + widths.stem**2
        num_bn = 3 * widths.stem + widths.pooled  # channels with BatchNorm outside elastic blocks
        sizes = [self.input_size[1:]]
        if self.space.has_resolution:
            sizes = [(side, side) for side in self.space.resolutions]
        block_params = np.zeros((1, NUM_BLOCKS, len(KERNELS), len(EXPANDS)), np.int64)
        block_macs = np.zeros((len(sizes), *block_params.shape[1:]), np.int64)
        macs = np.zeros(len(sizes), np.int64)
        for r, (height, width) in enumerate(sizes):
            height, width = strided(height, strides[0]), strided(width, strides[0])
            macs[r] = (stem + first) * height * width + head - self.num_classes
            channels = widths.stem
            for i in range(NUM_BLOCKS):
                stage, block = divmod(i, MAX_DEPTH)
                stride = strides[1 + stage] if block == 0 else 1
                area = height * width
                height, width = strided(height, stride), strided(width, stride)
                out_channels = widths.stages[stage]
                for k, kernel in enumerate(KERNELS):
                    for e, expand in enumerate(EXPANDS):
                        mid = expanded_width(channels, expand)
                        se = squeezed_width(mid) if HAS_SE[stage] else 0
                        params, block_cost = inverted_residual_costs(
                            (channels, mid, out_channels), kernel, area, height * width
                        )
                        block_params[0, i, k, e] = params + (2 * mid * se + se + mid if se else 0)
                        block_macs[r, i, k, e] = block_cost + 2 * mid * se
                channels = out_channels
            macs[r] += last * height * width
        return _Costs(stem + first + last + head + 2 * num_bn, block_params, macs, block_macs)


class _Costs(NamedTuple):
    """Exact costs of the fixed parts and of each choice of each block."""

    params: int
    block_params: NDArray[np.int64]  # (1, NUM_BLOCKS, kernels, expansions)
    macs: NDArray[np.int64]  # (resolutions,)
    block_macs: NDArray[np.int64]  # (resolutions, NUM_BLOCKS, kernels, expansions)


class _FirstBlock(nn.Module):
    """Depthwise-separable block with a skip, not elastic."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(channels, channels, 3, 1, 1, groups=channels, bias=False)
        self.bn1 = BatchNorm2d(channels)
        self.conv_pw = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn2 = BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to the same shape."""
        return cast(
            Tensor, self.bn2(self.conv_pw(self.bn1(self.conv_dw(x), activation=F.relu))) + x
        )


class _LastBlock(nn.Module):
    """Point-wise expansion before the pooling, not elastic."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_channels, H, W) to (N, channels, H, W)."""
        return cast(Tensor, self.bn1(self.conv(x), activation=F.hardswish))
