"""Subnets of elastic ResNet-50D as timm's own ``ResNet``.

Papers: Once for All: Train One Network and Specialize it for Efficient Deployment,
https://arxiv.org/abs/1908.09791; Bag of Tricks for Image Classification with Convolutional Neural
Networks, https://arxiv.org/abs/1812.01187

The class, its bottlenecks and its way through them are timm's. No arguments of timm's say what a
subnet is: its deep stem always has three convolutions and no skip, and bottlenecks of a stage are
all as wide inside. Therefore bottlenecks are handed to it with the widths of their own, and the
stem is put in its place after building.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import torch.nn.functional as F
from timm.layers import make_divisible
from timm.models import ResNet
from torch import Tensor, nn

from supernets.runtime.private_names import ResNetBottleneck
from supernets.spaces import Architecture, ResNet50DSpace
from supernets.spaces.resnet50d import EXPANDS, STEM_WIDTHS, WIDTHS

#: Strides of the stem and of the pool after it.
STRIDES = (2, 2)
#: Strides of the stages.
STAGE_STRIDES = (1, 2, 2, 2)
#: Channels are whole for multipliers that are a multiple of one eighth, as they are of 8.
WIDTH_STEP = 8
_STEM, _STAGES = 64, (256, 512, 1024, 2048)


class Channels(NamedTuple):
    """Channels of every option."""

    inner: tuple[int, ...]  # by index of STEM_WIDTHS
    stem: tuple[int, ...]  # by index of WIDTHS
    stages: tuple[tuple[int, ...], ...]  # (stages, WIDTHS)
    mids: tuple[tuple[tuple[int, ...], ...], ...]  # (stages, WIDTHS, EXPANDS)


def scaled_channels(width: float) -> Channels:
    """Returns the channels of OFA's networks, which are multiples of 8, times a multiplier.

    Args:
        width: A multiple of one eighth.
    """

    def rounded(channels: float) -> int:
        whole: int = make_divisible(channels, WIDTH_STEP)
        return whole

    def scaled(channels: int) -> int:
        return int(channels * width)

    stem = {percent: rounded(_STEM * percent / 100) for percent in WIDTHS}
    stages = [[rounded(channels * percent / 100) for percent in WIDTHS] for channels in _STAGES]
    return Channels(
        tuple(scaled(rounded(stem[percent] // 2)) for percent in STEM_WIDTHS),
        tuple(scaled(channels) for channels in stem.values()),
        tuple(tuple(scaled(channels) for channels in stage) for stage in stages),
        tuple(
            tuple(
                tuple(scaled(rounded(round(channels * percent / 100))) for percent in EXPANDS)
                for channels in stage
            )
            for stage in stages
        ),
    )


def timm_definition(
    arch: Architecture,
    *,
    num_classes: int,
    width: float = 1.0,
    input_size: tuple[int, int, int] = (3, 224, 224),
    strides: Sequence[int] = STRIDES,
) -> dict[str, Any]:
    """Returns what ``timm_network`` builds the network of ``arch`` from, in plain types.

    The arguments are those of ``ResNet50DSupernet``.
    """
    space = ResNet50DSpace()
    space.validate(arch)
    channels = scaled_channels(width)
    inner, stem = space.stem_choices(arch)
    stages = space.stages(arch)
    return {
        "in_chans": input_size[0],
        "num_classes": num_classes,
        "stem_channels": [channels.inner[inner], channels.stem[stem]],
        "has_stem_layer": space.has_stem_layer(arch),
        "channels": [
            options[stage.width] for options, stage in zip(channels.stages, stages, strict=True)
        ],
        "mid_channels": [
            [options[stage.width][expand] for expand in stage.expands]
            for options, stage in zip(channels.mids, stages, strict=True)
        ],
        "strides": list(strides),
    }


def timm_network(
    definition: Mapping[str, Any], *, drop_rate: float = 0.0, drop_path_rate: float = 0.0
) -> ResNet:
    """Builds timm's ``ResNet``; (N, C, H, W) images to (N, num_classes) logits.

    Args:
        definition: What ``timm_definition`` returned.
        drop_rate: Rate of dropout before the classifier.
        drop_path_rate: Rate of the last bottleneck, from 0 of the first on.
    """
    channels, mids = definition["channels"], definition["mid_channels"]
    inner, stem = definition["stem_channels"]
    inputs = [stem, *channels[:-1]]
    network = ResNet(
        tuple(_Stage(width, of_stage) for width, of_stage in zip(inputs, mids, strict=True)),
        [len(of_stage) for of_stage in mids],
        num_classes=definition["num_classes"],
        in_chans=definition["in_chans"],
        channels=channels,
        zero_init_last=False,
        drop_rate=drop_rate,
        drop_path_rate=drop_path_rate,
    )
    network.conv1 = deep_stem(
        definition["in_chans"],
        inner,
        stem,
        stride=definition["strides"][0],
        has_layer=definition["has_stem_layer"],
    )
    network.bn1 = nn.BatchNorm2d(stem)
    if definition["strides"][1] == 1:
        network.maxpool = nn.Identity()
    network.feature_info[0]["num_chs"] = stem
    start_convolutions(network.conv1)
    return network


class StemLayer(nn.Module):
    """The optional convolution of the stem, around which there is a skip."""

    def __init__(self, channels: int, norm: Callable[[int], nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn = norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to the same shape."""
        return x + F.relu(cast(Tensor, self.bn(self.conv(x))), inplace=True)


