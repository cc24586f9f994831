"""Which networks zero-cost proxies score, and the copies of networks that they look at."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from timm.layers import BatchNormAct2d
from torch import nn


def check_proxies(network: nn.Module, names: Sequence[str]) -> None:
    """Makes sure that proxies say something of networks of a kind.

    Args:
        network: The network, or the supernet of all of them; only its modules are looked at.
        names: Names of proxies.

    Raises:
        ValueError: If ``synflow`` is asked of a network with LayerNorm.
    """
    if "synflow" in names and any(isinstance(m, nn.LayerNorm) for m in network.modules()):
        raise ValueError(
            "synflow measures a flow that grows with every weight once all are positive, and "
            "LayerNorm, which this network has, divides it out; leave synflow out."
        )


def prepared(network: nn.Module) -> nn.Module:
    """Returns a copy in eval mode except for BatchNorm, with gradients for everything."""
    network = copy.deepcopy(network).eval().requires_grad_(True)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    return network


def remove_bn(module: nn.Module, kept_in: tuple[type[nn.Module], ...]) -> None:
    """Takes BatchNorm out of everything in ``module`` but modules of some types."""
    for name, child in module.named_children():
        if isinstance(child, BatchNormAct2d):  # timm's, which holds the activation that follows
            setattr(module, name, child.act)
        elif isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.Identity())
        elif not isinstance(child, kept_in):
            remove_bn(child, kept_in)
