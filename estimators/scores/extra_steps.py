"""A few SGD steps of a subnet on fixed minibatches, and the losses on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

import supernets.runtime.option_types as kinds
from estimators.scores.names import TRAIN_BATCHES
from estimators.scores.settings import EstimatorSettings, ExtraStepsSettings
from supernets.data.packed_batches import kept
from supernets.kernels.choice import OFF
from supernets.kernels.library import chosen_kernels, using
from supernets.runtime.device import autocast


class ExtraSteps:
    """A recipe with its minibatches: the same for every candidate, so that losses are paired.

    Args:
        batches: Yields ``(x, y)`` with x (N, C, H, W) and y (N,); must be of the train split. The
            first ``num_batches`` are drawn now and kept on ``device``, those of a loader as 8-bit
            pixels where they are made of them, see ``packed_batches``.
        num_batches: B, the number of steps. At least 1.
        lr: Constant learning rate of SGD.
        momentum: Nesterov momentum; 0 for none.
        weight_decay: Weight decay of every parameter.
        device: Device to train on.
        amp: Whether to compute in bfloat16 autocast.
        kernels: ``"auto"`` or ``"off"``, as of ``chosen_kernels``.

    Raises:
        ValueError: If a number is out of range, or ``batches`` holds fewer minibatches or others
            than of images, as real numbers, and labels.
    """

    def __init__(
        self,
        batches: Iterable[tuple[Tensor, Tensor]],
        *,
        num_batches: int = ExtraStepsSettings.num_batches,
        lr: float = ExtraStepsSettings.lr,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        device: torch.device | str = "cpu",
        amp: bool = False,
        kernels: str = ExtraStepsSettings.kernels,
    ) -> None:
        if num_batches < 1:
            raise ValueError(f"num_batches must be at least 1, got {num_batches}.")
        kinds.POSITIVE.check("lr", lr)
        kinds.RATE.check("momentum", momentum)
        kinds.NON_NEGATIVE.check("weight_decay", weight_decay)
        self.device = torch.device(device)
        self.batches = kept(batches, num_batches, device, TRAIN_BATCHES)
        if len(self.batches) < num_batches:
            raise ValueError(
                f"TSE needs {num_batches} minibatches, the train split gave {len(self.batches)}; "
                "ask for fewer, or for smaller ones."
            )
        self.lr, self.momentum, self.weight_decay, self.amp = lr, momentum, weight_decay, amp
        self.kernels = chosen_kernels(kernels, self.device)

    @classmethod
    def of(
        cls,
        settings: ExtraStepsSettings,
        batches: Iterable[tuple[Tensor, Tensor]],
        device: torch.device | str,
        amp: bool,
    ) -> ExtraSteps:
        """Builds the recipe that settings say; the arguments are those of the class."""
        return cls(
            batches,
            num_batches=settings.num_batches,
            lr=settings.lr,
            device=device,
            amp=amp,
            kernels=settings.kernels,
        )

    def run(
        self,
        subnet: nn.Module,
        *,
        after_step: Callable[[int], None] | None = None,
        stop_above: float = math.inf,
    ) -> NDArray[np.float64]:
        """Trains ``subnet`` in place.

        Args:
            subnet: Gives (N, num_classes) logits; set to train mode before every step.
            after_step: Called after each update with the number of updates.
            stop_above: The training ends once the sum of the losses exceeds this.

        Returns:
            The losses in nats, each taken before its own update, of shape (num_steps,): one for
            each minibatch, or fewer where ``stop_above`` ended the training. Some may not be
            finite.
        """
        with using(self.kernels):
            optimizer = torch.optim.SGD(
                subnet.parameters(),
                lr=self.lr,
                momentum=self.momentum,
                nesterov=self.momentum > 0,
                weight_decay=self.weight_decay,
            )
            recorded, total = [], 0.0
            for number, (x, y) in enumerate(self.batches, start=1):
                subnet.train()
                with autocast(x.device, self.amp):
                    logits = subnet(x)
                loss = F.cross_entropy(logits.float(), y)
                recorded.append(loss.detach())
                if stop_above < math.inf:  # otherwise nothing waits for the device
                    total += loss.item()
                    if total > stop_above:
                        break
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                if after_step is not None:
                    after_step(number)
        losses: NDArray[np.float64] = torch.stack(recorded).cpu().double().numpy()
        return losses


def failure(losses: NDArray[np.float64]) -> str | None:
    """Says which loss of a training is not finite; None if all are."""
    bad = np.flatnonzero(~np.isfinite(losses))
    if not len(bad):
        return None
    return f"The training loss became {losses[bad[0]]:.4g} at step {bad[0]}."


def machine_facts(
    settings: EstimatorSettings | None, device: torch.device, amp: bool
) -> dict[str, Any]:
    """Returns what decides scores of the machine they are measured on, for the header of trials.

    Args:
        settings: Settings of the scores; None for the defaults.
        device: What they are measured on.
        amp: Whether that is in bfloat16 autocast.
    """
    facts = {"device": device.type, "amp": amp}
    if isinstance(settings, ExtraStepsSettings):
        kernels = chosen_kernels(settings.kernels, device)
        if kernels != OFF:  # as with searches of before there were any
            facts["kernels"] = kernels
    return facts
