"""Loads the ResNet of this folder with timm (1.0.26 or newer) and safetensors alone.

    import runpy
    load = runpy.run_path("FOLDER/load_with_timm.py")["load"]
    network = load()  # in eval mode, with its weights

It is run by its path, so that nothing else in the folder can be imported in place of other modules.
timm's own ``local-dir:`` reads this folder too, once this file has run: no entry of timm takes a
stem of two convolutions or bottlenecks that differ inside, so this file registers one that does.

    import timm
    network = timm.create_model("local-dir:FOLDER", pretrained=True)
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import timm
from timm.models import ResNet, build_model_with_cfg, register_model
from timm.models.resnet import Bottleneck
from torch import Tensor, nn


def load(folder: str | Path = Path(__file__).parent) -> nn.Module:
    """Loads the network of ``folder`` with its weights, on the CPU and in eval mode.

    (N, C, H, W) images, normalised with the mean and std of its ``pretrained_cfg``, to
    (N, num_classes) logits.
    """
    network: nn.Module = timm.create_model(f"local-dir:{folder}", pretrained=True)
    _check_finite(network)
    return network.eval()


def paceline_resnet50d(
    pretrained: bool = False,
    *,
    stem_channels: list[int],
    has_stem_layer: bool,
    channels: list[int],
    mid_channels: list[list[int]],
    strides: list[int],
    **kwargs: Any,
) -> nn.Module:
    """Builds timm's ``ResNet`` of bottlenecks that differ, after a stem of its own.

    Args:
        pretrained: Whether to load the weights that ``pretrained_cfg`` names.
        stem_channels: Channels inside the stem, and those that it puts out.
        has_stem_layer: Whether the stem has a convolution with a skip between its two.
        channels: Channels that each stage puts out.
        mid_channels: Channels inside each bottleneck of each stage.
        strides: Strides of the stem and of the pool after it; a pool of stride 1 is left out.
        **kwargs: Further arguments of timm's ``ResNet``.
    """

    def build(**arguments: Any) -> ResNet:
        inner, stem = stem_channels
        inputs = [stem, *channels[:-1]]
        network = ResNet(
            tuple(_Stage(width, mids) for width, mids in zip(inputs, mid_channels, strict=True)),
            [len(mids) for mids in mid_channels],
            channels=channels,
            zero_init_last=False,
            **arguments,
        )
        parts: list[tuple[str, nn.Module]] = [
            ("conv1", nn.Conv2d(network.in_chans, inner, 3, strides[0], 1, bias=False)),
            ("bn1", nn.BatchNorm2d(inner)),
            ("act1", nn.ReLU(inplace=True)),
            ("layer", _StemLayer(inner)),
            ("conv2", nn.Conv2d(inner, stem, 3, padding=1, bias=False)),
        ]
        network.conv1 = nn.Sequential(
            OrderedDict((name, part) for name, part in parts if has_stem_layer or name != "layer")
        )
        network.bn1 = nn.BatchNorm2d(stem)
        network.feature_info[0]["num_chs"] = stem
        if strides[1] == 1:
            network.maxpool = nn.Identity()
        return network

    network: nn.Module = build_model_with_cfg(build, "paceline_resnet50d", pretrained, **kwargs)
    return network


class _StemLayer(nn.Module):
    """A convolution around which there is a skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to the same shape."""
        out: Tensor = x + self.bn(self.conv(x)).relu()
        return out


class _Bottleneck(Bottleneck):  # type: ignore[misc]
    """timm's, whose ``planes`` are the channels that it puts out."""

    expansion = 1


class _Stage:
    """Builds the bottlenecks of a stage one after another, where timm has one class for all."""

    expansion = 1

    def __init__(self, in_channels: int, mids: list[int]) -> None:
        self.in_channels, self.mids = in_channels, iter(mids)
        self.is_first = True

    def __call__(
        self, inplanes: int, planes: int, stride: int, downsample: Any, **arguments: Any
    ) -> _Bottleneck:
        """Builds the next one; called by timm."""
        if self.is_first:
            inplanes = self.in_channels
            pool = nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False)
            downsample = nn.Sequential(
                nn.Identity() if stride == 1 else pool,
                nn.Conv2d(inplanes, planes, 1, bias=False),
                nn.BatchNorm2d(planes),
            )
        self.is_first = False
        # timm rounds the product down
        base_width = 64 * (next(self.mids) + 0.5) / planes
        return _Bottleneck(
            inplanes, planes, stride, downsample, **{**arguments, "base_width": base_width}
        )


def _check_finite(network: Any) -> None:
    """Refuses weights and statistics that are NaN or infinite.

    Raises:
        ValueError: If there are any; the message names the file and the tensor.
    """
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            folder = network.pretrained_cfg.get("file") or "."
            raise ValueError(
                f"{Path(folder) / 'weights.safetensors'}: {name} has values that are NaN "
                "or infinite; the file is damaged or its training has diverged, use another."
            )


if not timm.is_model("paceline_resnet50d"):  # the files of all folders register the same
    register_model(paceline_resnet50d)
