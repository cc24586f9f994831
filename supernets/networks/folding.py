"""BatchNorm folded into the convolutions before it, for networks that only run in eval mode."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from supernets.networks.batchnorm import BatchNorm2d


def can_fold_batchnorm(network: nn.Module) -> bool:
    """Returns whether a network has BatchNorm, all of it with running statistics."""
    norms = [child for child in network.modules() if isinstance(child, nn.BatchNorm2d)]
    return bool(norms) and all(norm.running_mean is not None for norm in norms)


@torch.no_grad()
def fold_batchnorm(network: nn.Module, images: Tensor) -> nn.Module:
    """Copies a network with every BatchNorm folded into the convolution whose output it reads.

    Which these are is seen in one pass over images. A BatchNorm stays as it is where its input is
    not what exactly one convolution gave, where another layer reads that too, or where one of the
    two is used more than once. What is not a layer is not seen: a convolution's output that, say,
    is also added to something later gives other logits, so compare them.

    Args:
        network: Network in eval mode; only read.
        images: Some images (N, C, H, W), on its device.

    Returns:
        The copy, in eval mode; it cannot be trained.
    """
    folded = copy.deepcopy(network)
    for pair in _pairs(folded, images):
        conv, norm = copy.deepcopy(pair.conv).double(), copy.deepcopy(pair.norm).double()
        wide = fuse_conv_bn_eval(conv, norm)  # rounded once, from float64
        fused = wide.to(pair.conv.weight.dtype)
        activation = _activation(pair.norm)
        assert activation is not None
        _replace(folded, pair.conv, fused)
        _replace(folded, pair.norm, _Folded(activation))
    return folded.eval()


class _Pair(NamedTuple):
    conv: nn.Conv2d
    norm: nn.BatchNorm2d


class _Folded(nn.Module):
    """What is left of a BatchNorm that was folded: the activation it computes, if any."""

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.act = act

    def forward(self, x: Tensor, *, activation: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Maps (N, C, H, W) to the same shape."""
        out: Tensor = self.act(x)
        return out if activation is None else activation(out)


def _activation(norm: nn.BatchNorm2d) -> nn.Module | None:
    """The layers that a BatchNorm applies to what it normalised; None for a class not known."""
    if type(norm) in (nn.BatchNorm2d, BatchNorm2d):
        return nn.Identity()
    children = dict(norm.named_children())
    if children.keys() == {"drop", "act"}:  # timm's BatchNormAct2d
        return nn.Sequential(children["drop"], children["act"])
    return None


def _pairs(network: nn.Module, images: Tensor) -> list[_Pair]:
    """Runs a network once and returns its convolutions with the BatchNorm that reads each."""
    names = Counter(id(child) for _, child in network.named_modules(remove_duplicate=False))
    norms: list[tuple[nn.BatchNorm2d, Tensor]] = []
    convs: dict[int, nn.Conv2d] = {}  # by the identity of their output
    readers: Counter[int] = Counter()  # of a tensor, by its identity
    calls: Counter[int] = Counter()
    kept: list[Any] = []  # so that no identity is given twice

    def note(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        kept.append((inputs, output))
        calls[id(layer)] += 1
        readers.update({id(each) for each in inputs if isinstance(each, Tensor)})
        if isinstance(layer, nn.Conv2d):
            convs[id(output)] = layer
        elif isinstance(layer, nn.BatchNorm2d):
            norms.append((layer, inputs[0]))

    layers = [
        child
        for child in network.modules()
        if isinstance(child, nn.BatchNorm2d) or next(child.children(), None) is None
    ]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return [
        _Pair(convs[id(x)], norm)
        for norm, x in norms
        if id(x) in convs
        and readers[id(x)] == 1
        and all(calls[id(part)] == 1 == names[id(part)] for part in (convs[id(x)], norm))
        and isinstance(convs[id(x)]._parameters.get("weight"), nn.Parameter)
        and convs[id(x)].out_channels == norm.num_features
        and norm.running_mean is not None
        and _activation(norm) is not None
    ]


def _replace(network: nn.Module, old: nn.Module, new: nn.Module) -> None:
    name = next(name for name, child in network.named_modules() if child is old)
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, new)
