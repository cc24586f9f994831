"""What networks of Accel-NASBench cost, counted without a network.

Papers: Accel-NASBench: Sustainable Benchmarking for Accelerator-Aware NAS,
https://arxiv.org/abs/2404.08005; EfficientNet: Rethinking Model Scaling for Convolutional Neural
Networks, https://arxiv.org/abs/1905.11946 (the skeleton)

A 3x3 convolution of stride 2 to 32 channels; seven blocks; a 1x1 convolution to 1,280 channels, the
mean over the map, a linear classifier. A layer is an inverted residual: a 1x1 convolution that
expands the channels, left out where the expansion is 1; a depthwise convolution, of the block's
stride in its first layer; squeeze-and-excitation, down to a quarter of the channels that came into
the layer; and a 1x1 convolution to the block's width. Every convolution has BatchNorm.

Differs from the benchmark:

1. ``count`` counts multiply-accumulates; ``benchmark_count`` counts as the benchmark's table does,
   where each output of BatchNorm is four more, and each input and output of a pooling one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from supernets.spaces.mnasnet import (
    EXPANDS,
    KERNELS,
    KINDS,
    MAX_LAYERS,
    STRIDES,
    WIDTHS,
    MnasNetSpace,
)

STEM_CHANNELS = 32
#: Channels before the classifier.
FEATURES = 1280
#: Channels that come into a layer, by those that squeeze-and-excitation leaves of them.
SQUEEZE_RATIO = 4

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class MnasNetCounts:
    """Params and macs of all networks in one skeleton.

    Args:
        num_classes: Number of logits.
        input_size: Images as (channels, height, width).

    Example:
        >>> counts = MnasNetCounts(num_classes=1000)
        >>> arch = counts.space.parse("e1k3l1n-e1k3l1n-e1k5l2n-e6k5l2n-e6k5l2n-e1k5l3n-e6k3l2n")
        >>> params, macs = counts.count(counts.space.choices_of([arch]))
        >>> int(params[0]), int(macs[0])
        (4073000, 225964208)
        >>> int(counts.benchmark_count(counts.space.choices_of([arch]))[1][0])
        236587120
    """

    num_classes: int
    input_size: tuple[int, int, int] = (3, 224, 224)

    has_benchmark_count = True

    @property
    def space(self) -> MnasNetSpace:
        """The space that the networks are of."""
        return MnasNetSpace()

    def count(self, choices: Counts) -> tuple[Counts, Counts]:
        """Counts params and macs of all architectures; BatchNorm, pooling and sums are free.

        Args:
            choices: Choices of architectures, (num_archs, num_decisions).

        Returns:
            params and macs, each of shape (num_archs,).
        """
        params, macs, _, _ = self._counts(choices)
        return params, macs

    def benchmark_count(self, choices: Counts) -> tuple[Counts, Counts]:
        """Counts as ``count`` does, and of macs what BatchNorm and pooling have in the table."""
        params, macs, normalised, pooled = self._counts(choices)
        return params, macs + 4 * normalised + pooled

    def _counts(self, choices: Counts) -> tuple[Counts, Counts, Counts, Counts]:
        """params, macs, outputs of BatchNorm, and inputs and outputs of poolings, (num_archs,)."""
        channels, height, width = self.input_size
        height, width = -(-height // 2), -(-width // 2)
        weights = np.full(len(choices), 9 * channels * STEM_CHANNELS)
        macs = weights * height * width
        params = weights + 2 * STEM_CHANNELS
        normalised = np.full(len(choices), STEM_CHANNELS * height * width)
        pooled = np.zeros(len(choices), np.int64)
        in_channels = STEM_CHANNELS
        for block, (out_channels, stride) in enumerate(zip(WIDTHS, STRIDES, strict=True)):
            decided = choices[:, len(KINDS) * block : len(KINDS) * (block + 1)]
            expand, kernel, layers, squeezes = decided.T
            expands, areas = np.array(EXPANDS)[expand], np.array(KERNELS)[kernel] ** 2
            for layer in range(MAX_LAYERS[block]):
                is_there = layers >= layer  # choice 0 is one layer
                inner, in_area = expands * in_channels, height * width
                if layer == 0:
                    height, width = -(-height // stride), -(-width // stride)
                area = height * width
                expanded = np.where(expands > 1, inner, 0)
                squeezed = squeezes * (in_channels // SQUEEZE_RATIO)
                excited = squeezes * inner
                matrices = 2 * inner * squeezed
                params += is_there * (
                    in_channels * expanded
                    + areas * inner
                    + inner * out_channels
                    + matrices
                    + squeezed
                    + excited
                    + 2 * (expanded + inner + out_channels)
                )
                macs += is_there * (
                    in_channels * expanded * in_area
                    + (areas * inner + inner * out_channels) * area
                    + matrices
                )
                normalised += is_there * (expanded * in_area + (inner + out_channels) * area)
                pooled += is_there * excited * (area + 1)
                in_channels = out_channels
        area = height * width
        head = in_channels * FEATURES
        classifier = FEATURES * self.num_classes
        return (
            params + head + 2 * FEATURES + classifier + self.num_classes,
            macs + head * area + classifier,
            normalised + FEATURES * area,
            pooled + FEATURES * (area + 1),
        )
