"""Reads the released weights of OFA-MobileNetV3, and gives ours the names they have there.

Paper: Once for All: Train One Network and Specialize it for Efficient Deployment,
https://arxiv.org/abs/1908.09791
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.networks.mobilenetv3_subnet import Widths, scaled_widths
from supernets.spaces.mobilenetv3 import MAX_DEPTH, NUM_STAGES
from supernets.training.released_files import Released, read_released
from supernets.training.released_weights import NamedWeights, ReleasedNetwork, names_of_tensors

_logger = logging.getLogger(__name__)

#: Names of the parts of an elastic block, and what the released files call them.
_BLOCK_NAMES = {
    "conv_pw": "inverted_bottleneck.conv.conv",
    "bn1": "inverted_bottleneck.bn.bn",
    "conv_dw": "depth_conv.conv.conv",
    "kernel_transforms.5": "depth_conv.conv.7to5_matrix",
    "kernel_transforms.3": "depth_conv.conv.5to3_matrix",
    "bn2": "depth_conv.bn.bn",
    "se.conv_reduce": "depth_conv.se.fc.reduce",
    "se.conv_expand": "depth_conv.se.fc.expand",
    "conv_pwl": "point_linear.conv.conv",
    "bn3": "point_linear.bn.bn",
}
#: The same for everything else.
_OTHER_NAMES = {
    "conv_stem": "first_conv.conv",
    "bn1": "first_conv.bn",
    "blocks.0.0.conv_dw": "blocks.0.conv.depth_conv.conv",
    "blocks.0.0.bn1": "blocks.0.conv.depth_conv.bn",
    "blocks.0.0.conv_pw": "blocks.0.conv.point_linear.conv",
    "blocks.0.0.bn2": "blocks.0.conv.point_linear.bn",
    f"blocks.{NUM_STAGES + 1}.0.conv": "final_expand_layer.conv",
    f"blocks.{NUM_STAGES + 1}.0.bn1": "final_expand_layer.bn",
    "conv_head": "feature_mix_layer.conv",
    "classifier": "classifier.linear",
}
_EXPECTED = (
    "expected a released OFA-MobileNetV3: the elastic network, or the static full one "
    "(depth 4, expansion 6, kernel 7)"
)


def load_ofa_checkpoint(
    path: str | Path,
    *,
    weights: str = "ema",
    width: float | None = None,
    num_classes: int | None = None,
    input_size: tuple[int, int, int] = (3, 224, 224),
    resolutions: Sequence[int] = (),
) -> MobileNetV3Supernet:
    """Builds a supernet from a file such as ``ofa_mbv3_d234_e346_k357_w1.0``.

    The file holds a state dict of the elastic network or of the static full one, in any of the
    namings that were in use: alone or as ``state_dict``, ``model`` and the like, of PyTorch or
    safetensors. Where averaged weights (``state_dict_ema``, ``model_ema``, ``ema``) stand beside
    raw ones they are taken unless the others are asked for, and the log says so. A static network
    has no matrices for the smaller kernels; they are left at the identity. Files without
    BatchNorm's ``num_batches_tracked`` do, as nothing depends on it.

    Args:
        path: The file.
        weights: Which to take where a file has both, one of ``OFA_WEIGHTS``.
        width: Multiplier on all widths to insist on; None for the file's.
        num_classes: Number of logits; None for the file's. If they differ, the classifier starts
            afresh.
        input_size: Images as (channels, height, width).
        resolutions: Sides to search and train at, the largest being that of ``input_size``.

    Returns:
        The supernet, on the CPU and in eval mode.

    Raises:
        ValueError: If the file is missing, truncated, foreign, or does not fit, has a value that is
            NaN or infinite, or lacks the raw weights that were asked for.
    """
    return released_supernet(
        read_released(Path(path), weights, expected=_EXPECTED),
        width=width,
        num_classes=num_classes,
        input_size=input_size,
        resolutions=resolutions,
    )


def released_supernet(
    released: Released,
    *,
    width: float | None = None,
    num_classes: int | None = None,
    input_size: tuple[int, int, int] = (3, 224, 224),
    resolutions: Sequence[int] = (),
) -> MobileNetV3Supernet:
    """Builds a supernet from weights that were read; the rest as ``load_ofa_checkpoint``.

    Raises:
        ValueError: If the weights do not fit.
    """
    with torch.device("meta"):
        names = _ofa_names(MobileNetV3Supernet(num_classes=2))
    transforms = {ours for ours in names if ".kernel_transforms." in ours}
    weights = NamedWeights(released, names, optional=transforms, expected=_EXPECTED)
    if weights.lacks_optional:
        _logger.info("%s holds no kernel transforms: they are the identity.", released.path)
    supernet = MobileNetV3Supernet(
        num_classes=weights.take_classes(num_classes, "classifier"),
        width=_width(weights, width),
        input_size=input_size,
        resolutions=resolutions,
    )
    weights.load_into(supernet)
    return supernet.eval()


#: What the space of elastic MobileNetV3 is started from.
OFA_MOBILENETV3 = ReleasedNetwork(_EXPECTED, released_supernet, ("strides", "kernel_transform"))


def to_ofa_state_dict(supernet: MobileNetV3Supernet) -> dict[str, Tensor]:
    """Returns the tensors, not copied, under the names of the released elastic networks."""
    own = supernet.state_dict()
    return {theirs: own[ours] for ours, theirs in _ofa_names(supernet).items()}


def _ofa_names(supernet: MobileNetV3Supernet) -> dict[str, str]:
    """What the released elastic networks call each tensor of ``supernet``."""
    modules = dict(_OTHER_NAMES)
    for stage in range(NUM_STAGES):
        for block in range(MAX_DEPTH):
            for ours, theirs in _BLOCK_NAMES.items():
                number = 1 + stage * MAX_DEPTH + block
                modules[f"blocks.{1 + stage}.{block}.{ours}"] = f"blocks.{number}.conv.{theirs}"
    return names_of_tensors(supernet, modules)


def _width(weights: NamedWeights, wanted: float | None) -> float:
    """The multiplier of fewest decimals that gives the file's widths."""
    path = weights.path
    stages = [f"blocks.{1 + stage}.0.conv_pwl.weight" for stage in range(NUM_STAGES)]
    found = Widths(
        stem=weights.size("conv_stem.weight"),
        stages=tuple(weights.size(name) for name in stages),
        pooled=weights.size(f"blocks.{NUM_STAGES + 1}.0.conv.weight"),
        features=weights.size("conv_head.weight"),
    )
    ratio = found.features / scaled_widths(1.0).features
    candidates = [
        round(multiple / scale, decimals)
        for decimals, scale in ((1, 10), (2, 100), (3, 1000))
        for multiple in range(math.floor((ratio - 0.01) * scale), math.ceil((ratio + 0.01) * scale))
    ]
    fitting = [width for width in candidates if width > 0 and scaled_widths(width) == found]
    if not fitting:
        raise ValueError(
            f"{path} does not fit: no width multiplier gives {found.stem} channels of the stem, "
            f"{list(found.stages)} of the stages, {found.pooled} and {found.features} of the head; "
            f"{_EXPECTED}."
        )
    if wanted is not None and scaled_widths(wanted) != found:
        raise ValueError(
            f"{path} is of width {fitting[0]}, not {wanted}; leave the width out, or use the file "
            f"of width {wanted}."
        )
    return fitting[0] if wanted is None else wanted
