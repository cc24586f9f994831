"""Accuracy and loss over a split, of a plain network or of a supernet's subnet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernets.data.image_loader import ImageLoader
from supernets.data.loaders import Loaders
from supernets.data.own_minibatches import checked_minibatches
from supernets.networks.base import Supernet
from supernets.networks.batchnorm import recalibrate_bn
from supernets.networks.folding import can_fold_batchnorm, fold_batchnorm
from supernets.runtime.device import autocast, device_with_float64

#: Largest difference of the logits of a folded network, relative to the largest logit.
FOLDING_TOLERANCE = 1e-5
#: Images that a folded network is compared on, and those that it is built with.
_COMPARED, _TRACED = 16, 2
#: Pixels, and at least how many images, a folded network runs on at once: what its layers pass on
#: is then still in the cache of a CPU.
_PIXELS_AT_ONCE, _IMAGES_AT_ONCE = 64 * 32 * 32, 16


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
    fold: bool = False,
) -> Evaluation:
    """Measures ``module`` in eval mode and leaves it there.

    Args:
        module: Network giving (N, num_classes) logits; on ``device``.
        batches: Yields ``(x, y)`` with x (N, C, H, W), normalised, and y (N,) on ``device``; images
            of another floating type than the weights are converted.
        device: Device of ``module`` and ``batches``.
        amp: Whether to run in bfloat16 autocast.
        fold: Whether to run a copy whose BatchNorm is folded into its convolutions, on fewer images
            at once, which is faster on a CPU. ``module`` is run as it is where it has none, or one
            without running statistics, and where logits differ by more than ``FOLDING_TOLERANCE``.

    Raises:
        ValueError: If ``batches`` is empty, or gives something else.

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
    folded = None
    floats = (each.dtype for each in module.parameters() if each.is_floating_point())
    dtype, what = next(floats, torch.float32), "the minibatches to evaluate on"
    for x, y in checked_minibatches(batches, what, dtype, are_images=False):
        if fold and num_images == 0:
            folded = _folded(module, x)
        with autocast(device, amp):
            logits = module(x) if folded is None else _in_parts(folded, x)
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
    fold: bool = False,
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
        fold: Whether to fold BatchNorm after its recalibration, see ``evaluate``.

    Raises:
        ValueError: If ``batches`` or ``recalibrate_batches`` is empty.
    """
    standalone = supernet.to_standalone(subnet)
    recalibrate_bn(standalone, recalibrate_batches, len(recalibrate_batches), amp=amp)
    return evaluate(standalone, batches, device=device, amp=amp, fold=fold)


def _folded(module: nn.Module, x: Tensor) -> nn.Module | None:
    """A folded copy, or None where it is not ``module`` to within the tolerance."""
    if not can_fold_batchnorm(module):
        return None
    x = x[:_COMPARED]
    with torch.random.fork_rng(devices=[]):
        folded = fold_batchnorm(module, x[:_TRACED])
        expected = module(x)
        found = torch.cat([folded(part) for part in x.tensor_split(min(2, len(x)))])
    error, largest = (found - expected).abs().max(), expected.abs().max()
    return folded if bool(error <= FOLDING_TOLERANCE * largest) else None


def _in_parts(module: nn.Module, x: Tensor) -> Tensor:
    """Runs a network whose images do not depend on each other on some of them at a time."""
    size = max(_IMAGES_AT_ONCE, _PIXELS_AT_ONCE // (x.shape[-2] * x.shape[-1]))
    return torch.cat([module(part) for part in x.tensor_split(max(1, len(x) // size))])
