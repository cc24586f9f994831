"""How far two networks of the same weights are apart, and what a path costs beside its subnet."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from speed import in_turn, median_ratio, plain_step, sgd
from torch import Tensor, nn

from supernets.networks.base import Supernet
from supernets.spaces import Architecture


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Largest difference in units of the largest entry."""
    return float((found - expected).abs().max() / expected.abs().max())


def steps(
    supernet: Supernet, batch_size: int, num_archs: int, repeats: int, seed: int
) -> dict[str, Any]:
    """Forward and backward of paths and of their extracted networks, also with an SGD step."""
    x = torch.randn(batch_size, *supernet.input_size)
    y = torch.randint(supernet.num_classes, (batch_size,))
    rng, own = np.random.default_rng(seed), sgd(supernet)
    seconds: dict[str, list[float]] = {}
    for _ in range(num_archs):
        arch = supernet.space.sample(rng)
        static = supernet.extract(arch)
        sides = {
            "path": partial(gradients, supernet, x, y, arch),
            "static": partial(gradients, static, x, y),
            "path_and_sgd": partial(plain_step, supernet, own, x, y, False, arch),
            "static_and_sgd": partial(plain_step, static, sgd(static), x, y, False),
        }
        for name, values in in_turn(sides, repeats).items():
            seconds.setdefault(name, []).extend(values)
    return {
        "batch_size": batch_size,
        "num_timed": num_archs,
        "repeats": repeats,
        "median_seconds": {name: float(np.median(values)) for name, values in seconds.items()},
        "path_over_static": median_ratio(seconds, "path", "static"),
        "path_over_static_with_sgd": median_ratio(seconds, "path_and_sgd", "static_and_sgd"),
    }


def gradients(module: nn.Module, x: Tensor, y: Tensor, *arch: Architecture) -> None:
    """Forward and backward, onto gradients that are there already."""
    F.cross_entropy(module(x, *arch), y).backward()
