"""The authors' static ProxylessNAS network from the package ``ofa``, with weights of our supernet.

Their elastic network shares weights between kernels and expansions, and belongs to another space.
"""

from __future__ import annotations

from typing import Any

import torch
from ofa.imagenet_classification.networks.proxyless_nets import ProxylessNASNets
from torch import nn

from supernets.networks.proxylessnas import ProxylessNASSupernet
from supernets.networks.proxylessnas_subnet import BN_EPS, scaled_widths
from supernets.spaces import Architecture
from supernets.spaces.proxylessnas import STAGES


@torch.no_grad()
def randomise(supernet: ProxylessNASSupernet) -> ProxylessNASSupernet:
    """BatchNorm as training might leave it, so that images matter; returns the supernet."""
    for module in supernet.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(0.0, 0.3)
            module.running_mean.normal_(0.0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
    return supernet


def their_network(supernet: ProxylessNASSupernet, arch: Architecture) -> Any:
    """Their network of ``arch`` with fresh weights; blocks that are left out are ``ZeroLayer``."""
    settings = supernet.settings
    widths, strides = scaled_widths(settings["width"]), settings["strides"]
    texts = supernet.space.format(arch).split(";")
    blocks, channels = [], widths.stem
    for stage, text in enumerate(texts):
        for i, block in enumerate(text.split(",")):
            out_channels = widths.stages[stage]
            stride = strides[stage] if stage > 0 and i == 0 else 1
            layer: dict[str, Any] = {"name": "ZeroLayer"}
            if block != "-":
                layer = {
                    "name": "MBConvLayer",
                    "in_channels": channels,
                    "out_channels": out_channels,
                    "kernel_size": int(block[3]),
                    "stride": stride,
                    "expand_ratio": int(block[1]),
                }
            has_shortcut = stage > 0 and stride == 1 and channels == out_channels
            shortcut = _identity(channels) if has_shortcut else None
            blocks.append({"name": "ResidualBlock", "conv": layer, "shortcut": shortcut})
            channels = out_channels
    assert len(blocks) == 1 + sum(STAGES)
    return ProxylessNASNets.build_from_config(
        {
            "bn": {"momentum": 0.1, "eps": BN_EPS},
            "first_conv": _conv(supernet.input_size[0], widths.stem, 3, strides[0]),
            "blocks": blocks,
            "feature_mix_layer": _conv(channels, widths.features, 1, 1),
            "classifier": {
                "name": "LinearLayer",
                "in_features": widths.features,
                "out_features": supernet.num_classes,
            },
        }
    )


def same_network(supernet: ProxylessNASSupernet, arch: Architecture) -> Any:
    """Their network with our weights: both have them in the same order."""
    theirs = their_network(supernet, arch)
    weights = list(supernet.extract(arch).state_dict().values())
    names = list(theirs.state_dict())
    assert len(names) == len(weights)
    theirs.load_state_dict(dict(zip(names, weights, strict=True)))
    return theirs.to(weights[0].dtype).train(supernet.training)


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int) -> dict[str, Any]:
    return {
        "name": "ConvLayer",
        "in_channels": in_channels,
        "out_channels": out_channels,
        "kernel_size": kernel,
        "stride": stride,
        "act_func": "relu6",
    }


def _identity(channels: int) -> dict[str, Any]:
    return {"name": "IdentityLayer", "in_channels": channels, "out_channels": channels}
