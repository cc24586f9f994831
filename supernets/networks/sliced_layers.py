"""Ordinary layers that take as many inputs as come, with the first of their weights.

They are what follows an elastic width in a marked network; see ``marks``. A layer keeps its own
computation, also where it is a subclass of PyTorch's: only its weights and sizes are cut for it.
"""

from __future__ import annotations

import abc
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.lazy import LazyModuleMixin

#: Layers whose outputs may be elastic, as may those of their subclasses.
ELASTIC_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


@dataclass(frozen=True)
class Cut:
    """What of a layer is used.

    Args:
        sizes: Attributes that say its sizes.
        tensors: How many entries of the first dimensions, by names of weights and buffers.
    """

    sizes: Mapping[str, Any]
    tensors: Mapping[str, tuple[int, ...]]


class Sliced(abc.ABC):
    """A layer that takes as many inputs as come; mixed into the layers of marked networks."""

    #: How many inputs came last, for ``cut_to``.
    num_inputs: int

    @staticmethod
    @abc.abstractmethod
    def plain_class() -> type[nn.Module]:
        """Returns the class that the layer is of in an ordinary network."""

    @abc.abstractmethod
    def run(self, x: Tensor, num_outputs: int | None = None) -> Tensor:
        """Computes the first ``num_outputs`` outputs, all if None."""

    @abc.abstractmethod
    def cut_to(self, num_outputs: int | None = None) -> Cut:
        """Says what was used for the inputs that came last."""


def follow_inputs(layer: nn.Module) -> nn.Module:
    """Makes a layer take as many inputs as come, if it is of a kind that can, and returns it."""
    # lazy layers have no weights yet, and become another class
    if not isinstance(layer, Sliced | LazyModuleMixin):
        for kind, (cut, dimension_of) in _KINDS.items():
            if isinstance(layer, kind):
                dimension = dimension_of(layer)
                if dimension is not None:
                    layer.__class__ = _sliced_class(type(layer), cut, dimension)
                break
    return layer


def attributes_of(module: nn.Module) -> dict[str, Any]:
    """Returns the attributes of a module without weights and modules; hooks are the copy's own."""
    copied = {k: copy.copy(v) if isinstance(v, dict | set) else v for k, v in vars(module).items()}
    return {**copied, "_parameters": {}, "_buffers": {}, "_modules": {}}


