"""The authors' supernet from the package ``ofa``, with weights as training might leave them."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

import torch
from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3
from torch import nn

from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.spaces import Architecture
from supernets.training.ofa_checkpoints import load_ofa_checkpoint

KERNELS, EXPANDS, DEPTHS = [3, 5, 7], [3, 4, 6], [2, 3, 4]


@torch.no_grad()
def ofa_supernet(width: float, num_classes: int, side: int, seed: int) -> Any:
    """Random weights, BatchNorm and kernel transforms; statistics near those of random images."""
    torch.manual_seed(seed)
    theirs = OFAMobileNetV3(
        n_classes=num_classes,
        dropout_rate=0,
        width_mult=width,
        ks_list=KERNELS,
        expand_ratio_list=EXPANDS,
        depth_list=DEPTHS,
    )
    for name, parameter in theirs.named_parameters():
        if "matrix" in name:
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
        elif "bn" in name:
            parameter.add_(torch.rand_like(parameter) - 0.5)
    norms = [module for module in theirs.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # cumulative average
    theirs.train()(torch.randn(16, 3, side, side))
    for norm in norms:
        norm.momentum = 0.1
        norm.running_mean.add_(torch.randn_like(norm.running_mean) * norm.running_var.sqrt() * 0.1)
        norm.running_var.mul_(torch.rand_like(norm.running_var) * 0.5 + 0.75)
    return theirs.eval()


def same_supernet(theirs: Any, side: int) -> MobileNetV3Supernet:
    """Ours with the same weights, by way of a file like the released ones."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ofa_mbv3_d234_e346_k357"
        torch.save({"state_dict": theirs.state_dict()}, path)
        return load_ofa_checkpoint(path, input_size=(3, side, side))


def random_archs(num_archs: int, seed: int) -> list[dict[str, list[int]]]:
    """Architectures as their ``set_active_subnet`` takes them, decisions drawn uniformly."""
    rng = random.Random(seed)
    return [
        {
            "ks": rng.choices(KERNELS, k=20),
            "e": rng.choices(EXPANDS, k=20),
            "d": rng.choices(DEPTHS, k=5),
        }
        for _ in range(num_archs)
    ]


def uniform_arch(kernel: int, expand: int, depth: int) -> dict[str, list[int]]:
    """The same decision everywhere."""
    return {"ks": [kernel] * 20, "e": [expand] * 20, "d": [depth] * 5}


def our_arch(supernet: MobileNetV3Supernet, arch: dict[str, list[int]]) -> Architecture:
    """The architecture in our space."""
    return supernet.space.parse(json.dumps(arch))
