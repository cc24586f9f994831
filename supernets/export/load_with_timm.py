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
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from torch import nn


def load(folder: str | Path = Path(__file__).parent) -> nn.Module:
    """Loads the network of ``folder`` with its weights, on the CPU and in eval mode.

    (N, C, H, W) images, normalised with the mean and std of its ``pretrained_cfg``, to
    (N, num_classes) logits.
    """
    network: nn.Module = timm.create_model(f"local-dir:{folder}", pretrained=True)
    return network.eval()


def paceline_mobilenetv3(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Builds timm's ``MobileNetV3`` of any blocks.

    Args:
        pretrained: Whether to load the weights that ``pretrained_cfg`` names.
        **kwargs: Arguments of ``_build``, and further ones of timm's ``MobileNetV3``.
    """
    se_layer = partial(
        SqueezeExcite,
        gate_layer="hard_sigmoid",
        force_act_layer=nn.ReLU,
        rd_round_fn=round_channels,
    )
    return _build(
        MobileNetV3,
        "paceline_mobilenetv3",
        pretrained,
        head_bias=False,
        act_layer=nn.Hardswish,
        norm_layer=nn.BatchNorm2d,
        se_layer=se_layer,
        **kwargs,
    )


def paceline_proxylessnas(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Builds timm's ``EfficientNet`` of any blocks, as ProxylessNAS has it.

    Args:
        pretrained: Whether to load the weights that ``pretrained_cfg`` names.
        **kwargs: Arguments of ``_build``, and further ones of timm's ``EfficientNet``.
    """
    return _build(
        EfficientNet,
        "paceline_proxylessnas",
        pretrained,
        act_layer=nn.ReLU6,
        norm_layer=partial(nn.BatchNorm2d, eps=1e-3),
        **kwargs,
    )


def _build(
    network_class: type[nn.Module],
    entry: str,
    pretrained: bool,
    *,
    arch_def: list[list[str]],
    stem_size: int,
    num_features: int,
    stem_stride: int = 2,
    **kwargs: Any,
) -> nn.Module:
    """Builds a network of timm of any blocks.

    Args:
        network_class: timm's class of the network.
        entry: Name in timm's registry.
        pretrained: Whether to load the weights that ``pretrained_cfg`` names.
        arch_def: Blocks of each stage in timm's notation.
        stem_size: Channels of the stem.
        num_features: Channels that the classifier sees.
        stem_stride: Stride of the stem; anything but timm's 2 is set after building.
        **kwargs: Further arguments of timm's class.
    """

    def build(**arguments: Any) -> Any:
        network: Any = network_class(**arguments)
        network.conv_stem.stride = (stem_stride, stem_stride)
        return network

    network: nn.Module = build_model_with_cfg(
        build,
        entry,
        pretrained,
        block_args=decode_arch_def(arch_def),
        stem_size=stem_size,
        fix_stem=True,
        num_features=num_features,
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


for _entry in (paceline_mobilenetv3, paceline_proxylessnas):
    if not timm.is_model(_entry.__name__):  # the files of all folders register the same
        register_model(_entry)
