"""The contract of a supernet: the architecture is an argument, extraction gives a plain module."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from supernets.spaces import Architecture, SearchSpace


@runtime_checkable
class GrowingNetwork(Protocol):
    """A stand-alone network that files may hold more weights for than it is built with."""

    def make_room(self, state_dict: Mapping[str, Any]) -> None:
        """Adds what weights of a file are for, where they are of an earlier form of the network."""


class Supernet(nn.Module, abc.ABC):
    """One set of weights holding every architecture of a space.

    ``settings`` are the keyword arguments that rebuild the supernet through ``create_supernet``;
    checkpoints and exported subnets carry them.

    Example:
        >>> import torch
        >>> from supernets import create_supernet
        >>> supernet = create_supernet("nasbench201", num_classes=10, channels=4).eval()
        >>> cell = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|"
        >>> arch = supernet.space.parse(cell)
        >>> images = torch.rand(2, *supernet.input_size)
        >>> subnet = supernet.extract(arch).eval()  # a copy of the weights on the path of arch
        >>> torch.equal(supernet(images, arch), subnet(images))
        True
    """

    space: SearchSpace
    num_classes: int
    input_size: tuple[int, int, int]  # (channels, height, width)
    settings: dict[str, Any]

    #: Whether the blocks can be dropped; otherwise ``drop_path`` of ``forward`` must be 0.
    has_drop_path: bool = False
    #: Whether running statistics of BatchNorm are those of a mixture of subnets, so that they have
    #: to be recalibrated before a subnet is used in eval mode.
    needs_recalibration: bool = False
    #: Whether a second classifier halfway helps training; see ``forward_with_auxiliary``.
    has_auxiliary_head: bool = False
    #: Whether tables of the space count costs in another way; see ``benchmark_count``.
    has_benchmark_count: bool = False

    @abc.abstractmethod
    def forward(
        self, x: Tensor, arch: Architecture, *, dropout: float = 0.0, drop_path: float = 0.0
    ) -> Tensor:
        """Runs the path of ``arch``: (N, C, H, W) images to (N, num_classes) logits.

        Nothing of the operations outside the path is computed.

        Args:
            x: Images.
            arch: The path.
            dropout: Rate of dropout before the classifier, in train mode.
            drop_path: Rate at which blocks or operations are dropped per image in train mode; how
                it depends on their depth is a matter of the space.
        """

    def forward_with_auxiliary(
        self, x: Tensor, arch: Architecture, *, dropout: float = 0.0, drop_path: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Computes the logits of ``forward`` and of the auxiliary head, both (N, num_classes).

        Raises:
            ValueError: If there is no such head.
        """
        raise ValueError(f"A supernet of space {self.space.name!r} has no auxiliary head here.")

    @abc.abstractmethod
    def build_subnet(self, arch: Architecture) -> nn.Module:
        """Builds the stand-alone network of ``arch`` with fresh weights, to train from scratch."""

    @abc.abstractmethod
    def extract(self, arch: Architecture) -> nn.Module:
        """Extracts the subnet of ``arch`` with its inherited weights, sharing no storage.

        It computes exactly what ``self(x, arch)`` computes, in train and in eval mode, and has no
        dropout.
        """

    @abc.abstractmethod
    def to_standalone(self, subnet: nn.Module) -> nn.Module:
        """Builds the network of ``build_subnet`` with the weights of an extracted subnet.

        It shares no storage with the subnet.

        BatchNorm that was not affine becomes affine with weight 1 and bias 0, BatchNorm without
        running statistics gets fresh ones: recalibrate them before use in eval mode.
        """

    @abc.abstractmethod
    def count(self, choices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Counts the exact costs of ``build_subnet`` for one image, without building anything.

        Args:
            choices: Architectures, shape (num_archs, num_decisions), as
                ``SearchSpace.sample_choices`` gives them.

        Returns:
            params and macs, each of shape (num_archs,).
        """

    def benchmark_count(
        self, choices: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Counts as ``count`` does, in the convention of the space's tables if they have one."""
        return self.count(choices)
