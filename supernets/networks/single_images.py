"""Minibatches of one image, which BatchNorm on maps of 1x1 cannot be trained on.

The last minibatch of an epoch is never one: see ``ImageLoader``. What is left are minibatches that
were asked for.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from supernets.data.image_loader import Loader
from supernets.networks.base import Supernet


def check_single_images(
    network: nn.Module,
    input_size: tuple[int, int, int],
    smallest: int,
    *,
    option: str = "--batch-size",
    call: Callable[[Any, Tensor], object] = lambda network, x: network(x),
) -> None:
    """Makes sure that a network can be trained on the smallest minibatch there will be.

    Args:
        network: The network; it is only read.
        input_size: Size of its images, as (channels, height, width).
        smallest: Number of images in that minibatch.
        option: Option that decides how many these are, for the error message.
        call: Runs a copy of the network on images (N, C, H, W).

    Raises:
        ValueError: If it is one image, and the network has BatchNorm on maps of 1x1.
    """
    if smallest > 1:
        return
    trained = copy.deepcopy(network).train()
    x = torch.zeros(1, *input_size, device=next(network.parameters()).device)
    try:
        with torch.no_grad():
            call(trained, x)
    except ValueError as error:  # of torch's own check
        raise ValueError(
            f"Minibatches of 1 image are too small for the BatchNorm of this network, whose maps "
            f"shrink to 1x1; use {option} 2 or more, and as many train images for each process."
        ) from error


def check_supernet_single_images(
    supernet: Supernet, smallest: int, *, option: str = "--batch-size", auxiliary: bool = False
) -> None:
    """Checks the same as ``check_single_images``, for all paths of a supernet.

    Args:
        supernet: The supernet; it is only read.
        smallest: Number of images in the smallest minibatch.
        option: Option that decides how many these are, for the error message.
        auxiliary: Whether its auxiliary head is trained too.

    Raises:
        ValueError: As ``check_single_images``.
    """
    space = supernet.space
    # maps differ by resolution alone
    arch = space.extremes()[0] if space.is_ordered else space.sample(np.random.default_rng(0))

    def call(trained: Supernet, x: Tensor) -> None:
        if auxiliary:
            trained.forward_with_auxiliary(x, arch)
        else:
            trained(x, arch)

    check_single_images(supernet, supernet.input_size, smallest, option=option, call=call)


def smallest_minibatch(loader: Loader, world_size: int = 1) -> int:
    """Returns the images in the smallest minibatch of an epoch, for one of several processes."""
    return min(loader.batch_size, loader.num_images // world_size)
