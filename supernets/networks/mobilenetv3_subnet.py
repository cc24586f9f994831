"""Subnets of elastic MobileNetV3 as timm's own networks.

Paper: Once for All: Train One Network and Specialize it for Efficient Deployment,
https://arxiv.org/abs/1908.09791
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import torch.nn.functional as F
from timm.layers import make_divisible
from timm.models import MobileNetV3
from torch import Tensor, nn

from supernets.networks.block_stages import set_stem_stride
from supernets.networks.timm_batchnorm import fuse_batchnorm
from supernets.runtime.private_names import SqueezeExcite, decode_arch_def, round_channels
from supernets.spaces import Architecture, MobileNetV3Space

HAS_SE = (False, True, False, True, True)  # per stage
USES_RELU = (True, True, False, False, False)  # per stage; otherwise hard swish
#: Strides of the stem and of the five stages.
STRIDES = (2, 2, 2, 2, 1, 2)


class Widths(NamedTuple):
    """Channels of all parts of a network."""

    stem: int  # also of the first block
    stages: tuple[int, ...]
    pooled: int
    features: int  # what the classifier sees


def scaled_widths(width: float) -> Widths:
    """Returns the paper's widths times a multiplier, rounded to multiples of 8."""

    def scale(channels: int) -> int:
        scaled: int = make_divisible(channels * width, 8)
        return scaled

    stages = tuple(scale(channels) for channels in (24, 40, 80, 112, 160))
    return Widths(scale(16), stages, scale(960), scale(1280))


def timm_definition(
    arch: Architecture,
    *,
    num_classes: int,
    width: float = 1.0,
    input_size: tuple[int, int, int] = (3, 224, 224),
    resolutions: Sequence[int] = (),
    strides: Sequence[int] = STRIDES,
) -> dict[str, Any]:
    """Returns what ``timm_network`` builds the network of ``arch`` from, in plain types.

    The arguments are those of ``MobileNetV3Supernet``.
    """
    space = MobileNetV3Space(resolutions)
    space.validate(arch)
    widths = scaled_widths(width)
    arch_def = [[f"ds_r1_k3_s1_e1_c{widths.stem}_nre"]]
    for stage, blocks in enumerate(space.stages(arch)):
        suffix = ("_se0.25" if HAS_SE[stage] else "") + ("_nre" if USES_RELU[stage] else "")
        arch_def.append(
            [
                f"ir_r1_k{kernel}_s{strides[1 + stage] if block == 0 else 1}_e{expand}"
                f"_c{widths.stages[stage]}{suffix}"
                for block, (kernel, expand) in enumerate(blocks)
            ]
        )
    arch_def.append([f"cn_r1_k1_s1_c{widths.pooled}"])
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
) -> MobileNetV3:
    """Builds timm's ``MobileNetV3``; (N, C, H, W) images to (N, num_classes) logits.

    timm's stem has stride 2. Where the definition says 1 it is changed after building.
    """
    network = MobileNetV3(
        decode_arch_def(definition["arch_def"]),
        num_classes=definition["num_classes"],
        in_chans=definition["in_chans"],
        stem_size=definition["stem_size"],
        fix_stem=True,
        num_features=definition["num_features"],
        head_bias=False,
        act_layer=nn.Hardswish,
        norm_layer=nn.BatchNorm2d,
        se_layer=partial(
            SqueezeExcite,
            gate_layer="hard_sigmoid",
            force_act_layer=nn.ReLU,
            rd_round_fn=round_channels,
        ),
        drop_rate=drop_rate,
        drop_path_rate=drop_path_rate,
    )
    set_stem_stride(network, definition["stem_stride"])
    fuse_batchnorm(network)
    return network


class ResizingNetwork(nn.Module):
    """A network that resizes images to the resolution its architecture decides on.

    Args:
        network: Network that runs on the resized images.
        resolution: Height and width in pixels.
    """

    def __init__(self, network: nn.Module, resolution: int) -> None:
        super().__init__()
        self.network = network
        self.resolution = resolution

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (N, C, H, W) of any size to logits (N, num_classes)."""
        return cast(Tensor, self.network(resize(x, self.resolution)))


def resize(x: Tensor, resolution: int | None) -> Tensor:
    """Resizes images (N, C, H, W) to squares by antialiased bicubic filtering."""
    if resolution is None or x.shape[2:] == (resolution, resolution):
        return x
    return F.interpolate(x, (resolution, resolution), mode="bicubic", antialias=True)


def mobilenetv3_subnet(
    arch: Architecture, *, dropout: float = 0.0, drop_path: float = 0.0, **settings: Any
) -> nn.Module:
    """Builds the stand-alone network of ``arch`` with fresh weights.

    Args:
        arch: The architecture.
        dropout: Rate before the classifier.
        drop_path: Rate of the last block.
        **settings: Arguments of ``MobileNetV3Supernet``, as of ``timm_definition``.

    Returns:
        timm's ``MobileNetV3``; within a ``ResizingNetwork`` where the resolution is a decision.
    """
    definition = timm_definition(arch, **settings)
    network = timm_network(definition, drop_rate=dropout, drop_path_rate=drop_path)
    resolution = MobileNetV3Space(settings.get("resolutions", ())).resolution(arch)
    return network if resolution is None else ResizingNetwork(network, resolution)
