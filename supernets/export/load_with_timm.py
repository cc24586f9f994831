"""Loads the network of this folder with timm (1.0.26 or newer) and safetensors alone.

    import runpy
    load = runpy.run_path("FOLDER/load_with_timm.py")["load"]
    network = load()  # in eval mode, with its weights

It is run by its path, so that nothing else in the folder can be imported in place of other modules.
timm's own ``local-dir:`` reads this folder too, once this file has run: no entry of timm takes the
blocks of a network as an argument, so this file registers one that does.

    import timm
    network = timm.create_model("local-dir:FOLDER", pretrained=True)
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import timm
from timm.models import build_model_with_cfg, register_model
from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models._efficientnet_builder import decode_arch_def, round_channels
from timm.models.mobilenetv3 import MobileNetV3
from torch import nn


def load(folder: str | Path = Path(__file__).parent) -> nn.Module:
    """Loads the network of ``folder`` with its weights, on the CPU and in eval mode.

    (N, C, H, W) images, normalised with the mean and std of its ``pretrained_cfg``, to
    (N, num_classes) logits.
    """
    network: nn.Module = timm.create_model(f"local-dir:{folder}", pretrained=True)
    return network.eval()


def paceline_mobilenetv3(
    pretrained: bool = False,
    *,
    arch_def: list[list[str]],
    stem_size: int,
    num_features: int,
    stem_stride: int = 2,
    **kwargs: Any,
) -> nn.Module:
    """Builds timm's ``MobileNetV3`` of any blocks.

    Args:
        pretrained: Whether to load the weights that ``pretrained_cfg`` names.
        arch_def: Blocks of each stage in timm's notation.
        stem_size: Channels of the stem.
        num_features: Channels that the classifier sees.
        stem_stride: Stride of the stem; anything but timm's 2 is set after building.
        **kwargs: Further arguments of timm's ``MobileNetV3``.
    """

    def build(**arguments: Any) -> Any:
        network = MobileNetV3(**arguments)
        network.conv_stem.stride = (stem_stride, stem_stride)
        return network

    network: nn.Module = build_model_with_cfg(
        build,
        "paceline_mobilenetv3",
        pretrained,
        block_args=decode_arch_def(arch_def),
        stem_size=stem_size,
        fix_stem=True,
        num_features=num_features,
        head_bias=False,
        act_layer=nn.Hardswish,
        norm_layer=nn.BatchNorm2d,
        se_layer=partial(
            SqueezeExcite,
            gate_layer="hard_sigmoid",
            force_act_layer=nn.ReLU,
            rd_round_fn=round_channels,
        ),
        **kwargs,
    )
    if pretrained:
        _check_finite(network)
    return network


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


if not timm.is_model("paceline_mobilenetv3"):  # the files of all folders register the same
    register_model(paceline_mobilenetv3)
