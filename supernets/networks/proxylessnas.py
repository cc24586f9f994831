"""The ProxylessNAS space as a supernet: one path through a chain of inverted residuals.

Papers: ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware,
https://arxiv.org/abs/1812.00332; Neural Predictor for Neural Architecture Search (the space),
https://arxiv.org/abs/1912.00848; BigNAS: Scaling Up Neural Architecture Search with Big
Single-Stage Models (how weights start), https://arxiv.org/abs/2003.11142

Every option of every block has weights of its own, and a path computes those of its own options
alone. The options are blocks of timm, and subnets are timm's own ``EfficientNet``.

Differs from ProxylessNAS:

1. Paths are drawn uniformly, or as ``--paths`` says, and the architecture is searched afterwards;
   the authors learn probabilities of paths with the weights, from two paths a step.
2. Weights of the supernet start as timm's do, depthwise convolutions by their fan-out per group,
   but the last BatchNorm of a block with a shortcut multiplies by 0.1 at first, where BigNAS has 0.
   What a stage passes on is then hardly of random blocks that the next path does not have, and
   untrained subnets can still be told apart.
3. Published networks have the widths of a search of their own: that for mobile phones has 32
   channels in the first stage, which has 24 here as in their search.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from timm.layers import DropPath
from timm.models import EfficientNet
from torch import Tensor, nn

from supernets.networks.base import Supernet
from supernets.networks.block_stages import (
    RESIDUAL_WEIGHT,
    check_settings,
    inverted_residual_costs,
    strided,
)
from supernets.networks.elastic import expanded_width
from supernets.networks.marks import Choice, path_of
from supernets.networks.proxylessnas_subnet import (
    STRIDES,
    proxylessnas_subnet,
    scaled_widths,
    timm_definition,
    timm_network,
)
from supernets.spaces import Architecture, ProxylessNASSpace
from supernets.spaces.proxylessnas import EXPANDS, KERNELS, NUM_OPTIONS, SKIP, STAGE_STARTS, STAGES


class ProxylessNASSupernet(Supernet):
    """All networks of the ProxylessNAS chain in one.

    Args:
        num_classes: Number of logits. At least 2.
        width: Multiplier on all widths.
        input_size: Images as (channels, height, width).
        strides: Strides of the stem and the six stages, each 1 or 2, and 2 in four stages at most;
            (2, 1, 2, 2, 1, 1, 1) suits 32 pixels.

    A stage of stride 1 that is as wide as the one before starts with a shortcut too. With a width
    of 0.05, where all but the last two have 8 channels, short trainings learn small images.

    Raises:
        ValueError: If a number is out of range, or the network reduces an image to less than one
            pixel.

    Example:
        >>> import torch
        >>> supernet = ProxylessNASSupernet(num_classes=10, width=0.1, input_size=(3, 32, 32))
        >>> arch = supernet.space.sample(np.random.default_rng(0))
        >>> images = torch.rand(2, 3, 32, 32)
        >>> supernet = supernet.eval()
        >>> torch.equal(supernet(images, arch), supernet.extract(arch)(images))
        True
    """

    has_drop_path = True
    needs_recalibration = True
    space: ProxylessNASSpace

    def __init__(
        self,
        *,
        num_classes: int,
        width: float = 1.0,
        input_size: tuple[int, int, int] = (3, 224, 224),
        strides: Sequence[int] = STRIDES,
    ) -> None:
        super().__init__()
        self.space = ProxylessNASSpace()
        self.num_classes = num_classes
        self.input_size = (input_size[0], input_size[1], input_size[2])
        self.settings: dict[str, Any] = {
            "num_classes": num_classes,
            "width": width,
            "input_size": self.input_size,
            "strides": tuple(strides),
        }
        check_settings(self.settings, len(STAGES))
        self.network = _network_of_choices(self.space, self.settings)
        self._marks = [module for module in self.network.modules() if isinstance(module, Choice)]

    def forward(
        self, x: Tensor, arch: Architecture, *, dropout: float = 0.0, drop_path: float = 0.0
    ) -> Tensor:
        """Maps images (N, C, H, W) to logits (N, num_classes) along the path of ``arch``."""
        blocks = self._choose(arch)
        self.network.drop_rate = dropout
        for position, block in enumerate(blocks):  # as timm has it
            block.drop_path.drop_prob = drop_path * position / len(blocks)
        return cast(Tensor, self.network(x))

    def _choose(self, arch: Architecture) -> list[Any]:
        """Chooses a path, and returns the blocks on it."""
        self.space.validate(arch)
        for mark, choice in zip(self._marks, arch.choices, strict=True):
            mark.chosen = choice
        chosen = [mark.options[mark.option_names[mark.chosen]] for mark in self._marks]
        return [block for block in chosen if not isinstance(block, nn.Identity)]

    def build_subnet(self, arch: Architecture) -> nn.Module:
        """Builds timm's ``EfficientNet`` for ``arch`` with fresh weights."""
        return proxylessnas_subnet(arch, **self.settings)

    def extract(self, arch: Architecture) -> nn.Module:
        """Extracts timm's ``EfficientNet`` for ``arch`` with inherited weights.

        Running statistics of BatchNorm are those of the mixture that trained the supernet:
        recalibrate them before use in eval mode.
        """
        self._choose(arch)
        subnet = cast(EfficientNet, path_of(self.network))
        subnet.drop_rate = 0.0
        subnet.blocks = nn.Sequential(
            *(
                nn.Sequential(*(block for block in stage if not isinstance(block, nn.Identity)))
                for stage in cast(Sequence[nn.Sequential], subnet.blocks)
            )
        )
        for stage in subnet.blocks:
            for block in stage:
                block.drop_path = nn.Identity()
        extracted: nn.Module = subnet.train(self.training)
        return extracted

    def to_standalone(self, subnet: nn.Module) -> nn.Module:
        """Copies an extracted ``subnet``, which stands alone already."""
        return copy.deepcopy(subnet)

    def count(self, choices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Counts the exact params and macs of architectures' subnets.

        ``macs`` are the multiply-accumulates of convolutions and the classifier, without biases;
        BatchNorm, activations, pooling and sums are free.
        """
        fixed, tables = self._block_costs
        costs = fixed + tables[np.arange(choices.shape[1]), choices].sum(axis=1)
        return costs[:, 0], costs[:, 1]

    @cached_property
    def _block_costs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(Params, macs) of what is always there, and of each option of each block.

        Shapes (2,) and (num_decisions, most options, 2).
        """
        widths, strides = scaled_widths(self.settings["width"]), self.settings["strides"]
        height, width = (strided(side, strides[0]) for side in self.input_size[1:])
        stem = 9 * self.input_size[0] * widths.stem
        macs = stem * height * width
        tables = np.zeros((len(self.space.decisions), NUM_OPTIONS + 1, 2), np.int64)
        for k, kernel in enumerate(KERNELS):
            channels, area = (0, widths.stem, widths.stages[0]), height * width
            params, block_macs = inverted_residual_costs(channels, kernel, area, area)
            tables[0, k] = params - 2 * widths.stem, block_macs  # no expansion, no BatchNorm of it
        in_channels, stage = widths.stages[0], 0
        for i in range(1, len(tables)):
            is_start = i in STAGE_STARTS
            stage += is_start
            area, stride = height * width, strides[stage] if is_start else 1
            height, width = strided(height, stride), strided(width, stride)
            for e, expand in enumerate(EXPANDS):
                channels = (
                    in_channels,
                    expanded_width(in_channels, expand),
                    widths.stages[stage],
                )
                for k, kernel in enumerate(KERNELS):
                    tables[i, e * len(KERNELS) + k] = inverted_residual_costs(
                        channels, kernel, area, height * width
                    )
            in_channels = widths.stages[stage]
        mix, classes = in_channels * widths.features, widths.features * self.num_classes
        params = stem + 2 * widths.stem + mix + 2 * widths.features + classes + self.num_classes
        return np.array([params, macs + mix * height * width + classes]), tables


def _network_of_choices(space: ProxylessNASSpace, settings: Mapping[str, Any]) -> EfficientNet:
    """timm's network with a choice in the place of every block.

    For each option there is a network that has it in every block, of which the blocks are taken.
    """
    networks = []
    for option in range(NUM_OPTIONS):
        choices = [min(option, len(KERNELS) - 1), *[option] * sum(STAGES)]
        definition = timm_definition(space.architecture(choices), **settings)
        networks.append(timm_network(definition))
    decisions = iter(space.decisions)
    for s, stage in enumerate(networks[-1].blocks):
        for b in range(len(stage)):
            decision = next(decisions)
            options: dict[str, nn.Module] = {}
            for name, network in zip(decision.options, networks, strict=False):
                block = options[name] = network.blocks[s][b]
                block.drop_path = DropPath(0.0)
                if block.has_skip:
                    nn.init.constant_(block.bn3.weight, RESIDUAL_WEIGHT)
            if SKIP in decision.options:
                options[SKIP] = nn.Identity()
            stage[b] = Choice(options, decision.name)
    return networks[-1]
