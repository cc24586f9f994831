"""Dropout and drop path of networks that are already built."""

from __future__ import annotations

from timm.layers import DropPath
from timm.models._efficientnet_blocks import ConvBnAct, DepthwiseSeparableConv, InvertedResidual
from timm.models.mobilenetv3 import MobileNetV3
from torch import nn


def set_dropout(network: nn.Module, dropout: float, drop_path: float) -> None:
    """Sets the rates of dropout and drop path in place, as timm's ``create_model`` does.

    Weights and the names of parameters stay; in eval mode nothing changes.

    Args:
        network: timm's ``MobileNetV3``, or a module around one; others have no dropout.
        dropout: Rate before the classifier, from 0 to less than 1.
        drop_path: Rate of the last block, from 0 to less than 1; earlier blocks have less in
            proportion to their depth.

    Raises:
        ValueError: If a rate is out of range, or is positive and the network has no dropout.
    """
    for name, rate in (("dropout", dropout), ("drop_path", drop_path)):
        if not 0 <= rate < 1:
            raise ValueError(f"{name} must be from 0 to less than 1, got {rate}.")
    networks = [module for module in network.modules() if isinstance(module, MobileNetV3)]
    if not networks and (dropout > 0 or drop_path > 0):
        raise ValueError(
            f"{type(network).__name__} has neither dropout nor drop path, "
            f"got dropout {dropout} and drop_path {drop_path}; leave them at 0."
        )
    for module in networks:
        module.drop_rate = dropout
        blocks = [block for stage in module.blocks for block in stage]
        for position, block in enumerate(blocks):
            assert isinstance(block, (ConvBnAct, DepthwiseSeparableConv, InvertedResidual))
            rate = drop_path * position / len(blocks)
            block.drop_path = DropPath(rate) if rate else nn.Identity()
