"""What networks of NAS-Bench-201 cost, counted without a network; see ``nasbench201``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from supernets.spaces import NASBench201Space
from supernets.spaces.nasbench201 import CONV_1X1, CONV_3X3, only_live

NUM_STAGES = 3
#: Side of the kernel of each operation that is a convolution.
#: A plain dict, as torch.export of PyTorch 2.6 cannot trace a look into a ``MappingProxyType``.
KERNELS: Mapping[int, int] = {CONV_1X1: 1, CONV_3X3: 3}


@dataclass(frozen=True)
class NASBench201Counts:
    """Params and macs of all cells in one skeleton.

    Args:
        num_classes: Number of logits.
        channels: Width of the first stage, C.
        cells_per_stage: Cells per stage, N.
        input_size: Images as (channels, height, width).
    """

    num_classes: int
    channels: int = 16
    cells_per_stage: int = 5
    input_size: tuple[int, int, int] = (3, 32, 32)

    has_benchmark_count = True

    @property
    def space(self) -> NASBench201Space:
        """The space that the cells are of."""
        return NASBench201Space()

    def count(self, choices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Counts the exact params and macs of architectures' stand-alone networks.

        ``params`` are all parameters, with affine BatchNorm. ``macs`` are the multiply-accumulates
        of convolutions and the classifier, one more per logit for its bias; BatchNorm, activations,
        pooling and sums are free.

        Args:
            choices: Choices of architectures, (num_archs, num_decisions).

        Returns:
            params and macs, each of shape (num_archs,).
        """
        return self.benchmark_count(only_live(choices))

    def benchmark_count(
        self, choices: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Counts as ``count`` does, but every edge of the cells, as the benchmark's tables do.

        Edges that the output never reads and convolutions that see only zeros count as all others.
        """
        channels, cells = self.channels, self.cells_per_stage
        in_channels, height, width = self.input_size
        num_convs = np.isin(choices, list(KERNELS)).sum(axis=1)  # (num_archs,)
        kernel_areas = sum((choices == op).sum(axis=1) * size**2 for op, size in KERNELS.items())
        params = 9 * in_channels * channels + 2 * channels
        macs = 9 * in_channels * channels * height * width
        for stage in range(NUM_STAGES):
            c = channels * 2**stage
            if stage > 0:
                height, width = -(-height // 2), -(-width // 2)
                weights = 9 * (c // 2) * c + 9 * c * c + (c // 2) * c
                params += weights + 4 * c
                macs += weights * height * width
            weights = cells * c * c * kernel_areas
            params = params + weights + cells * 2 * c * num_convs
            macs = macs + weights * height * width
        head = c * self.num_classes + self.num_classes
        return params + 2 * c + head, macs + head
