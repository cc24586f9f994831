"""Ordinary layers that take as many inputs as come, with the first of their weights.

They are what follows an elastic width in a marked network; see ``marks``.
"""

from __future__ import annotations

import abc
import copy
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


class Sliced(abc.ABC):
    """A layer that takes as many inputs as come; mixed into the layers of marked networks."""

    #: How many inputs came last, for ``sliced``.
    num_inputs: int

    @abc.abstractmethod
    def run(self, x: Tensor, num_outputs: int | None = None) -> Tensor:
        """Computes the first ``num_outputs`` outputs, all if None."""

    @abc.abstractmethod
    def sliced(self, num_outputs: int | None = None) -> nn.Module:
        """Builds an ordinary layer with the weights that ran last."""


def _part(tensor: Tensor | None, *sizes: int) -> Tensor | None:
    """The first of a tensor's entries; the tensor itself where these are all."""
    if tensor is None or tuple(tensor.shape[: len(sizes)]) == sizes:
        return tensor
    return tensor[tuple(slice(size) for size in sizes)]


def _plain(layer: nn.Module, kind: type[nn.Module], **sizes: Any) -> nn.Module:
    """A copy of a layer's settings as an ordinary one of other sizes, without weights."""
    plain = kind.__new__(kind)
    plain.__dict__ = {**attributes_of(layer), **sizes}
    plain.__dict__.pop("num_inputs", None)
    return plain


def attributes_of(module: nn.Module) -> dict[str, Any]:
    """Returns the attributes of a module without weights and modules; hooks are the copy's own."""
    copied = {k: copy.copy(v) if isinstance(v, dict | set) else v for k, v in vars(module).items()}
    return {**copied, "_parameters": {}, "_buffers": {}, "_modules": {}}


def _own(plain: nn.Module, name: str, like: Tensor | None, *sizes: int) -> None:
    """Gives a layer its part of a weight or a buffer."""
    part = _part(like, *sizes)
    if isinstance(like, nn.Parameter):
        assert part is not None
        value = nn.Parameter(part.detach().clone(), requires_grad=like.requires_grad)
        plain.register_parameter(name, value)
    elif part is None:
        plain._parameters[name] = None
    else:
        plain.register_buffer(name, part.detach().clone())


class SlicedConv2d(nn.Conv2d, Sliced):
    """A convolution that takes as many channels as come; depthwise ones give as many."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolves (N, C, H, W) with the weights of C inputs."""
        return self.run(x)

    def run(self, x: Tensor, num_outputs: int | None = None) -> Tensor:
        """Computes the first ``num_outputs`` channels, all if None."""
        self.num_inputs = x.shape[1]
        weight, bias, groups = self._weights(num_outputs)
        if self.padding_mode != "zeros":
            x = F.pad(x, self._reversed_padding_repeated_twice, self.padding_mode)
            return F.conv2d(x, weight, bias, self.stride, 0, self.dilation, groups)
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, groups)

    def _weights(self, num_outputs: int | None) -> tuple[Tensor, Tensor | None, int]:
        if self.groups == 1:
            outputs, inputs, groups = num_outputs or self.out_channels, self.num_inputs, 1
        else:  # of the same channels per group as there are
            per_group = self.in_channels // self.groups
            groups, rest = divmod(self.num_inputs, per_group)
            if rest:
                raise ValueError(
                    f"A convolution of groups of {per_group} channels cannot take "
                    f"{self.num_inputs}; choose widths that are multiples."
                )
            outputs, inputs = self.out_channels // self.groups * groups, per_group
        weight = _part(self.weight, outputs, inputs)
        assert weight is not None
        return weight, _part(self.bias, outputs), groups

    def sliced(self, num_outputs: int | None = None) -> nn.Module:
        """Builds an ordinary convolution with the weights that ran last."""
        weight, bias, groups = self._weights(num_outputs)
        sizes = {"in_channels": self.num_inputs, "out_channels": len(weight), "groups": groups}
        plain = _plain(self, nn.Conv2d, **sizes)
        _own(plain, "weight", self.weight, *weight.shape[:2])
        _own(plain, "bias", self.bias, len(weight))
        return plain


class SlicedLinear(nn.Linear, Sliced):
    """A linear layer that takes as many features as come."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps (…, C) with the weights of C inputs."""
        return self.run(x)

    def run(self, x: Tensor, num_outputs: int | None = None) -> Tensor:
        """Computes the first ``num_outputs`` features, all if None."""
        self.num_inputs = x.shape[-1]
        outputs = num_outputs or self.out_features
        weight = _part(self.weight, outputs, self.num_inputs)
        assert weight is not None
        return F.linear(x, weight, _part(self.bias, outputs))

    def sliced(self, num_outputs: int | None = None) -> nn.Module:
        """Builds an ordinary linear layer with the weights that ran last."""
        outputs = num_outputs or self.out_features
        sizes = {"in_features": self.num_inputs, "out_features": outputs}
        plain = _plain(self, nn.Linear, **sizes)
        _own(plain, "weight", self.weight, outputs, self.num_inputs)
        _own(plain, "bias", self.bias, outputs)
        return plain


class SlicedBatchNorm2d(nn.BatchNorm2d, Sliced):
    """BatchNorm of as many channels as come; running statistics of the others stay."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes (N, C, H, W)."""
        return self.run(x)

    def run(self, x: Tensor, num_outputs: int | None = None) -> Tensor:
        """Normalizes with the statistics and weights of the channels that come."""
        self.num_inputs = x.shape[1]
        if self.num_inputs == self.num_features:
            return super().forward(x)
        factor = 0.0 if self.momentum is None else self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                factor = 1.0 / float(self.num_batches_tracked)
        return F.batch_norm(
            x,
            _part(self.running_mean, self.num_inputs),
            _part(self.running_var, self.num_inputs),
            _part(self.weight, self.num_inputs),
            _part(self.bias, self.num_inputs),
            self.training or self.running_mean is None,
            factor,
            self.eps,
        )

    def sliced(self, num_outputs: int | None = None) -> nn.Module:
        """Builds an ordinary BatchNorm of the channels that came last."""
        plain = _plain(self, nn.BatchNorm2d, num_features=self.num_inputs)
        for name in ("weight", "bias", "running_mean", "running_var"):
            _own(plain, name, getattr(self, name), self.num_inputs)
        _own(plain, "num_batches_tracked", self.num_batches_tracked)
        return plain


class SlicedLayerNorm(nn.LayerNorm, Sliced):
    """LayerNorm over as many features as come, of the last dimension."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes (…, C)."""
        return self.run(x)

    def run(self, x: Tensor, num_outputs: int | None = None) -> Tensor:
        """Normalizes with the weights of the features that come."""
        self.num_inputs = x.shape[-1]
        weight, bias = (_part(each, self.num_inputs) for each in (self.weight, self.bias))
        return F.layer_norm(x, (self.num_inputs,), weight, bias, self.eps)

    def sliced(self, num_outputs: int | None = None) -> nn.Module:
        """Builds an ordinary LayerNorm of the features that came last."""
        plain = _plain(self, nn.LayerNorm, normalized_shape=(self.num_inputs,))
        _own(plain, "weight", self.weight, self.num_inputs)
        _own(plain, "bias", self.bias, self.num_inputs)
        return plain


#: What becomes of the layers of a network with an elastic width.
SLICED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: SlicedConv2d,
    nn.Linear: SlicedLinear,
    nn.BatchNorm2d: SlicedBatchNorm2d,
    nn.LayerNorm: SlicedLayerNorm,
}
