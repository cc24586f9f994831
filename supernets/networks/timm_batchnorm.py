"""BatchNorm and activations of timm's networks, in one pass where the kernels are on."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from supernets.kernels.batchnorm import Activation, batch_norm_act, can_fuse

#: What the kernel knows, by what timm builds.
_ACTIVATIONS: Mapping[type[nn.Module], Activation | None] = {
    nn.Identity: None,
    nn.ReLU: F.relu,
    nn.ReLU6: F.relu6,
    nn.Hardswish: F.hardswish,
}


class FusedBatchNormAct2d(BatchNormAct2d):  # type: ignore[misc]  # timm has no types
    """timm's ``BatchNormAct2d``, with the same weights and numbers."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalises (N, C, H, W), then computes the activation."""
        activation = _ACTIVATIONS.get(type(self.act), self.act)
        if (
            not self.training
            or self.running_mean is None
            or self.momentum is None
            or not isinstance(self.drop, nn.Identity)
            or not can_fuse(x, activation, self.running_mean, self.weight)
        ):
            out: Tensor = super().forward(x)
            return out
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        return batch_norm_act(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            momentum=self.momentum,
            eps=self.eps,
            activation=activation,
        )


def fuse_batchnorm(network: nn.Module) -> None:
    """Makes every ``BatchNormAct2d`` of a network of timm's a ``FusedBatchNormAct2d``.

    timm's builders take no class of one's own that is told the activation of its place.

    Args:
        network: Changed in place; its weights and their names stay as they are.
    """
    for module in network.modules():
        if type(module) is BatchNormAct2d:
            module.__class__ = FusedBatchNormAct2d
