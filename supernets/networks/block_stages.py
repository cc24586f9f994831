"""What networks of inverted residuals in stages have in common: settings, and costs of blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

#: What the last BatchNorm of a block with a shortcut multiplies by at first.
RESIDUAL_WEIGHT = 0.1
#: All stages together; timm's networks do not halve the image any further.
MAX_STAGE_STRIDE = 16


def inverted_residual_costs(
    channels: tuple[int, int, int], kernel: int, area: int, out_area: int
) -> tuple[int, int]:
    """Counts what an expansion, a depthwise convolution and a projection cost, each with BatchNorm.

    Args:
        channels: Those that come in, those that are convolved, and those that go out.
        kernel: Side of the depthwise convolution.
        area: Pixels that come in.
        out_area: Pixels that go out.

    Returns:
        Parameters, and multiply-accumulates for one image, of which BatchNorm and activations are
        free.

    Example:
        >>> inverted_residual_costs((16, 48, 24), 3, area=64, out_area=16)
        (2592, 74496)
    """
    in_channels, inner, out_channels = channels
    expand, depthwise, project = in_channels * inner, inner * kernel**2, inner * out_channels
    params = expand + depthwise + project + 2 * (2 * inner + out_channels)
    return params, expand * area + (depthwise + project) * out_area


def strided(size: int, stride: int) -> int:
    """Returns the side of the map that a convolution with its kernel's padding makes of a side."""
    return (size - 1) // stride + 1


def set_stem_stride(network: nn.Module, stride: int) -> None:
    """Sets the stride of the stem of a network of timm, which builds all with 2."""
    stem = network.conv_stem
    assert isinstance(stem, nn.Conv2d)
    stem.stride = (stride, stride)


def check_settings(settings: Mapping[str, Any], num_stages: int) -> None:
    """Makes sure that a network can be built of ``num_classes``, ``width`` and so on.

    Args:
        settings: ``num_classes``, ``width``, ``input_size``, ``strides``, and perhaps
            ``resolutions``.
        num_stages: How many stages have a stride beside the stem.

    Raises:
        ValueError: If a number is out of range, or the network reduces an image to less than one
            pixel.
    """
    strides, resolutions = settings["strides"], settings.get("resolutions", ())
    sides = settings["input_size"][1:]
    if settings["num_classes"] < 2:
        raise ValueError(f"num_classes must be at least 2, got {settings['num_classes']}.")
    if not 0 < settings["width"] < math.inf:
        raise ValueError(f"width must be positive, got {settings['width']}.")
    if settings["input_size"][0] < 1:
        raise ValueError(f"input_size must start with the channels, got {settings['input_size']}.")
    if (
        len(strides) != 1 + num_stages
        or not set(strides) <= {1, 2}
        or math.prod(strides[1:]) > MAX_STAGE_STRIDE
    ):
        raise ValueError(
            f"strides must be {1 + num_stages} numbers, each 1 or 2, for the stem and the "
            f"{num_stages} stages, of which four at most have 2, got {list(strides)}."
        )
    if resolutions and sides != (resolutions[-1], resolutions[-1]):
        raise ValueError(
            f"The largest of resolutions {list(resolutions)} must be the size of the images, "
            f"which is {sides[0]}x{sides[1]}; change --image-size or --resolutions."
        )
    total_stride = math.prod(strides)
    smallest = min([*sides, *resolutions])
    if smallest < total_stride:
        raise ValueError(
            f"Images of {smallest} pixels are smaller than the network's total stride of "
            f"{total_stride}; use larger ones, or smaller strides (now {list(strides)})."
        )
