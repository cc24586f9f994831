"""Accuracy and loss over a split, of a plain network or of a supernet's subnet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernets.data.image_loader import ImageLoader
from supernets.data.loaders import Loaders
from supernets.networks.base import Supernet
from supernets.networks.batchnorm import recalibrate_bn
from supernets.runtime.device import autocast, device_with_float64


def chance_top1(loaders: Loaders) -> float:
    """Returns the accuracy (percent) of always naming the val split's most frequent class.

    Where its labels are not at hand, all classes are taken to be equally frequent.
    """
    if isinstance(loaders.val, ImageLoader):
        counts = loaders.val.label_counts()
        return 100 * float(counts.max() / counts.sum())
    return 100 / loaders.num_classes


class Evaluation(NamedTuple):
    """Results over all images seen."""

    top1: float  # percent
    loss: float  # nats, mean per image
    num_images: int


@torch.inference_mode()
def evaluate(
    module: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    device: torch.device,
    amp: bool = False,
) -> Evaluation:
    """Measures ``module`` in eval mode and leaves it there.

    Args:
        module: Network giving (N, num_classes) logits; on ``device``.
        batches: Yields ``(x, y)`` with x (N, C, H, W) and y (N,) on ``device``.
        device: Device of ``module`` and ``batches``.
        amp: Whether to run in bfloat16 autocast.

    Raises:
        ValueError: If ``batches`` is empty.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(2, 3, bias=False))
        >>> batches = [(torch.zeros(4, 2, 1, 1), torch.arange(4) % 3)]
        >>> found = evaluate(network, batches, device=torch.device("cpu"))
        >>> found.top1, round(found.loss, 4), found.num_images
        (50.0, 1.0986, 4)
    """
    module.eval()
    correct = torch.zeros((), dtype=torch.int64, device=device)
    total = torch.float64 if device_with_float64(device) == device else torch.float32
    loss = torch.zeros((), dtype=total, device=device)
    num_images = 0
    for x, y in batches:
        with autocast(device, amp):
            logits = module(x)
        logits = logits.float()
        correct += (logits.argmax(dim=1) == y).sum()
        loss += F.cross_entropy(logits, y, reduction="sum")
        num_images += len(y)
    if num_images == 0:
        raise ValueError("There are no images to evaluate on.")
    return Evaluation(100.0 * correct.item() / num_images, loss.item() / num_images, num_images)


def evaluate_recalibrated(
    supernet: Supernet,
    subnet: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    recalibrate_batches: Sequence[tuple[Tensor, Tensor]],
    device: torch.device,
    amp: bool = False,
) -> Evaluation:
    """Measures the stand-alone network of a subnet, with BatchNorm statistics of its own.

    Args:
        supernet: Supernet that the subnet was extracted from; only read.
        subnet: The extracted subnet, on ``device``; only read.
        batches: Minibatches ``(x, y)`` to measure on, on ``device``.
        recalibrate_batches: Minibatches ``(x, y)`` of the train split on ``device``; the statistics
            of BatchNorm are taken from all of them.
        device: Device of the subnet and the minibatches.
        amp: Whether to run in bfloat16 autocast.

    Raises:
        ValueError: If ``batches`` or ``recalibrate_batches`` is empty.
    """
    standalone = supernet.to_standalone(subnet)
    recalibrate_bn(standalone, recalibrate_batches, len(recalibrate_batches), amp=amp)
    return evaluate(standalone, batches, device=device, amp=amp)
