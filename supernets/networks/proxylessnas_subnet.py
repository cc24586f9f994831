"""Subnets of the ProxylessNAS space as timm's own networks.

Paper: ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware,
https://arxiv.org/abs/1812.00332
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from timm.layers import make_divisible
from timm.models import EfficientNet
from torch import nn

from supernets.networks.block_stages import set_stem_stride
from supernets.networks.timm_batchnorm import fuse_batchnorm
from supernets.runtime.private_names import decode_arch_def
from supernets.spaces import Architecture, ProxylessNASSpace

#: Strides of the stem and of the six stages; the first block, between them, has 1.
STRIDES = (2, 2, 2, 2, 1, 2, 1)
#: What the authors add to the variance in BatchNorm.
BN_EPS = 1e-3


class Widths(NamedTuple):
    """Channels of all parts of a network."""

    stem: int
    stages: tuple[int, ...]  # of the first block, and of the six stages
    features: int  # what the classifier sees


def scaled_widths(width: float) -> Widths:
    """Returns the widths that the authors searched with times a multiplier, in multiples of 8."""
    stem, *stages, features = (
        make_divisible(channels * width, 8) for channels in (32, 16, 24, 40, 80, 96, 192, 320, 1280)
    )
    return Widths(stem, tuple(stages), features)


def timm_definition(
    arch: Architecture,
    *,
    num_classes: int,
    width: float = 1.0,
    input_size: tuple[int, int, int] = (3, 224, 224),
    strides: Sequence[int] = STRIDES,
) -> dict[str, Any]:
    """Returns what ``timm_network`` builds the network of ``arch`` from, in plain types.

    The arguments are those of ``ProxylessNASSupernet``.
    """
    space = ProxylessNASSpace()
    space.validate(arch)
    widths = scaled_widths(width)
    ((first,), *stages) = space.stages(arch)
    arch_def = [[f"ds_r1_k{first.kernel}_s1_e1_c{widths.stages[0]}_noskip"]]
    for stage, channels, stride in zip(stages, widths.stages[1:], strides[1:], strict=True):
        arch_def.append(
            [
                f"ir_r1_k{kernel}_s{stride if block == 0 else 1}_e{expand}_c{channels}"
                for block, (kernel, expand) in enumerate(stage)
            ]
        )
    return {
        "arch_def": arch_def,
        "stem_size": widths.stem,
        "stem_stride": strides[0],
        "num_features": widths.features,
        "num_classes": num_classes,
        "in_chans": input_size[0],
    }


def timm_network(
    definition: Mapping[str, Any], *, drop_rate: float = 0.0, drop_path_rate: float = 0.0
) -> EfficientNet:
    """Builds timm's ``EfficientNet``; (N, C, H, W) images to (N, num_classes) logits.

    timm's stem has stride 2. Where the definition says 1 it is changed after building.
    """
    network = EfficientNet(
        decode_arch_def(definition["arch_def"]),
        num_classes=definition["num_classes"],
        num_features=definition["num_features"],
        in_chans=definition["in_chans"],
        stem_size=definition["stem_size"],
        fix_stem=True,
        act_layer=nn.ReLU6,
        norm_layer=partial(nn.BatchNorm2d, eps=BN_EPS),
        drop_rate=drop_rate,
        drop_path_rate=drop_path_rate,
    )
    set_stem_stride(network, definition["stem_stride"])
    fuse_batchnorm(network)
    return network


def proxylessnas_subnet(
    arch: Architecture, *, dropout: float = 0.0, drop_path: float = 0.0, **settings: Any
) -> nn.Module:
    """Builds the stand-alone network of ``arch`` with fresh weights, timm's ``EfficientNet``.

    Args:
        arch: The architecture.
        dropout: Rate before the classifier.
        drop_path: Rate of the last block.
        **settings: Arguments of ``ProxylessNASSupernet``, as of ``timm_definition``.
    """
    definition = timm_definition(arch, **settings)
    network: nn.Module = timm_network(definition, drop_rate=dropout, drop_path_rate=drop_path)
    return network
