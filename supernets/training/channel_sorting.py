"""Brings the channels that matter most to the front, before narrower blocks train.

Paper: Once for All: Train One Network and Specialize it for Efficient Deployment,
https://arxiv.org/abs/1908.09791

Differs from the authors' code: once some narrower ratio has been trained, the bottleneck of
squeeze-and-excitation is sorted within groups too (there: over all of it), so that the subnets
already trained keep computing what they do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from supernets.networks.elastic import ElasticMBConv, expanded_width, squeezed_width
from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.spaces.mobilenetv3 import EXPANDS


@torch.no_grad()
def sort_channels(supernet: MobileNetV3Supernet, trained_expands: Sequence[int]) -> None:
    """Sorts the expanded channels of every block by importance, in place, largest first.

    A channel's importance is the sum of the absolute weights that project it. Channels move only
    between the widths of two ratios that follow each other in ``trained_expands``, so subnets of
    these ratios compute what they did before, up to rounding. So do those bottlenecks of
    squeeze-and-excitation, whose importance is that of the weights that expand them.

    Args:
        supernet: The supernet to sort; sorting it again changes nothing.
        trained_expands: Expansion ratios trained so far, the largest of the space among them.

    Raises:
        ValueError: If ``trained_expands`` holds other ratios than the space, or not the largest.
    """
    if EXPANDS[-1] not in trained_expands or not set(trained_expands) <= set(EXPANDS):
        raise ValueError(
            f"trained_expands must be {EXPANDS[-1]} and any others of {list(EXPANDS)}, "
            f"got {list(trained_expands)}."
        )
    for module in supernet.modules():
        if isinstance(module, ElasticMBConv):
            in_channels = module.conv_pw.in_channels
            _sort_block(module, [expanded_width(in_channels, e) for e in trained_expands])


def _sort_block(block: ElasticMBConv, widths: Sequence[int]) -> None:
    order = _order(block.conv_pwl.weight, widths)
    _permute([block.conv_pwl.weight], order, dim=1)
    _permute([block.conv_pw.weight, block.conv_dw.weight], order)
    for norm in (block.bn1, block.bn2):
        _permute(_tensors_of(norm), order)
    if block.se is not None:
        reduce, expand = block.se.conv_reduce, block.se.conv_expand
        _permute([reduce.weight], order, dim=1)
        _permute(_tensors_of(expand), order)
        order = _order(expand.weight, [squeezed_width(width) for width in widths])
        _permute([expand.weight], order, dim=1)
        _permute(_tensors_of(reduce), order)


def _order(weight: Tensor, widths: Iterable[int]) -> Tensor:
    """Input channels of a 1x1 convolution, sorted by importance between any two widths."""
    importance = weight.abs().sum((0, 2, 3))  # (in_channels,)
    limits = sorted({0, *widths})
    return torch.cat(
        [
            begin + importance[begin:end].argsort(descending=True, stable=True)
            for begin, end in zip(limits, limits[1:], strict=False)
        ]
    )


def _permute(tensors: Iterable[Tensor], order: Tensor, dim: int = 0) -> None:
    for tensor in tensors:
        tensor.copy_(tensor.index_select(dim, order))


def _tensors_of(module: nn.Module) -> list[Tensor]:
    """Parameters and buffers with one entry per output channel."""
    return [tensor for tensor in module.state_dict().values() if tensor.dim() > 0]