def deep_stem(
    in_channels: int,
    inner: int,
    channels: int,
    *,
    stride: int,
    has_layer: bool,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
) -> nn.Sequential:
    """Builds the stem up to its last convolution, whose BatchNorm is the network's ``bn1``."""
    parts: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(in_channels, inner, 3, stride, 1, bias=False)),
        ("bn1", norm(inner)),
        ("act1", nn.ReLU(inplace=True)),
        ("layer", StemLayer(inner, norm)),
        ("conv2", nn.Conv2d(inner, channels, 3, padding=1, bias=False)),
    ]
    return nn.Sequential(
        OrderedDict((name, part) for name, part in parts if has_layer or name != "layer")
    )


def start_convolutions(module: nn.Module) -> None:
    """Draws the weights of convolutions as timm's ``ResNet`` does, by their fan-out."""
    for child in module.modules():
        if isinstance(child, nn.Conv2d):
            nn.init.kaiming_normal_(child.weight, mode="fan_out", nonlinearity="relu")


class _Bottleneck(ResNetBottleneck):  # type: ignore[misc]
    """timm's, whose ``planes`` are the channels that it puts out."""

    expansion = 1


class _Stage:
    """Builds the bottlenecks of a stage one after another, where timm has one class for all.

    Args:
        in_channels: Channels of the images that the first one reads.
        mids: Channels inside each.
    """

    expansion = 1

    def __init__(self, in_channels: int, mids: Sequence[int]) -> None:
        self.in_channels, self.mids = in_channels, iter(mids)
        self.is_first = True

    def __call__(
        self, inplanes: int, planes: int, stride: int, downsample: Any, **arguments: Any
    ) -> _Bottleneck:
        """Builds the next one; called by timm."""
        if self.is_first:
            inplanes = self.in_channels
            pool = nn.Identity() if stride == 1 else average_pool(stride)
            conv = nn.Conv2d(inplanes, planes, 1, bias=False)
            downsample = nn.Sequential(pool, conv, nn.BatchNorm2d(planes))
        self.is_first = False
        # timm rounds the product down
        base_width = 64 * (next(self.mids) + 0.5) / planes
        return _Bottleneck(
            inplanes, planes, stride, downsample, **{**arguments, "base_width": base_width}
        )


#: Halves the sides, rounding up, as timm's and OFA's skips do.
average_pool = partial(nn.AvgPool2d, 2, ceil_mode=True, count_include_pad=False)


def resnet50d_subnet(
    arch: Architecture, *, dropout: float = 0.0, drop_path: float = 0.0, **settings: Any
) -> ResNet:
    """Builds the stand-alone network of ``arch`` with fresh weights.

    Args:
        arch: The architecture.
        dropout: Rate before the classifier.
        drop_path: Rate of the last bottleneck.
        **settings: Arguments of ``ResNet50DSupernet``, as of ``timm_definition``.
    """
    definition = timm_definition(arch, **settings)
    return timm_network(definition, drop_rate=dropout, drop_path_rate=drop_path)
