"""What a subnet inherits of tensors that are wider in the supernet: the first channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


def inherit_parts(
    subnet: nn.Module,
    supernet: nn.Module,
    stem: nn.Conv2d,
    *,
    others: Mapping[str, Tensor] | None = None,
) -> None:
    """Gives a subnet copies of the first channels of what a supernet has under the same names.

    Args:
        subnet: The subnet, whose weights may be on the meta device; gets the weights in place.
        supernet: The supernet.
        stem: Its first convolution, whose layout in memory the copies have.
        others: Tensors that are inherited otherwise, by their names in the subnet.
    """
    is_channels_last = (
        stem.weight.is_contiguous(memory_format=torch.channels_last)
        and not stem.weight.is_contiguous()
    )
    own = supernet.state_dict(keep_vars=True)
    inherited: dict[str, Tensor] = {}
    for name, like in subnet.state_dict().items():
        if others is not None and name in others:
            part = others[name]
        else:
            part = own[name].detach()[tuple(slice(size) for size in like.shape)]
        inherited[name] = part.clone(
            memory_format=torch.channels_last
            if is_channels_last and part.dim() == 4
            else torch.contiguous_format
        )
    subnet.load_state_dict(inherited, assign=True)
    for name, parameter in subnet.named_parameters():
        parameter.requires_grad_(own[name].requires_grad)


class NoInit(TorchFunctionMode):
    """Draws no weights within it, where they are about to be replaced."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in (nn.init.kaiming_uniform_, nn.init.normal_, nn.init.uniform_):
            return kwargs["tensor"]
        if func is Tensor.normal_:
            return args[0]
        return func(*args, **kwargs)
