"""A subnet of elastic ResNet-50D in the form of timm's own folders.

``config.json`` names an entry of timm's registry and its arguments. No entry of timm 1.0.31 can
hold any subnet of the space: timm's deep stem has three convolutions and no skip, where a subnet
has two, or three with a skip around the second; and timm's bottlenecks are all as wide inside by
one ratio, where these have a ratio each. The class, its bottlenecks and the way through them are
timm's, though, and ``load_with_timm.py`` beside ``config.json`` registers an entry that builds
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from supernets.export.timm_files import pretrained_cfg, write_config
from supernets.networks.resnet50d_subnet import timm_definition
from supernets.spaces import Architecture

#: Copied as ``load_with_timm.py``.
_LOADER = "load_resnet50d_with_timm.py"


def write_timm_resnet50d_files(
    folder: Path,
    arch: Architecture,
    input_size: Sequence[int],
    *,
    settings: Mapping[str, Any],
    data: Mapping[str, Any],
) -> dict[str, Any]:
    """Writes ``config.json`` and ``load_with_timm.py``; the weights are the folder's.

    Args:
        folder: An existing folder, with the weights in a file of safetensors.
        arch: An architecture of space ``"resnet50d"``.
        input_size: Channels, height and width of the images.
        settings: Settings of the supernet.
        data: As of ``write_timm_files`` of ``timm_files``.

    Returns:
        ``timm_alone``, which is False.
    """
    definition = timm_definition(arch, **settings)
    num_classes = definition.pop("num_classes")
    del definition["in_chans"]  # follows from input_size
    config = {
        "architecture": "paceline_resnet50d",
        "num_classes": num_classes,
        "num_features": definition["channels"][-1],
        "global_pool": "avg",
        "model_args": definition,
        "pretrained_cfg": {
            **pretrained_cfg(num_classes, input_size, data),
            "first_conv": "conv1.conv1",
            "classifier": "fc",
        },
    }
    write_config(folder, config, Path(__file__).with_name(_LOADER))
    return {"timm_alone": False}
