"""Training Speed Estimation: how fast a subnet learns from its inherited weights.

Paper: Speedy Performance Estimation for Neural Architecture Search,
https://arxiv.org/abs/2006.04492
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

import torch
from torch import Tensor

from estimators.base import Estimate, EstimateError
from estimators.scores.extra_steps import ExtraSteps, failure
from estimators.scores.loss_curves import TopK
from estimators.scores.settings import ExtraStepsSettings
from supernets.networks.base import Supernet
from supernets.spaces import Architecture


class TSEEstimator:
    """Training Speed Estimator with inherited weights.

    Trains a copy of the subnet for ``num_batches`` minibatches and sums the training losses, each
    taken before its own update: ``TSE = sum_{i<B} loss_i``. A lower sum means faster learning, so
    ``score = -TSE``.

    Losses are not negative. With ``race_for``, a candidate therefore stops as soon as its sum is
    above the ``race_for``-th lowest finished one: whatever came, it could not be among the best.
    Its score is then of the sum so far, a lower bound of its TSE, and below theirs all the same.
    Such scores depend on the candidates before.

    Differs from the authors' one-shot code:

    1. It trains the supernet itself and restores it; here an extracted copy is trained and the
       supernet is never written.
    2. Its loop runs B + 1 minibatches; here exactly B are used.
    3. It augments the minibatches anew for every candidate; here all candidates see the same
       tensors, drawn once, so that their scores are paired.
    4. Racing is not theirs.

    Args:
        supernet: Trained supernet; only read.
        train_batches: Yields ``(x, y)`` with x (N, C, H, W) and y (N,); must be of the train split.
            The first ``num_batches`` are drawn now and kept on ``device``.
        num_batches: B, the number of extra minibatches. At least 1.
        lr: Constant learning rate of the SGD steps.
        momentum: Nesterov momentum; 0 for none.
        weight_decay: Weight decay of every parameter.
        race_for: Number of best candidates that must be known exactly; None for all.
        device: Device to train on.
        amp: Whether to compute in bfloat16 autocast.
        kernels: ``"auto"`` or ``"off"``, as of ``chosen_kernels``.

    Raises:
        ValueError: If a number is out of range, or ``train_batches`` holds fewer minibatches or
            others than of images, as real numbers, and labels.
    """

    name = "tse"

    def __init__(
        self,
        supernet: Supernet,
        train_batches: Iterable[tuple[Tensor, Tensor]],
        *,
        num_batches: int = ExtraStepsSettings.num_batches,
        lr: float = ExtraStepsSettings.lr,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        race_for: int | None = None,
        device: torch.device | str = "cpu",
        amp: bool = False,
        kernels: str = ExtraStepsSettings.kernels,
    ) -> None:
        self.supernet = supernet
        self.device = torch.device(device)
        self._finished = None if race_for is None else TopK(race_for)
        self.training = ExtraSteps(
            train_batches,
            num_batches=num_batches,
            lr=lr,
            momentum=momentum,
            weight_decay=weight_decay,
            device=device,
            amp=amp,
            kernels=kernels,
        )

    def note_finished(self, tses: Iterable[float]) -> None:
        """Lets the race go on from sums that an earlier part of a search finished, in nats."""
        if self._finished is not None:
            for tse in tses:
                self._finished.add(tse)

    def estimate(self, arch: Architecture) -> Estimate:
        """Trains an extracted copy of ``arch`` for B steps, fewer if the race stops it.

        Returns:
            Estimate with metrics ``"tse"`` (nats, summed over B) and ``"last_loss"`` (nats), and
            the curve ``"train_loss"`` (nats, one value per step). Of one that the race stopped,
            ``"tse_at_least"`` in place of ``"tse"``, and ``"num_steps"``.

        Raises:
            EstimateError: If a loss is not finite.
        """
        started = time.perf_counter()
        subnet = self.supernet.extract(arch).to(self.device)
        limit = math.inf if self._finished is None else self._finished.threshold
        losses = self.training.run(subnet, stop_above=limit)
        problem = failure(losses)
        if problem is not None:
            raise EstimateError(problem)
        tse, last_loss = float(losses.sum()), float(losses[-1])
        if len(losses) < len(self.training.batches):
            num_steps = float(len(losses))
            metrics = {"tse_at_least": tse, "last_loss": last_loss, "num_steps": num_steps}
        else:
            metrics = {"tse": tse, "last_loss": last_loss}
            self.note_finished([tse])
        return Estimate(
            score=-tse,
            metrics=metrics,
            seconds=time.perf_counter() - started,
            curves={"train_loss": tuple(losses.tolist())},
        )
