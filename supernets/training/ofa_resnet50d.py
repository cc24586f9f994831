"""Reads the released weights of OFA-ResNet50, and gives ours the names they have there.

Paper: Once for All: Train One Network and Specialize it for Efficient Deployment,
https://arxiv.org/abs/1908.09791
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from supernets.networks.resnet50d import ResNet50DSupernet
from supernets.networks.resnet50d_subnet import STRIDES, WIDTH_STEP, scaled_channels
from supernets.spaces.resnet50d import PLACE_OF, STAGE_OF
from supernets.training.released_files import Released
from supernets.training.released_weights import NamedWeights, ReleasedNetwork, names_of_tensors

#: Names of the parts of a bottleneck, and what the released files call them.
_BLOCK_NAMES = {
    "conv1": "conv1.conv.conv",
    "bn1": "conv1.bn.bn",
    "conv2": "conv2.conv.conv",
    "bn2": "conv2.bn.bn",
    "conv3": "conv3.conv.conv",
    "bn3": "conv3.bn.bn",
    "downsample.1": "downsample.conv.conv",
    "downsample.2": "downsample.bn.bn",
}
#: The same for everything else.
_OTHER_NAMES = {
    "conv1.conv1": "input_stem.0.conv.conv",
    "conv1.bn1": "input_stem.0.bn.bn",
    "conv1.layer.conv": "input_stem.1.conv.conv.conv",
    "conv1.layer.bn": "input_stem.1.conv.bn.bn",
    "conv1.conv2": "input_stem.2.conv.conv",
    "bn1": "input_stem.2.bn.bn",
    "fc": "classifier.linear.linear",
}
_EXPECTED = (
    "expected a released OFA-ResNet50: the elastic network, or the static full one "
    "(depth 2, expansion 0.35, width 1.0)"
)


def released_resnet50d(
    released: Released,
    *,
    width: float | None = None,
    num_classes: int | None = None,
    input_size: tuple[int, int, int] = (3, 224, 224),
    strides: Sequence[int] = STRIDES,
) -> ResNet50DSupernet:
    """Builds a supernet from weights such as ``ofa_resnet50_d0-1-2_e0.2-0.25-0.35_w0.65-0.8-1.0``.

    Args:
        released: What ``read_released`` returned.
        width: Multiplier on all widths to insist on; None for the file's.
        num_classes: Number of logits; None for the file's. If they differ, the classifier starts
            afresh.
        input_size: Images as (channels, height, width).
        strides: Strides of the stem and of the pool after it.

    Returns:
        The supernet, on the CPU and in eval mode.

    Raises:
        ValueError: If the weights do not fit.
    """
    with torch.device("meta"):
        names = _ofa_names(ResNet50DSupernet(num_classes=2))
    weights = NamedWeights(released, names, expected=_EXPECTED)
    steps = round(weights.size("bn1.weight") / scaled_channels(1 / WIDTH_STEP).stem[-1])
    found = max(steps, 1) / WIDTH_STEP  # a file of none in between does not fit
    if width is not None and width != found:
        raise ValueError(
            f"{released.path} is of width {found:g}, not {width}; leave the width out, or use the "
            f"file of width {width}."
        )
    supernet = ResNet50DSupernet(
        num_classes=weights.take_classes(num_classes, "fc"),
        width=found,
        input_size=input_size,
        strides=strides,
    )
    weights.load_into(supernet)
    return supernet.eval()


#: What the space of elastic ResNet-50D is started from.
OFA_RESNET50D = ReleasedNetwork(_EXPECTED, released_resnet50d)


def to_ofa_resnet_state_dict(supernet: ResNet50DSupernet) -> dict[str, Tensor]:
    """Returns the tensors, not copied, under the names of the released elastic network."""
    own = supernet.state_dict()
    return {theirs: own[ours] for ours, theirs in _ofa_names(supernet).items()}


def _ofa_names(supernet: ResNet50DSupernet) -> dict[str, str]:
    """What the released elastic network calls each tensor of ``supernet``."""
    modules = dict(_OTHER_NAMES)
    for number, (stage, place) in enumerate(zip(STAGE_OF, PLACE_OF, strict=True)):
        for ours, theirs in _BLOCK_NAMES.items():
            modules[f"layer{stage + 1}.{place}.{ours}"] = f"blocks.{number}.{theirs}"
    return names_of_tensors(supernet, modules)
