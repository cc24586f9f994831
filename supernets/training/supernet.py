"""The training of a supernet: what one step adds to the gradients, and what surrounds the steps.

Per step the sampler draws paths from the step's own rng, each path's loss on the same minibatch is
backpropagated, and one optimizer step follows on the mean or, where the sampler says so, the sum of
their gradients. Everything random follows from (seed, step), so a run resumed from any checkpoint
continues to the same bits on a CPU.

Papers: Once for All (a teacher's soft labels), https://arxiv.org/abs/1908.09791; BigNAS (in-place
distillation), https://arxiv.org/abs/2003.11142; DARTS (the auxiliary head's loss),
https://arxiv.org/abs/1806.09055

With the defaults it is how the TSE authors train their supernets. Differs from their code:

1. Bfloat16 autocast and channels_last where the hardware has them.
2. With ``inactive_grads="zero"`` operations off the path feel weight decay and momentum from the
   first step on; in their code only once they have been sampled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from supernets.data.loaders import Loaders
from supernets.data.mixup import SeededMixup
from supernets.networks.base import Supernet
from supernets.networks.batchnorm import synchronise_batchnorm
from supernets.runtime.device import autocast
from supernets.runtime.ranks import ProcessInfo
from supernets.runtime.signals import StopRequest
from supernets.spaces import Architecture, SearchSpace
from supernets.training.checkpoint import save_supernet
from supernets.training.evaluation import evaluate_recalibrated
from supernets.training.loop import (
    StepLosses,
    TrainingLoop,
    TrainingTask,
    TrainResult,
    seeded_draws,
)
from supernets.training.optimizers import create_optimizer, create_scheduler
from supernets.training.own_paths import draw_paths
from supernets.training.path_sampling import PathSampler
from supernets.training.supernet_config import TrainConfig

#: Validation images the probe architectures are measured on after every epoch.
NUM_PROBE_IMAGES = 2048
#: Train minibatches that set a probe's BatchNorm statistics first.
NUM_PROBE_BN_BATCHES = 10


def train_supernet(
    supernet: Supernet,
    loaders: Loaders,
    paths: PathSampler,
    config: TrainConfig,
    output: Path,
    *,
    device: torch.device,
    space: SearchSpace | None = None,
    teacher: nn.Module | None = None,
    ranks: ProcessInfo | None = None,
    resume_from: Mapping[str, Any] | None = None,
    checkpoint_minutes: float = 10.0,
    run_settings: Mapping[str, Any] | None = None,
    stop: StopRequest | None = None,
) -> TrainResult:
    """Trains ``supernet`` in place and keeps ``last.pt`` and ``summary.csv`` in ``output``.

    SIGTERM and Ctrl-C finish the step, write a checkpoint and return.

    Args:
        supernet: The supernet to train; moved to ``device``.
        loaders: Train split to learn from, val split for the probes.
        paths: Draws the paths of each step.
        config: The recipe.
        output: An existing folder.
        device: Device to train on.
        space: Space that probes are drawn from; None for the whole space of the supernet.
        teacher: Network whose logits are learned from beside the labels, in train mode as in OFA's
            code; not by paths that learn from another path. Moved to ``device``.
        ranks: Which of the processes of ``torchrun`` this one is, whose process group has started;
            None for a single process.
        resume_from: Checkpoint read with ``read_checkpoint`` whose weights ``supernet`` already
            holds.
        checkpoint_minutes: Minutes between checkpoints within an epoch; one is also written after
            every epoch.
        run_settings: Plain values stored in every checkpoint, such as the data settings.
        stop: Stop request that SIGTERM and Ctrl-C set; None for one of this training alone.

    Raises:
        ValueError: If ``config`` drops blocks and the supernet has none to drop, or only one of
            them has an auxiliary head.
        TrainingError: If a loss or a weight is not finite; names the step and the learning rate,
            and the path of the loss.
        OwnCodeError: If paths of one's own fail, or are no architectures of the space.
    """
    if config.drop_path > 0 and not supernet.has_drop_path:
        raise ValueError(
            f"The supernet of space {supernet.space.name!r} has no blocks to drop; "
            "leave --drop-path out."
        )
    if config.aux_weight > 0 and not supernet.has_auxiliary_head:
        raise ValueError(
            f"The supernet of space {supernet.space.name!r} has no auxiliary head for an "
            f"aux_weight of {config.aux_weight:g}; build it with one, or leave aux_weight at 0."
        )
    if supernet.has_auxiliary_head and config.aux_weight == 0:
        raise ValueError(
            "An aux_weight of 0 leaves the auxiliary head of the supernet untrained; set it, or "
            "build the supernet without."
        )
    ranks = ranks or ProcessInfo()
    for module in (supernet, teacher):
        if module is not None:
            module.to(device)
            if config.channels_last:
                module.to(memory_format=torch.channels_last)
    if config.sync_bn:
        synchronise_batchnorm(supernet)
    task = _SupernetTask(
        supernet,
        loaders,
        paths,
        config,
        device=device,
        space=space or supernet.space,
        teacher=teacher,
        ranks=ranks,
        run_settings=run_settings or {},
    )
    optimizer = create_optimizer(supernet, config)
    loop = TrainingLoop(
        task,
        loaders.train,
        optimizer,
        create_scheduler(optimizer, config, len(loaders.train)),
        epochs=config.epochs,
        output=output,
        device=device,
        ranks=ranks,
        clip_grad=config.clip_grad,
        clip_value=config.clip_value,
        zero_gradients=config.inactive_grads != "skip",
        ema_decay=config.ema_decay,
        contiguous=not config.channels_last,
        kernels=config.kernels,
    )
    if resume_from is not None:
        loop.restore(resume_from)
    return loop.run(checkpoint_minutes, stop)


class _SupernetTask(TrainingTask):
    """Paths of a supernet; ``train_supernet`` is its public face."""

    module: Supernet

    def __init__(
        self,
        supernet: Supernet,
        loaders: Loaders,
        paths: PathSampler,
        config: TrainConfig,
        *,
        device: torch.device,
        space: SearchSpace,
        teacher: nn.Module | None,
        ranks: ProcessInfo,
        run_settings: Mapping[str, Any],
    ) -> None:
        self.module, self.loaders, self.paths, self.config = supernet, loaders, paths, config
        self.device, self.teacher, self.ranks = device, teacher, ranks
        if teacher is not None:
            teacher.train()
        self.run_settings = run_settings
        self.mixing: SeededMixup | None = None
        if config.mixup > 0 or config.cutmix > 0:
            self.mixing = SeededMixup(
                mixup=config.mixup,
                cutmix=config.cutmix,
                label_smoothing=config.label_smoothing,
                num_classes=supernet.num_classes,
                # the ranks mix images of their own
                seed=config.seed * ranks.world_size + ranks.rank,
            )
        probe_rng = np.random.default_rng((config.seed, 1))
        self.probes = [space.sample(probe_rng) for _ in range(config.num_probes)]
        # of an ordered space the extremes tell more than a mean
        self.extremes = space.extremes() if space.is_ordered and config.num_probes else ()

    def add_gradients(self, x: Tensor, y: Tensor, step: int, weight: float) -> StepLosses:
        """The gradients of the paths of the step, averaged or summed."""
        config = self.config
        archs = draw_paths(
            self.paths,
            self.module.space,
            np.random.default_rng((config.seed, 0, step)),
            lambda arch: self._measure_loss(arch, x, y),
        )
        smoothing, labels = config.label_smoothing, y
        if self.mixing is not None:
            x, labels = self.mixing(x, y, step)
            smoothing = 0.0  # done by mixing
        drops = config.dropout > 0 or config.drop_path > 0
        key = (config.seed, 2, step, self.ranks.rank)
        with seeded_draws(self.device, *key) if drops else nullcontext():
            losses = train_step(
                self.module,
                archs,
                x,
                labels,
                label_smoothing=smoothing,
                dropout=config.dropout,
                drop_path=config.drop_path,
                distills=self.paths.distills,
                teacher_logits=self._teach(x),
                kd_ratio=config.kd_ratio,
                aux_weight=config.aux_weight,
                amp=config.amp,
                weight=weight if self.paths.sums_gradients else weight / len(archs),
            )
        return StepLosses(
            losses, lambda i: f", path {_canonical_text(self.module.space, archs[i])}"
        )

    @torch.no_grad()
    def _teach(self, x: Tensor) -> Tensor | None:
        """The teacher's logits, if there is a teacher."""
        if self.teacher is None:
            return None
        with autocast(self.device, self.config.amp):
            logits: Tensor = self.teacher(x)
        return logits.float()

    @torch.no_grad()
    def _measure_loss(self, arch: Architecture, x: Tensor, y: Tensor) -> float:
        """Loss of a candidate path over the images of all ranks, which then choose alike."""
        with autocast(self.device, self.config.amp):
            logits = self.module(x, arch)
        loss = F.cross_entropy(logits.float(), y, reduction="sum")
        if self.ranks.world_size > 1:
            dist.all_reduce(loss)
        return loss.item()

    def measure(self, averaged: nn.Module) -> dict[str, float]:
        """Validation top-1 (percent) of the probe architectures, BatchNorm recalibrated."""
        if not self.probes:
            return {}
        num_batches = -(-NUM_PROBE_IMAGES // self.loaders.val.batch_size)
        val_batches = list(islice(self.loaders.val, num_batches))
        bn_batches = list(islice(self.loaders.train_eval, NUM_PROBE_BN_BATCHES))
        supernet = cast(Supernet, averaged)

        def top1(arch: Architecture) -> float:
            result = evaluate_recalibrated(
                supernet,
                supernet.extract(arch).to(self.device),
                val_batches,
                recalibrate_batches=bn_batches,
                device=self.device,
                amp=self.config.amp,
            )
            return result.top1

        row = {"probe_val_top1": float(np.mean([top1(arch) for arch in self.probes]))}
        for name, arch in zip(("smallest", "largest"), self.extremes, strict=False):
            row[f"{name}_val_top1"] = top1(arch)
        return row

    def save(self, path: Path, averaged: nn.Module, **state: Any) -> None:
        """Writes a checkpoint of the supernet with everything its training needs."""
        save_supernet(
            path,
            cast(Supernet, averaged),
            train_config=asdict(self.config),
            **state,
            **self.run_settings,
        )


def _canonical_text(space: SearchSpace, arch: Architecture) -> str:
    """The notation of a path, which need not be canonical itself."""
    return space.format(space.architecture(arch.choices))


def train_step(
    supernet: Supernet,
    archs: Sequence[Architecture],
    x: Tensor,
    y: Tensor,
    *,
    label_smoothing: float = 0.0,
    dropout: float = 0.0,
    drop_path: float = 0.0,
    distills: bool = False,
    teacher_logits: Tensor | None = None,
    kd_ratio: float = 1.0,
    aux_weight: float = 0.0,
    amp: bool = False,
    weight: float | None = None,
) -> Tensor:
    """Adds the weighted sum of the gradients of the losses of ``archs`` to the parameters'.

    Args:
        supernet: The supernet, in train mode.
        archs: The paths; all see the same minibatch.
        x: Images (N, C, H, W).
        y: Labels (N,), or soft labels (N, num_classes).
        label_smoothing: Label smoothing from 0 to less than 1.
        dropout: Rate of dropout; with ``distills`` of the first path only.
        drop_path: Rate of drop path, in the sense of the supernet's ``forward``; likewise.
        distills: Whether the paths after the first learn from its logits instead of ``y``.
        teacher_logits: Logits (N, num_classes) to learn from beside ``y``, or None.
        kd_ratio: Weight of the loss against ``teacher_logits``.
        aux_weight: Weight of the loss of the auxiliary head, which learns what the path learns but
            for ``teacher_logits``; if positive, the supernet needs such a head.
        amp: Whether to run in bfloat16 autocast.
        weight: Weight of each path; None for 1 / number of paths.

    Returns:
        Loss of each path, shape (num_paths,), in nats.
    """
    if weight is None:
        weight = 1 / len(archs)
    losses = []
    soft_labels = None  # of the first path
    for arch in archs:
        is_student = soft_labels is not None
        labels, smoothing = (y, label_smoothing) if soft_labels is None else (soft_labels, 0.0)
        rates = {"dropout": 0.0, "drop_path": 0.0}
        if not is_student:
            rates = {"dropout": dropout, "drop_path": drop_path}
        auxiliary_logits: Tensor | None = None
        with autocast(x.device, amp):  # logits are (N, num_classes)
            if aux_weight > 0:
                logits, auxiliary_logits = supernet.forward_with_auxiliary(x, arch, **rates)
            else:
                logits = supernet(x, arch, **rates)
        logits = logits.float()
        loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
        if auxiliary_logits is not None:
            loss = loss + aux_weight * F.cross_entropy(
                auxiliary_logits.float(), labels, label_smoothing=smoothing
            )
        if not is_student:
            if teacher_logits is not None:
                loss = loss + kd_ratio * F.cross_entropy(logits, teacher_logits.softmax(dim=1))
            if distills:
                soft_labels = logits.detach().softmax(dim=1)
        (loss * weight).backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
    return torch.stack(losses)
