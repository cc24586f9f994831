"""Supernets that stand for their space where only a table is searched."""

from __future__ import annotations

import torch

from supernets.networks.base import Supernet
from supernets.networks.factory import create_supernet
from supernets.spaces.factory import TABLE_SPACES

#: Classes of the networks, as published.
NUM_CLASSES = {"nasbench201": 10, "mobilenetv3": 1000, "nasnet": 1000, "darts": 10}


def meta_supernet(space: str) -> Supernet | None:
    """Builds a supernet without weights, to look at its space and costs alone.

    Returns:
        The supernet, or None for a space that there are only tables of.

    Raises:
        ValueError: If the space is unknown.
    """
    if space in TABLE_SPACES:
        return None
    if space not in NUM_CLASSES:
        known = ", ".join((*NUM_CLASSES, *TABLE_SPACES))
        raise ValueError(f"Unknown space {space!r}; choose from {known}.")
    with torch.device("meta"):
        return create_supernet(space, num_classes=NUM_CLASSES[space])
