"""Estimators that measure inherited weights as they are."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from estimators.base import Estimate, EstimateError
from estimators.scores.names import VAL_BATCHES, VAL_SCORES
from supernets.data.own_minibatches import check_first, checked_minibatches
from supernets.data.packed_batches import kept
from supernets.networks.base import Supernet
from supernets.networks.batchnorm import has_batchnorm
from supernets.networks.folding import can_fold_batchnorm
from supernets.spaces import Architecture
from supernets.training.evaluation import Evaluation, evaluate, evaluate_recalibrated


class ValAccuracyEstimator:
    """Validation top-1 of the subnet with inherited weights.

    Without recalibration BatchNorm behaves as the supernet's policy has it: where nothing is
    tracked, the result depends on the batch size of ``val_batches``. With recalibration the running
    statistics of every BatchNorm are first taken from training images, for this subnet alone.

    On a CPU in float32, a copy is measured whose BatchNorm is folded into the convolutions, where
    its logits are the same to within 1e-5 of the largest one; see ``evaluate``.

    Args:
        supernet: Trained supernet; only read.
        val_batches: Yields ``(x, y)``; must be of the val split and iterable again and again.
        recalibrate_batches: Minibatches ``(x, y)`` of the train split; kept on ``device``, as 8-bit
            pixels where they are made of them. None leaves BatchNorm as it is.
        device: Device to run on.
        amp: Whether to compute in bfloat16 autocast.

    Raises:
        ValueError: If ``recalibrate_batches`` is empty, or None where the supernet needs it; if
            minibatches are others than of images, as real numbers, and labels.
    """

    name = "val_acc"

    def __init__(
        self,
        supernet: Supernet,
        val_batches: Iterable[tuple[Tensor, Tensor]],
        *,
        recalibrate_batches: Iterable[tuple[Tensor, Tensor]] | None = None,
        device: torch.device | str = "cpu",
        amp: bool = False,
    ) -> None:
        self.supernet = supernet
        self.val_batches = val_batches
        self.device = torch.device(device)
        self.amp = amp
        self.folds = folds_batchnorm(self.device, amp)
        if recalibrate_batches is None:
            if supernet.needs_recalibration:
                raise ValueError(
                    f"A {supernet.space.name} supernet holds the BatchNorm statistics of a mixture "
                    "of subnets; val_acc needs train images to recalibrate them with."
                )
            self.recalibrate_batches = None
        else:
            self.recalibrate_batches = kept(
                recalibrate_batches,
                None,
                self.device,
                "the minibatches to recalibrate BatchNorm with",
            )
            if not self.recalibrate_batches:
                raise ValueError("There are no images to recalibrate BatchNorm with.")
        check_first(val_batches, VAL_BATCHES)

    def estimate(self, arch: Architecture) -> Estimate:
        """Measures an extracted copy of ``arch`` on the whole val split.

        Returns:
            Estimate with metrics ``"val_top1"`` (percent) and ``"val_loss"`` (nats).

        Raises:
            EstimateError: If the loss is not finite.
        """
        started = time.perf_counter()
        result = self.evaluate(self.supernet.extract(arch).to(self.device))
        if not math.isfinite(result.loss):
            raise EstimateError(f"The validation loss is {result.loss}.")
        return Estimate(
            score=result.top1,
            metrics={"val_top1": result.top1, "val_loss": result.loss},
            seconds=time.perf_counter() - started,
        )

    def evaluate(self, subnet: nn.Module) -> Evaluation:
        """Measures an extracted subnet on ``device``; its mode may change, nothing else does."""
        checked = checked_minibatches(self.val_batches, VAL_BATCHES)
        batches = ((x.to(self.device), y.to(self.device)) for x, y in checked)
        if self.recalibrate_batches is None:
            return evaluate(subnet, batches, device=self.device, amp=self.amp, fold=self.folds)
        return evaluate_recalibrated(
            self.supernet,
            subnet,
            batches,
            recalibrate_batches=self.recalibrate_batches,
            device=self.device,
            amp=self.amp,
            fold=self.folds,
        )


def folds_batchnorm(device: torch.device | str, amp: bool) -> bool:
    """Returns whether validation accuracy is that of networks with folded BatchNorm."""
    return torch.device(device).type == "cpu" and not amp


def folding_facts(
    scores: Iterable[str],
    supernet: Supernet,
    device: torch.device | str,
    *,
    amp: bool,
    recalibrates: bool,
) -> dict[str, bool]:
    """Returns what a header records of folded BatchNorm: nothing where there is none.

    So files of before are refused only where their numbers are others in the last digits.

    Args:
        scores: Names of the scores.
        supernet: Supernet whose subnets are measured.
        device: Device they are measured on.
        amp: Whether they are in bfloat16 autocast.
        recalibrates: Whether BatchNorm's statistics are first taken anew.
    """
    if not set(scores) & set(VAL_SCORES) or not folds_batchnorm(device, amp):
        return {}
    folds = has_batchnorm(supernet) if recalibrates else can_fold_batchnorm(supernet)
    return {"folded_batchnorm": True} if folds else {}
