"""The contract of a supernet: the architecture is an argument, extraction gives a plain module."""

from __future__ import annotations

import abc
from typing import Any

from torch import Tensor, nn

from supernets.spaces import Architecture, SearchSpace


class Supernet(nn.Module, abc.ABC):
    """One set of weights holding every architecture of a space.

    ``settings`` are the keyword arguments that rebuild the supernet through ``create_supernet``;
    checkpoints and exported subnets carry them.
    """

    space: SearchSpace
    num_classes: int
    input_size: tuple[int, int, int]  # (channels, height, width)
    settings: dict[str, Any]

    @abc.abstractmethod
    def forward(self, x: Tensor, arch: Architecture) -> Tensor:
        """Runs the path of ``arch``: (N, C, H, W) images to (N, num_classes) logits.

        Nothing of the operations outside the path is computed.
        """

    @abc.abstractmethod
    def build_subnet(self, arch: Architecture) -> nn.Module:
        """The stand-alone network of ``arch`` with fresh weights, for training from scratch."""

    @abc.abstractmethod
    def extract(self, arch: Architecture) -> nn.Module:
        """The subnet of ``arch`` with inherited weights, sharing no storage with the supernet.

        It computes exactly what ``self(x, arch)`` computes, in train and in eval mode.
        """

    @abc.abstractmethod
    def to_standalone(self, subnet: nn.Module) -> nn.Module:
        """The network of ``build_subnet`` holding the weights of an extracted subnet.

        BatchNorm that was not affine becomes affine with weight 1 and bias 0, BatchNorm without
        running statistics gets fresh ones: recalibrate them before use in eval mode.
        """

    @abc.abstractmethod
    def count(self, arch: Architecture) -> tuple[int, int]:
        """Exact (params, macs) of ``build_subnet(arch)`` for one image, without building it."""