def first_of(tensor: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Returns the first of a tensor's entries; the tensor itself where these are all."""
    if tuple(tensor.shape[: len(sizes)]) == sizes:
        return tensor
    return tensor[tuple(slice(size) for size in sizes)]


#: Classes of ``_sliced_class``, which are the same ones for the same layers.
_CLASSES: dict[tuple[type[nn.Module], _CutOf, int], type[nn.Module]] = {}


def _sliced_class(plain: type[nn.Module], cut: _CutOf, dimension: int) -> type[nn.Module]:
    """A class of layers that compute what ``plain`` does, of as many inputs as come."""
    key = plain, cut, dimension
    if key not in _CLASSES:
        _CLASSES[key] = _new_class(plain, cut, dimension)
    return _CLASSES[key]


def _new_class(plain: type[nn.Module], cut: _CutOf, dimension: int) -> type[nn.Module]:

    class SlicedLayer(plain, Sliced):  # type: ignore[valid-type, misc]
        @staticmethod
        def plain_class() -> type[nn.Module]:
            return plain

        def forward(self, x: Tensor) -> Tensor:
            return self.run(x)

        def run(self, x: Tensor, num_outputs: int | None = None) -> Tensor:
            self.num_inputs = x.shape[dimension]
            used = self.cut_to(num_outputs)
            if all(vars(self)[name] == size for name, size in used.sizes.items()):
                return cast(Tensor, super().forward(x))
            narrow = plain.__new__(plain)
            narrow.__dict__ = {
                **vars(self),
                **used.sizes,
                "_parameters": _cut_tensors(self._parameters, used),
                "_buffers": _cut_tensors(self._buffers, used),
            }
            return cast(Tensor, narrow.forward(x))

        def cut_to(self, num_outputs: int | None = None) -> Cut:
            return cut(self, self.num_inputs, num_outputs)

        def __reduce_ex__(self, protocol: Any) -> Any:
            return _unfilled, (plain, cut, dimension), self.__dict__

    SlicedLayer.__name__ = SlicedLayer.__qualname__ = f"Sliced{plain.__name__}"
    return SlicedLayer


def _unfilled(plain: type[nn.Module], cut: _CutOf, dimension: int) -> nn.Module:
    """A layer without attributes, for copies and pickles."""
    sliced = _sliced_class(plain, cut, dimension)
    return sliced.__new__(sliced)


def _cut_tensors(tensors: Mapping[str, Tensor | None], used: Cut) -> dict[str, Tensor | None]:
    """The parts of tensors that are used, in memory as the extracted layer has them.

    Where the layer computes something of its weights, sums over them are the same bits only so.
    """
    found: dict[str, Tensor | None] = {}
    for name, tensor in tensors.items():
        part = None if tensor is None else first_of(tensor, used.tensors.get(name, ()))
        is_piecemeal = part is not tensor and part is not None and not part.is_contiguous()
        found[name] = part.clone() if part is not None and is_piecemeal else part
    return found


def _cut_convolution(layer: Any, num_inputs: int, num_outputs: int | None) -> Cut:
    if layer.groups == 1:
        outputs, inputs, groups = num_outputs or layer.out_channels, num_inputs, 1
    else:  # of the same channels per group as there are
        groups = _groups(layer, num_inputs, layer.in_channels // layer.groups)
        outputs = layer.out_channels // layer.groups * groups
        inputs = layer.in_channels // layer.groups
    sizes = {"in_channels": num_inputs, "out_channels": outputs, "groups": groups}
    tensors = {**_per_channel(layer, layer.out_channels, outputs), "weight": (outputs, inputs)}
    return Cut(sizes, tensors)


def _cut_linear(layer: Any, num_inputs: int, num_outputs: int | None) -> Cut:
    outputs = num_outputs or layer.out_features
    sizes = {"in_features": num_inputs, "out_features": outputs}
    tensors = {**_per_channel(layer, layer.out_features, outputs), "weight": (outputs, num_inputs)}
    return Cut(sizes, tensors)


def _cut_batchnorm(layer: Any, num_inputs: int, _: int | None) -> Cut:
    sizes = {"num_features": num_inputs}
    return Cut(sizes, _per_channel(layer, layer.num_features, num_inputs))


def _cut_layernorm(layer: Any, num_inputs: int, _: int | None) -> Cut:
    sizes = {"normalized_shape": (num_inputs,)}
    return Cut(sizes, _per_channel(layer, layer.normalized_shape[0], num_inputs))


def _cut_groupnorm(layer: Any, num_inputs: int, _: int | None) -> Cut:
    is_one = layer.num_groups == 1
    groups = 1 if is_one else _groups(layer, num_inputs, layer.num_channels // layer.num_groups)
    sizes = {"num_channels": num_inputs, "num_groups": groups}
    return Cut(sizes, _per_channel(layer, layer.num_channels, num_inputs))


def _cut_prelu(layer: Any, num_inputs: int, _: int | None) -> Cut:
    return Cut({"num_parameters": num_inputs}, {"weight": (num_inputs,)})


def _per_channel(layer: nn.Module, most: int, number: int) -> dict[str, tuple[int, ...]]:
    """The first ``number`` entries of all tensors that have one for each of ``most`` channels."""
    named = [*layer._parameters.items(), *layer._buffers.items()]
    return {
        name: (number,)
        for name, tensor in named
        if tensor is not None and tensor.ndim and len(tensor) == most
    }


def _groups(layer: nn.Module, num_inputs: int, per_group: int) -> int:
    """As many groups as there are in ``num_inputs``, each as large as it is."""
    groups, rest = divmod(num_inputs, per_group)
    if rest:
        raise ValueError(
            f"A {_kind(layer)} of groups of {per_group} channels cannot take {num_inputs}; choose "
            "widths that are multiples."
        )
    return groups


def _kind(layer: nn.Module) -> str:
    return "GroupNorm" if isinstance(layer, nn.GroupNorm) else "convolution"


def _layernorm_dimension(layer: nn.Module) -> int | None:
    """Where a LayerNorm has its features: some subclasses have them as a map has its channels."""
    (*others, features) = cast(tuple[int, ...], layer.normalized_shape)
    if others:  # a LayerNorm of whole maps
        return None
    if type(layer).forward in (nn.LayerNorm.forward, nn.RMSNorm.forward):
        return -1
    probe = copy.copy(layer)
    probe.__dict__ = attributes_of(layer)
    probe._parameters.update({name: _on_meta(each) for name, each in layer._parameters.items()})
    probe._modules = layer._modules
    shapes = {-1: (1, features + 1, features + 2, features), 1: (1, features, features + 1, 1)}
    for dimension, shape in shapes.items():
        try:
            probe(torch.empty(shape, device="meta"))
        except (RuntimeError, ValueError):
            continue
        return dimension
    return None


def _on_meta(parameter: nn.Parameter | None) -> nn.Parameter | None:
    return None if parameter is None else nn.Parameter(parameter.to("meta"))


_CutOf = Callable[[Any, int, int | None], Cut]
#: What of a kind of layers is used, and in which dimension the inputs are; None: the layer stays.
_KINDS: dict[Any, tuple[_CutOf, Callable[[nn.Module], int | None]]] = {
    (nn.Conv1d, nn.Conv2d, nn.Conv3d): (_cut_convolution, lambda _: 1),
    nn.Linear: (_cut_linear, lambda _: -1),
    _BatchNorm: (_cut_batchnorm, lambda _: 1),
    (nn.LayerNorm, nn.RMSNorm): (_cut_layernorm, _layernorm_dimension),
    nn.GroupNorm: (_cut_groupnorm, lambda _: 1),
    nn.PReLU: (_cut_prelu, lambda layer: 1 if len(cast(Tensor, layer.weight)) > 1 else None),
}
