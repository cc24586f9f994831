"""BatchNorm that can be synchronised across processes, and recalibration of its statistics."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from supernets.kernels.batchnorm import Activation, batch_norm_act, can_fuse
from supernets.runtime.device import autocast


class BatchNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d`` that is elastic in its channels and can be synchronised.

    Images with fewer channels than it holds are normalised with the first ones, and in train mode
    update the running statistics of those.

    Once ``synchronised`` is set, batch statistics are taken over all processes. Unlike
    ``nn.SyncBatchNorm`` that also works on a CPU, and the processes may hold different numbers of
    images.
    """

    synchronised: bool = False

    def forward(self, input: Tensor, *, activation: Activation | None = None) -> Tensor:
        """Normalises (N, C, H, W) to the same shape, with C up to ``num_features``.

        Args:
            input: Maps (N, C, H, W).
            activation: Computed of the result, in the same pass where kernels are on; None for
                none.
        """
        uses_batch = self.training or self.running_mean is None
        is_synchronised = self.synchronised and uses_batch and dist.is_initialized()
        own = self.running_mean, self.weight
        if uses_batch and not is_synchronised and can_fuse(input, activation, *own):
            return batch_norm_act(
                input,
                *self._first_channels(input.shape[1]),
                momentum=self._count_batch(),
                eps=self.eps,
                activation=activation,
            )
        out = self._forward_synchronised(input) if is_synchronised else self._normalised(input)
        if activation is None:
            return out
        return out.relu_() if activation is F.relu else activation(out)

    def _normalised(self, input: Tensor) -> Tensor:
        """Normalises by PyTorch's own kernels."""
        if input.shape[1] == self.num_features:
            return super().forward(input)
        return F.batch_norm(
            input,
            *self._first_channels(input.shape[1]),
            training=self.training or self.running_mean is None,
            momentum=self._count_batch(),
            eps=self.eps,
        )

    def scaled(self, input: Tensor, scale: Tensor) -> Tensor:
        """Computes ``self(input) * scale`` without a pass of its own for the product.

        Args:
            input: Maps (N, C, H, W) with all channels; the BatchNorm must not be affine.
            scale: A number, of shape ().
        """
        assert not self.affine
        if self.synchronised and self.training and dist.is_initialized():
            return self._forward_synchronised(input) * scale
        dtype = torch.promote_types(input.dtype, torch.float32)
        return F.batch_norm(
            input,
            self.running_mean,
            self.running_var,
            # a gradient of a gradient reads an expanded weight past its end
            weight=scale.to(dtype).expand(input.shape[1]).contiguous(),
            training=self.training or self.running_mean is None,
            momentum=self._count_batch(),
            eps=self.eps,
        )

    def _first_channels(
        self, channels: int
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
        """Running mean and variance, weight and bias of the first channels."""

        def first(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[:channels]

        return (
            first(self.running_mean),
            first(self.running_var),
            first(self.weight),
            first(self.bias),
        )

    def _count_batch(self) -> float:
        """Counts a minibatch of train mode and returns its weight in the running statistics."""
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # cumulative average
                return 1.0 / float(self.num_batches_tracked)
        return 0.0 if self.momentum is None else self.momentum

    def _forward_synchronised(self, input: Tensor) -> Tensor:
        running_mean, running_var, weight, bias = self._first_channels(input.shape[1])
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        count = torch.full((1,), x.numel() / x.shape[1], dtype=x.dtype, device=x.device)
        sums = torch.cat([x.sum((0, 2, 3)), count])
        sums = _sum_over_ranks(sums)
        total = sums[-1].detach()
        mean = sums[:-1] / total
        centred = x - mean[:, None, None]
        squares = centred.square().sum((0, 2, 3))
        variance = _sum_over_ranks(squares) / total
        if self.training and running_mean is not None and running_var is not None:
            momentum = self._count_batch()
            running_mean.lerp_(mean.detach(), momentum)
            running_var.lerp_(variance.detach() * (total / (total - 1)), momentum)
        out: Tensor = centred * torch.rsqrt(variance + self.eps)[:, None, None]
        if weight is not None and bias is not None:
            out = out * weight[:, None, None] + bias[:, None, None]
        return out.to(input.dtype)


def normalised(norm: nn.Module, x: Tensor, activation: Activation | None) -> Tensor:
    """Computes a norm and the activation after it, in one pass where the norm can.

    Args:
        norm: A ``BatchNorm2d``, or what has taken its place, such as an identity.
        x: Maps (N, C, H, W).
        activation: What follows; None for nothing.
    """
    if isinstance(norm, BatchNorm2d):
        return cast(Tensor, norm(x, activation=activation))
    out: Tensor = norm(x)
    return out if activation is None else activation(out)


class _SumOverRanks(torch.autograd.Function):
    """Every rank's loss depends on the sum, so the gradient is the sum over the ranks as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def _sum_over_ranks(x: Tensor) -> Tensor:
    total: Tensor = _SumOverRanks.apply(x)
    return total


def has_batchnorm(module: nn.Module) -> bool:
    """Returns whether a network has BatchNorm; one without has no statistics to recalibrate."""
    return any(isinstance(child, nn.BatchNorm2d) for child in module.modules())


def synchronise_batchnorm(module: nn.Module) -> None:
    """Makes every BatchNorm of a network take its batch statistics over all processes.

    Raises:
        ValueError: If there is none, or one that cannot.
    """
    kind = nn.modules.batchnorm._BatchNorm
    norms = [child for child in module.modules() if isinstance(child, kind)]
    others = {
        f"{type(child).__module__.partition('.')[0]}'s {type(child).__name__}"
        for child in norms
        if not isinstance(child, BatchNorm2d)
    }
    if others or not norms:
        found = f"it has {', '.join(sorted(others))}" if others else "it has none"
        raise ValueError(
            "BatchNorm over all processes is of networks whose every BatchNorm is BatchNorm2d of "
            f"supernets.networks.batchnorm, and {found}; leave --sync-bn out, or build it of that."
        )
    for child in norms:
        assert isinstance(child, BatchNorm2d)
        child.synchronised = True


@torch.no_grad()
def recalibrate_bn(
    module: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    num_batches: int,
    *,
    amp: bool = False,
) -> None:
    """Replaces the running statistics of every tracked BatchNorm by averages over minibatches, in
    place.

    As in OFA's code, every minibatch is normalised by its own statistics, and their means and
    biased variances are averaged, weighted by the number of images. The module is left in eval
    mode. Without such a BatchNorm nothing is computed.

    Args:
        module: Network taking (N, C, H, W) images.
        batches: Yields ``(x, y)``; should be training images.
        num_batches: Number of minibatches to use. At least 1.
        amp: Whether to run in bfloat16 autocast.

    Raises:
        ValueError: If ``num_batches`` is less than 1 or ``batches`` holds fewer.
    """
    if num_batches < 1:
        raise ValueError(f"num_batches must be at least 1, got {num_batches}.")
    averages = [
        _AveragedStatistics(child)
        for child in module.modules()
        if isinstance(child, nn.BatchNorm2d) and child.track_running_stats
    ]
    module.eval()
    if not averages:
        return
    for average in averages:
        average.start()
    count = 0
    for x, _ in islice(batches, num_batches):
        with autocast(x.device, amp):
            module(x)
        count += 1
    for average in averages:
        average.finish()
    if count < num_batches:
        raise ValueError(
            f"Recalibration needs {num_batches} minibatches, the loader holds {count}; "
            "ask for fewer."
        )


class _AveragedStatistics:
    """Averages the statistics of the minibatches that one BatchNorm sees."""

    def __init__(self, bn: nn.BatchNorm2d) -> None:
        assert bn.running_mean is not None and bn.running_var is not None
        self.bn, self.running_mean, self.running_var = bn, bn.running_mean, bn.running_var
        self.momentum = bn.momentum
        self.mean = torch.zeros_like(bn.running_mean)
        self.variance = torch.zeros_like(bn.running_var)
        self.num_images = 0

    def start(self) -> None:
        self.bn.reset_running_stats()
        self.bn.momentum = 1.0  # so that the running statistics are those of the last minibatch
        self.bn.train()
        self.hook = self.bn.register_forward_hook(self._add)

    def finish(self) -> None:
        self.hook.remove()
        self.bn.momentum = self.momentum
        self.bn.eval()
        if self.num_images:
            self.running_mean.copy_(self.mean)
            self.running_var.copy_(self.variance)

    def _add(self, bn: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        (x,) = inputs
        num_images, num_values = len(x), x.numel() // x.shape[1]  # values per channel
        self.num_images += num_images
        weight = num_images / self.num_images
        self.mean.lerp_(self.running_mean, weight)
        # torch keeps the unbiased variance
        self.variance.lerp_(self.running_var * ((num_values - 1) / num_values), weight)
