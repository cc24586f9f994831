"""The operations of NASNet and DARTS cells.

Paper: DARTS: Differentiable Architecture Search, https://arxiv.org/abs/1806.09055

Differs from the authors' code:

1. Pools are not followed by BatchNorm in search, as in the networks trained afterwards.
2. ``FactorizedReduce`` also takes images of odd sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernets.kernels.library import are_on
from supernets.kernels.pooling import AveragePool2d
from supernets.networks.batchnorm import BatchNorm2d

#: Kernel sizes of separable and of dilated convolutions, and how many are applied in a row.
SEPARABLE = {"sep_conv_3x3": 3, "sep_conv_5x5": 5}
DILATED = {"dil_conv_3x3": 3, "dil_conv_5x5": 5}
SKIP = "skip_connect"
#: Input channels from which strided pointwise convolutions are left to PyTorch.
_FEW_CHANNELS = 16


def create_op(name: str, channels: int, stride: int, *, affine: bool) -> nn.Module:
    """Builds an operation that keeps the width and divides the sides by ``stride``, rounding up.

    Args:
        name: One of ``supernets.spaces.nasnet.OPS``.
        channels: Width of its input and output.
        stride: 1 or 2.
        affine: Whether BatchNorm has weights and biases.

    Raises:
        ValueError: If the name is unknown.
    """
    if name in SEPARABLE:
        return AfterReLU(
            *_separable(channels, SEPARABLE[name], stride, affine=affine),
            *_separable(channels, SEPARABLE[name], 1, affine=affine, inplace=True),
        )
    if name in DILATED:
        return AfterReLU(*_separable(channels, DILATED[name], stride, affine=affine, dilation=2))
    if name == SKIP:
        return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, affine=affine)
    if name == "max_pool_3x3":
        return nn.MaxPool2d(3, stride, padding=1)
    if name == "avg_pool_3x3":
        return AveragePool2d(3, stride, padding=1)
    raise ValueError(f"Unknown operation {name!r}.")


def _separable(
    channels: int,
    kernel_size: int,
    stride: int,
    *,
    affine: bool,
    dilation: int = 1,
    inplace: bool = False,  # where nothing else reads what the ReLU gets
) -> list[nn.Module]:
    """ReLU, depthwise and pointwise convolution, BatchNorm."""
    padding = dilation * (kernel_size // 2)
    depthwise = nn.Conv2d(
        channels, channels, kernel_size, stride, padding, dilation, groups=channels, bias=False
    )
    pointwise = nn.Conv2d(channels, channels, 1, bias=False)
    return [nn.ReLU(inplace), depthwise, pointwise, BatchNorm2d(channels, affine=affine)]


class ReLUs:
    """The ReLUs of tensors, computed once for all that read them where kernels are on.

    Gradients are summed before they go back through a shared one, which gives other bits.

    Args:
        tensors: What they are of; it may grow.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = tensors
        self._found: dict[int, Tensor] = {}

    def apply(self, op: nn.Module, index: int) -> Tensor:
        """Computes an operation of the tensor at ``index``."""
        if not (are_on() and isinstance(op, AfterReLU | FactorizedReduce)):
            return cast(Tensor, op(self._tensors[index]))
        if index not in self._found:
            self._found[index] = F.relu(self._tensors[index])
        return op.after_relu(self._found[index])


class AfterReLU(nn.Sequential):
    """Modules of which the first is a ReLU; BatchNorm and a ReLU after it are one pass."""

    def forward(self, x: Tensor) -> Tensor:
        """Computes all modules."""
        return self.after_relu(cast(Tensor, self[0](x)))

    def after_relu(self, x: Tensor) -> Tensor:
        """Computes the modules after the first, of its output."""
        modules = iter(list(self)[1:])
        norm: BatchNorm2d | None = None  # seen and not computed yet
        for module in modules:
            if norm is not None:
                is_relu = isinstance(module, nn.ReLU)
                x, norm = norm(x, activation=F.relu if is_relu else None), None
                if is_relu:
                    continue
            if isinstance(module, BatchNorm2d):
                norm = module
            else:
                x = module(x)
        return x if norm is None else cast(Tensor, norm(x))


class ReLUConvBN(AfterReLU):
    """ReLU, 1x1 convolution, BatchNorm: (N, in_channels, H, W) to (N, channels, H, W)."""

    def __init__(self, in_channels: int, channels: int, *, affine: bool) -> None:
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(in_channels, channels, 1, bias=False),
            BatchNorm2d(channels, affine=affine),
        )


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution that is safe with a stride: (N, in_channels, H, W), sides rounded up.

    On CPUs with AVX2 and without AVX-512, oneDNN 3.12.0 (of PyTorch 2.14.1) may write outside its
    memory in the weight gradient of some such convolutions. In training on a CPU those of few
    channels are computed of the pixels that the stride keeps; the numbers are the same.

    Args:
        in_channels: Width of its input.
        channels: Width of its output.
        stride: Of both sides.
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Mixes the channels of every kept pixel."""
        is_trained = x.device.type == "cpu" and torch.is_grad_enabled()
        if self.stride == (1, 1) or self.in_channels >= _FEW_CHANNELS or not is_trained:
            return super().forward(x)
        height, width = self.stride
        return F.conv2d(x[:, :, ::height, ::width], self.weight, self.bias)


class FactorizedReduce(nn.Module):
    """Halves the sides by two 1x1 convolutions of stride 2, one of them shifted by a pixel.

    (N, in_channels, H, W) to (N, channels, ceil(H / 2), ceil(W / 2)).
    """

    def __init__(self, in_channels: int, channels: int, *, affine: bool) -> None:
        super().__init__()
        self.conv_1 = PointwiseConv2d(in_channels, channels // 2, 2)
        self.conv_2 = PointwiseConv2d(in_channels, channels - channels // 2, 2)
        self.bn = BatchNorm2d(channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Halves the sides."""
        return self.after_relu(F.relu(x))

    def after_relu(self, x: Tensor) -> Tensor:
        """Halves the sides of what a ReLU gave."""
        # an odd side has no last pixel to shift to; zeros take its place
        padding = (0, x.shape[3] % 2, 0, x.shape[2] % 2)
        shifted = F.pad(x[:, :, 1:, 1:], padding) if any(padding) else x[:, :, 1:, 1:]
        return cast(Tensor, self.bn(torch.cat([self.conv_1(x), self.conv_2(shifted)], dim=1)))
