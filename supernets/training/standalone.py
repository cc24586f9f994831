"""The training loop of an ordinary network, with timm's parts.

Everything random follows from (seed, step), so a run resumed from any checkpoint continues to the
same bits on a CPU.

The auxiliary head and the growing rate of drop path are those of DARTS,
https://arxiv.org/abs/1806.09055. Differs from the authors' code:

1. The rate of drop path grows with every step to its own; theirs with every epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import Tensor, nn

from supernets.data.loaders import Loaders
from supernets.kernels.choice import OFF
from supernets.networks.base import GrowingNetwork
from supernets.networks.single_images import check_single_images, smallest_minibatch
from supernets.runtime.device import autocast
from supernets.runtime.foreign_fields import check_weights
from supernets.runtime.ranks import ProcessInfo
from supernets.runtime.signals import StopRequest
from supernets.training.checkpoint import read_dict, write_archive
from supernets.training.checkpoint_fields import steps_done
from supernets.training.compiled_blocks import CompiledBlocks
from supernets.training.evaluation import evaluate
from supernets.training.loop import (
    StepLosses,
    TrainingLoop,
    TrainingTask,
    TrainResult,
    seeded_draws,
)
from supernets.training.optimizers import create_optimizer, create_scheduler
from supernets.training.standalone_config import RetrainConfig

FORMAT = "paceline-network-training"
VERSION = 1


def train_standalone(
    network: nn.Module,
    loaders: Loaders,
    config: RetrainConfig,
    output: Path,
    *,
    device: torch.device,
    ranks: ProcessInfo | None = None,
    resume_from: Mapping[str, Any] | None = None,
    checkpoint_minutes: float = 10.0,
    stop: StopRequest | None = None,
    run_settings: Mapping[str, Any] | None = None,
) -> TrainResult:
    """Trains ``network`` in place and keeps ``last.pt`` and ``summary.csv`` in ``output``.

    After every epoch the val split is measured; the test split is not read. SIGTERM and Ctrl-C
    finish the step, write a checkpoint and return. Once finished, ``network`` holds the result of
    the training: the averaged weights if the recipe averages, otherwise the last ones.

    Args:
        network: Network that gives (N, num_classes) logits; moved to ``device``. A ``NASNetSubnet``
            with auxiliary head where the recipe has a weight for it.
        loaders: Train split to learn from, val split to watch.
        config: The recipe.
        output: An existing folder.
        device: Device to train on.
        ranks: Which of the processes of ``torchrun`` this one is, whose process group has started;
            None for a single process.
        resume_from: Checkpoint read with ``read_network_checkpoint``.
        checkpoint_minutes: Minutes between checkpoints within an epoch; one is also written after
            every epoch.
        stop: Stop request that SIGTERM and Ctrl-C set; None for one of this training alone.
        run_settings: Plain values stored in every checkpoint, such as the data settings.

    Raises:
        ValueError: If ``resume_from`` is of another network, ``check_trainable`` refuses, or
            nothing can be compiled where the recipe asks for it.
        TrainingError: If a loss or a weight is not finite; names the step and the learning rate.
    """
    ranks = ranks or ProcessInfo()
    check_trainable(network, loaders, config, ranks)
    if resume_from is not None and isinstance(network, GrowingNetwork):
        network.make_room(resume_from["state_dict"])
    network.to(device)
    if config.channels_last:
        network.to(memory_format=torch.channels_last)
    optimizer = create_optimizer(network, config)
    loop = TrainingLoop(
        _NetworkTask(network, loaders, config, device, ranks, run_settings or {}),
        loaders.train,
        optimizer,
        create_scheduler(optimizer, config, len(loaders.train)),
        epochs=config.stop_after or config.epochs,
        output=output,
        device=device,
        ranks=ranks,
        # another seed goes through epochs that no other seed sees, of the same splits
        first_epoch=config.seed * config.epochs,
        clip_grad=config.clip_grad,
        clip_value=config.clip_value,
        ema_decay=config.ema_decay,
        ema_warmup=config.ema_warmup,
        contiguous=not config.channels_last,
        kernels=config.kernels,
    )
    if resume_from is not None:
        loop.restore(resume_from)
    result = loop.run(checkpoint_minutes, stop)
    if result.is_finished and loop.averaged is not network:
        network.load_state_dict(loop.averaged.state_dict())
    return result


def read_network_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint that ``train_standalone`` wrote, onto the CPU.

    Raises:
        ValueError: If the file is missing, truncated, or something else.
    """
    what = "a checkpoint of a network's training; expected one from supernet-retrain"
    checkpoint = read_dict(path, FORMAT, VERSION, what)
    check_weights(path, checkpoint)
    steps_done(path, checkpoint)
    return checkpoint


