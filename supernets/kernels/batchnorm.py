"""BatchNorm of train mode and the activation after it, in one pass where the kernels are on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from supernets.kernels.library import take

Activation = Callable[[Tensor], Tensor]

#: Numbers of the activations that ``batchnorm.cpp`` knows.
_NUMBERS: Mapping[Activation | None, int] = {None: 0, F.relu: 1, F.relu6: 2, F.hardswish: 3}


def can_fuse(x: Tensor, activation: Activation | None, *of_norm: Tensor | None) -> bool:
    """Returns whether ``batch_norm_act`` computes maps like these, followed by an activation.

    Args:
        x: Maps (N, C, H, W).
        activation: A function; None for none.
        of_norm: Running statistics and parameters of the BatchNorm, which are float32 also where
            maps are bfloat16.
    """
    return (
        take(x)
        and activation in _NUMBERS
        and x.numel() > x.shape[1]
        and all(each is None or each.dtype == torch.float32 for each in of_norm)
    )


def batch_norm_act(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    *,
    momentum: float,
    eps: float,
    activation: Activation | None = None,
) -> Tensor:
    """Computes the activation of ``F.batch_norm`` with the statistics of the minibatch.

    Args:
        x: Maps (N, C, H, W) that ``can_fuse``, float32 or bfloat16.
        running_mean: Means (C,), moved towards those of the minibatch; None for none.
        running_var: Variances (C,) likewise.
        weight: Scale (C,); None for 1.
        bias: Offset (C,); None for 0.
        momentum: How far the running statistics are moved.
        eps: Added to variances.
        activation: ``F.relu``, ``F.relu6`` or ``F.hardswish``; None for none.

    Returns:
        Maps of the same shape and type, in channels_last.
    """
    out = torch.ops.paceline.batch_norm_act(
        x, weight, bias, running_mean, running_var, momentum, eps, _NUMBERS[activation]
    )
    return cast(Tensor, out)
