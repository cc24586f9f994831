"""Training Speed Estimation: how fast a subnet learns from its inherited weights.

Paper: Speedy Performance Estimation for Neural Architecture Search,
https://arxiv.org/abs/2006.04492
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from estimators.base import Estimate, EstimateError
from supernets.base import Supernet
from supernets.device import autocast
from supernets.spaces import Architecture


class TSEEstimator:
    """Training Speed Estimator with inherited weights.

    Trains a copy of the subnet for ``num_batches`` minibatches and sums the training losses, each
    taken before its own update: ``TSE = sum_{i<B} loss_i``. A lower sum means faster learning, so
    ``score = -TSE``.

    Differs from the authors' one-shot code:

    1. It trains the supernet itself and restores it; here an extracted copy is trained and the
       supernet is never written.
    2. Its loop runs B + 1 minibatches; here exactly B are used.
    3. It augments the minibatches anew for every candidate; here all candidates see the same
       tensors, drawn once, so that their scores are paired.

    Args:
        supernet: Trained supernet; only read.
        train_batches: Yields ``(x, y)`` with x (N, C, H, W) and y (N,); must be of the train split.
            The first ``num_batches`` are drawn now and kept on ``device``.
        num_batches: B, the number of extra minibatches. At least 1.
        lr: Constant learning rate of the SGD steps.
        momentum: Nesterov momentum; 0 for none.
        weight_decay: On every parameter.
        device: Where to train.
        amp: Whether to compute in bfloat16 autocast.

    Raises:
        ValueError: If a number is out of range or ``train_batches`` holds fewer minibatches.
    """

    name = "tse"

    def __init__(
        self,
        supernet: Supernet,
        train_batches: Iterable[tuple[Tensor, Tensor]],
        *,
        num_batches: int = 100,
        lr: float = 0.001,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        device: torch.device | str = "cpu",
        amp: bool = False,
    ) -> None:
        if num_batches < 1:
            raise ValueError(f"num_batches must be at least 1, got {num_batches}.")
        if not lr > 0:
            raise ValueError(f"lr must be positive, got {lr}.")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be from 0 to less than 1, got {momentum}.")
        if weight_decay < 0:
            raise ValueError(f"weight_decay must not be negative, got {weight_decay}.")
        self.supernet = supernet
        self.device = torch.device(device)
        self.batches = [
            (x.to(self.device), y.to(self.device)) for x, y in islice(train_batches, num_batches)
        ]
        if len(self.batches) < num_batches:
            raise ValueError(
                f"TSE needs {num_batches} minibatches, the train split gave {len(self.batches)}; "
                "ask for fewer, or for smaller ones."
            )
        self.lr, self.momentum, self.weight_decay, self.amp = lr, momentum, weight_decay, amp

    def estimate(self, arch: Architecture) -> Estimate:
        """Trains an extracted copy of ``arch`` for B steps.

        Returns:
            Estimate with metrics ``"tse"`` (nats, summed over B) and ``"last_loss"`` (nats), and
            the curve ``"train_loss"`` (nats, one value per step).

        Raises:
            EstimateError: If a loss is not finite.
        """
        started = time.perf_counter()
        subnet = self.supernet.extract(arch).to(self.device).train()
        optimizer = torch.optim.SGD(
            subnet.parameters(),
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.momentum > 0,
            weight_decay=self.weight_decay,
        )
        recorded = []
        for x, y in self.batches:
            with autocast(self.device, self.amp):
                logits = subnet(x)
            loss = F.cross_entropy(logits.float(), y)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            recorded.append(loss.detach())
        losses = torch.stack(recorded).double().cpu()
        finite = torch.isfinite(losses)
        if not finite.all():
            step = int((~finite).nonzero()[0])
            raise EstimateError(f"The training loss became {losses[step]:.4g} at step {step}.")
        tse = losses.sum().item()
        return Estimate(
            score=-tse,
            metrics={"tse": tse, "last_loss": losses[-1].item()},
            seconds=time.perf_counter() - started,
            curves={"train_loss": tuple(losses.tolist())},
        )