def training_loss(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    label_smoothing: float = 0.0,
    aux_weight: float = 0.0,
    amp: bool = False,
) -> Tensor:
    """Computes the mean cross entropy of a minibatch in nats, a scalar with its graph.

    Args:
        network: Network in train mode; a ``NASNetSubnet`` with auxiliary head if that has a weight.
        x: Images (N, C, H, W).
        y: Labels (N,), or soft labels (N, num_classes).
        label_smoothing: Label smoothing from 0 to less than 1; 0 for labels that are smooth
            already.
        aux_weight: Factor on the cross entropy of the auxiliary head, which is added; 0 for none.
        amp: Whether to run in bfloat16 autocast.
    """

    def cross_entropy(logits: Tensor) -> Tensor:  # (N, num_classes)
        return F.cross_entropy(logits.float(), y, label_smoothing=label_smoothing)

    with autocast(x.device, amp):
        if aux_weight > 0:
            logits, auxiliary_logits = cast(Any, network).forward_with_auxiliary(x)
        else:
            logits, auxiliary_logits = network(x), None
    loss = cross_entropy(logits)
    if auxiliary_logits is not None:
        loss = loss + aux_weight * cross_entropy(auxiliary_logits)
    return loss


def check_trainable(
    network: nn.Module, loaders: Loaders, config: RetrainConfig, ranks: ProcessInfo
) -> None:
    """Makes sure that ``train_standalone`` can do what a recipe says.

    Raises:
        ValueError: If the network lacks what the recipe is about, or a minibatch is too small for
            its BatchNorm.
    """
    has_head = getattr(network, "has_auxiliary_head", False)
    if config.aux_weight > 0 and not has_head:
        raise ValueError("aux_weight needs a network with an auxiliary head; leave it out.")
    check_single_images(
        network,
        loaders.input_size,
        smallest_minibatch(loaders.train, ranks.world_size),
        call=lambda trained, x: (
            trained.forward_with_auxiliary(x) if config.aux_weight > 0 else trained(x)
        ),
    )
    if config.drop_path_ramp and not any(drop.drop_prob for drop in _drop_paths(network)):
        raise ValueError("drop_path_ramp needs a network with drop path; leave it out.")


def _drop_paths(network: nn.Module) -> list[DropPath]:
    return [module for module in network.modules() if isinstance(module, DropPath)]


class _NetworkTask(TrainingTask):
    """An ordinary network; ``train_standalone`` is its public face."""

    def __init__(
        self,
        network: nn.Module,
        loaders: Loaders,
        config: RetrainConfig,
        device: torch.device,
        ranks: ProcessInfo,
        run_settings: Mapping[str, Any],
    ) -> None:
        self.module, self.loaders, self.config = network, loaders, config
        self.device, self.ranks, self.run_settings = device, ranks, run_settings
        self.mixing = config.create_mixing(loaders.num_classes, ranks)
        self.growing = _drop_paths(network) if config.drop_path_ramp else []
        self.compiled = CompiledBlocks(network, device) if config.compile != OFF else None

    def add_gradients(self, x: Tensor, y: Tensor, step: int, weight: float) -> StepLosses:
        """The gradient of the mean cross entropy."""
        config = self.config
        smoothing, epoch = config.label_smoothing, step // len(self.loaders.train)
        if self.mixing is not None and epoch < (config.mixup_off_epoch or config.epochs):
            x, y = self.mixing(x, y, step)
            smoothing = 0.0  # the mixed labels are smooth
        dropout = seeded_draws(self.device, config.seed, step, self.ranks.rank)
        compiled = nullcontext() if self.compiled is None else self.compiled.step(x)
        with dropout, self._drop_path_of(step), compiled:
            loss = training_loss(
                self.module,
                x,
                y,
                label_smoothing=smoothing,
                aux_weight=config.aux_weight,
                amp=config.amp,
            )
            (loss * weight).backward()  # type: ignore[no-untyped-call]
        return StepLosses(loss.detach()[None])

    @contextmanager
    def _drop_path_of(self, step: int) -> Iterator[None]:
        """Lowers rates of drop path that grow to those of a step, for the time of a block."""
        rates = [drop.drop_prob for drop in self.growing]
        for drop in self.growing:
            drop.drop_prob *= step / (self.config.epochs * len(self.loaders.train))
        try:
            yield
        finally:
            for drop, rate in zip(self.growing, rates, strict=True):
                drop.drop_prob = rate

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
        write_archive(path, checkpoint)
