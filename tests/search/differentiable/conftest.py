"""Small mixtures, losses and data for differentiable searches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from search.differentiable.arch_gradient import Batch
from supernets.networks.factory import create_relaxed_network
from supernets.networks.relaxed import RelaxedNetwork

NUM_CLASSES = 3
INPUT_SIZE = (1, 4, 4)


@pytest.fixture
def make_network() -> Callable[..., RelaxedNetwork]:
    """Builds a tiny mixture of NAS-Bench-201 cells; the same weights every time."""

    def make(**settings: Any) -> RelaxedNetwork:
        torch.manual_seed(0)
        return create_relaxed_network(
            "nasbench201",
            **{
                "num_classes": NUM_CLASSES,
                "input_size": INPUT_SIZE,
                "channels": 2,
                "cells_per_stage": 1,
                **settings,
            },
        )

    return make


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """Builds a random minibatch; the same for the same seed."""

    def make(seed: int, dtype: torch.dtype = torch.float64) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(6, *INPUT_SIZE, generator=generator, dtype=dtype)
        return x, torch.randint(NUM_CLASSES, (6,), generator=generator)

    return make
