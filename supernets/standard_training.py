"""The training loop of an ordinary network, with timm's parts.

Everything random follows from (seed, step), so a run resumed from any checkpoint continues to the
same bits on a CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernets.atomic import atomic_write
from supernets.checkpoint import read_dict
from supernets.data import Loaders
from supernets.device import autocast
from supernets.distributed import Ranks
from supernets.evaluation import evaluate
from supernets.retrain_config import RetrainConfig
from supernets.training_loop import (
    StepLosses,
    TrainingLoop,
    TrainingTask,
    TrainResult,
    seeded_dropout,
)

FORMAT = "paceline-network-training"
VERSION = 1


def train_network(
    network: nn.Module,
    loaders: Loaders,
    config: RetrainConfig,
    output: Path,
    *,
    device: torch.device,
    ranks: Ranks | None = None,
    resume_from: Mapping[str, Any] | None = None,
    checkpoint_minutes: float = 10.0,
    run_settings: Mapping[str, Any] | None = None,
) -> TrainResult:
    """Trains ``network`` in place and keeps ``last.pt`` and ``summary.csv`` in ``output``.

    After every epoch the val split is measured; the test split is not read. SIGTERM and Ctrl-C
    finish the step, write a checkpoint and return. Once finished, ``network`` holds the result of
    the training: the averaged weights if the recipe averages, otherwise the last ones.

    Args:
        network: Gives (N, num_classes) logits; moved to ``device``.
        loaders: Train split to learn from, val split to watch.
        config: The recipe.
        output: An existing folder.
        device: Where to train.
        ranks: This process among those of ``torchrun``, whose process group has started.
        resume_from: Checkpoint read with ``read_network_checkpoint``.
        checkpoint_minutes: Minutes between checkpoints within an epoch; one is also written after
            every epoch.
        run_settings: Plain values stored in every checkpoint, such as the data settings.

    Raises:
        ValueError: If ``resume_from`` is of another network.
        TrainingError: If a loss or a weight is not finite; names the step and the learning rate.
    """
    ranks = ranks or Ranks()
    network.to(device)
    if config.channels_last:
        network.to(memory_format=torch.channels_last)
    optimizer = config.create_optimizer(network)
    loop = TrainingLoop(
        _NetworkTask(network, loaders, config, device, ranks, run_settings or {}),
        loaders.train,
        optimizer,
        config.create_scheduler(optimizer, len(loaders.train)),
        epochs=config.epochs,
        output=output,
        device=device,
        ranks=ranks,
        # another seed goes through epochs that no other seed sees, of the same splits
        first_epoch=config.seed * config.epochs,
        clip_grad=config.clip_grad,
        clip_value=config.clip_value,
        ema_decay=config.ema_decay,
        ema_warmup=config.ema_warmup,
    )
    if resume_from is not None:
        loop.restore(resume_from)
    result = loop.run(checkpoint_minutes)
    if result.is_finished and loop.averaged is not network:
        network.load_state_dict(loop.averaged.state_dict())
    return result


def read_network_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint that ``train_network`` wrote, onto the CPU.

    Raises:
        ValueError: If the file is missing, truncated, or something else.
    """
    what = "a checkpoint of a network's training; expected one from supernet-retrain"
    return read_dict(path, FORMAT, VERSION, what)


def training_loss(
    network: nn.Module, x: Tensor, y: Tensor, *, label_smoothing: float = 0.0, amp: bool = False
) -> Tensor:
    """Mean cross entropy of a minibatch in nats, a scalar with its graph.

    Args:
        network: In train mode.
        x: Images (N, C, H, W).
        y: Labels (N,), or soft labels (N, num_classes).
        label_smoothing: From 0 to less than 1; 0 for labels that are smooth already.
        amp: Whether to run in bfloat16 autocast.
    """
    with autocast(x.device, amp):
        logits = network(x)  # (N, num_classes)
    return F.cross_entropy(logits.float(), y, label_smoothing=label_smoothing)


class _NetworkTask(TrainingTask):
    """An ordinary network; ``train_network`` is its public face."""

    def __init__(
        self,
        network: nn.Module,
        loaders: Loaders,
        config: RetrainConfig,
        device: torch.device,
        ranks: Ranks,
        run_settings: Mapping[str, Any],
    ) -> None:
        self.module, self.loaders, self.config = network, loaders, config
        self.device, self.ranks, self.run_settings = device, ranks, run_settings
        self.mixing = config.create_mixing(loaders.num_classes, ranks)

    def add_gradients(self, x: Tensor, y: Tensor, step: int, weight: float) -> StepLosses:
        """The gradient of the mean cross entropy."""
        config = self.config
        smoothing, epoch = config.label_smoothing, step // len(self.loaders.train)
        if self.mixing is not None and epoch < (config.mixup_off_epoch or config.epochs):
            x, y = self.mixing(x, y, step)
            smoothing = 0.0  # the mixed labels are smooth
        with seeded_dropout(self.device, config.seed, step, self.ranks.rank):
            loss = training_loss(self.module, x, y, label_smoothing=smoothing, amp=config.amp)
            (loss * weight).backward()  # type: ignore[no-untyped-call]
        return StepLosses(loss.detach()[None], ("",))

    def measure(self, averaged: nn.Module) -> dict[str, float]:
        """Accuracy and loss on val, also of the averaged weights if there are any."""
        row = self._evaluate("val", self.module)
        return row if averaged is self.module else row | self._evaluate("ema_val", averaged)

    def _evaluate(self, prefix: str, network: nn.Module) -> dict[str, float]:
        val = evaluate(network, self.loaders.val, device=self.device, amp=self.config.amp)
        return {f"{prefix}_top1": val.top1, f"{prefix}_loss": val.loss}

    def save(self, path: Path, averaged: nn.Module, **state: Any) -> None:
        """Writes a checkpoint with everything the training needs."""
        checkpoint = {
            "format": FORMAT,
            "version": VERSION,
            "state_dict": averaged.state_dict(),
            "config": asdict(self.config),
            **state,
            **self.run_settings,
        }
        with atomic_write(path, "wb") as file:
            torch.save(checkpoint, file)
