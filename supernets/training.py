"""The one weight-sharing training loop.

Per step the sampler draws paths from the step's own rng, each path's loss on the same minibatch is
backpropagated, and one optimizer step follows on the mean or, where the sampler says so, the sum of
their gradients. Everything random follows from (seed, step), so a run resumed from any checkpoint
continues to the same bits on a CPU.

With the defaults it is how the TSE authors train their supernets. Differs from their code:

1. Bfloat16 autocast and channels_last where the hardware has them.
2. With ``inactive_grads="zero"`` operations off the path feel weight decay and momentum from the
   first step on; in their code only once they have been sampled.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from timm.scheduler.scheduler import Scheduler
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from tqdm import tqdm

from supernets.base import Supernet
from supernets.batchnorm import recalibrate_bn, synchronise_batchnorm
from supernets.checkpoint import save_supernet
from supernets.data import Loaders
from supernets.device import autocast
from supernets.distributed import (
    Ranks,
    all_reduce_gradients,
    average_buffers,
    broadcast_weights,
)
from supernets.evaluation import evaluate
from supernets.interrupts import StopRequest
from supernets.mixing import Mixing
from supernets.path_sampling import PathSampler
from supernets.spaces import Architecture, SearchSpace
from supernets.train_config import TrainConfig, create_optimizer, create_scheduler
from supernets.train_step import train_step
from supernets.training_log import TrainingLog

_logger = logging.getLogger(__name__)

#: Validation images the probe architectures are measured on after every epoch.
NUM_PROBE_IMAGES = 2048
#: Train minibatches that set a probe's BatchNorm statistics first.
NUM_PROBE_BN_BATCHES = 10
#: Steps between reading losses back from an accelerator; a CPU reads them at once.
READ_EVERY = 25


class TrainingError(RuntimeError):
    """Training cannot go on; the message says where and why."""


@dataclass
class Progress:
    """How far a training has come; stored in checkpoints."""

    step: int = 0  # optimizer steps done
    loss_sum: float = 0.0  # of this epoch's steps, nats
    num_losses: int = 0
    seconds: float = 0.0  # spent training this epoch
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class TrainResult:
    """How a training ended.

    Args:
        is_finished: False if it was asked to stop; the checkpoint then continues it.
        epochs: Whole epochs done.
        steps: Optimizer steps done.
        history: One row per epoch, as in ``summary.csv``.
        checkpoint: The last checkpoint written.
    """

    is_finished: bool
    epochs: int
    steps: int
    history: list[dict[str, float]]
    checkpoint: Path


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
    ranks: Ranks | None = None,
    resume_from: Mapping[str, Any] | None = None,
    checkpoint_minutes: float = 10.0,
    run_settings: Mapping[str, Any] | None = None,
    stop: StopRequest | None = None,
) -> TrainResult:
    """Trains ``supernet`` in place and keeps ``last.pt`` and ``summary.csv`` in ``output``.

    SIGTERM and Ctrl-C finish the step, write a checkpoint and return.

    Args:
        supernet: Moved to ``device``.
        loaders: Train split to learn from, val split for the probes.
        paths: Draws the paths of each step.
        config: The recipe.
        output: An existing folder.
        device: Where to train.
        space: Where probes are drawn from; None for the whole space of the supernet.
        teacher: Network whose logits all paths learn from beside the labels, in train mode as in
            OFA's code. Moved to ``device``.
        ranks: This process among those of ``torchrun``, whose process group has started.
        resume_from: Checkpoint read with ``read_checkpoint`` whose weights ``supernet`` already
            holds.
        checkpoint_minutes: Minutes between checkpoints within an epoch; one is also written after
            every epoch.
        run_settings: Plain values stored in every checkpoint, such as the data settings.
        stop: What SIGTERM and Ctrl-C set; None for this training alone.

    Raises:
        ValueError: If ``config`` drops blocks and the supernet has none to drop.
        TrainingError: If a loss or a weight is not finite; names the step and the learning rate,
            and the path of the loss.
    """
    trainer = _Trainer(
        supernet,
        loaders,
        paths,
        config,
        output,
        device=device,
        space=space or supernet.space,
        teacher=teacher,
        ranks=ranks or Ranks(),
        run_settings=run_settings or {},
    )
    if resume_from is not None:
        trainer.restore(resume_from)
    with StopRequest() if stop is None else nullcontext(stop) as request:
        is_finished = trainer.run(request, checkpoint_minutes)
    progress = trainer.progress
    return TrainResult(
        is_finished, len(progress.history), progress.step, progress.history, output / "last.pt"
    )


class _Trainer:
    """State of one training run; ``train_supernet`` is its public face."""

    def __init__(
        self,
        supernet: Supernet,
        loaders: Loaders,
        paths: PathSampler,
        config: TrainConfig,
        output: Path,
        *,
        device: torch.device,
        space: SearchSpace,
        teacher: nn.Module | None,
        ranks: Ranks,
        run_settings: Mapping[str, Any],
    ) -> None:
        if config.drop_path > 0 and not supernet.has_drop_path:
            raise ValueError(
                f"The supernet of space {space.name!r} has no blocks to drop; "
                "leave --drop-path out."
            )
        self.supernet = supernet.to(device)
        self.teacher = None if teacher is None else teacher.to(device)
        if config.channels_last:
            for module in (self.supernet, self.teacher):
                if module is not None:
                    module.to(memory_format=torch.channels_last)
        if config.sync_bn:
            synchronise_batchnorm(self.supernet)
        broadcast_weights(self.supernet)
        self.loaders, self.paths, self.config, self.output = loaders, paths, config, output
        self.device, self.ranks, self.run_settings = device, ranks, run_settings
        self.mixing: Mixing | None = None
        if config.mixup > 0 or config.cutmix > 0:
            self.mixing = Mixing(
                mixup=config.mixup,
                cutmix=config.cutmix,
                label_smoothing=config.label_smoothing,
                num_classes=supernet.num_classes,
                # the ranks mix images of their own
                seed=config.seed * self.ranks.world_size + self.ranks.rank,
            )
        self.steps_per_epoch = len(loaders.train)
        self.optimizer = create_optimizer(supernet, config)
        self.scheduler = create_scheduler(self.optimizer, config, self.steps_per_epoch)
        if config.inactive_grads == "zero":
            for parameter in supernet.parameters():
                parameter.grad = torch.zeros_like(parameter)
        self.ema: ModelEmaV3 | None = None
        if config.ema_decay is not None:
            self.ema = ModelEmaV3(self.supernet, decay=config.ema_decay, use_warmup=True)
        self.progress = Progress()
        self.unread: list[tuple[int, list[Architecture], Tensor]] = []
        probe_rng = np.random.default_rng((config.seed, 1))
        self.probes = [space.sample(probe_rng) for _ in range(config.num_probes)]
        # of an ordered space the extremes tell more than a mean
        self.extremes = space.extremes() if space.is_ordered and config.num_probes else ()

    def restore(self, checkpoint: Mapping[str, Any]) -> None:
        if self.ema is not None:
            self.ema.module.load_state_dict(checkpoint["state_dict"])
            self.supernet.load_state_dict(checkpoint["raw_state_dict"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.progress = Progress(**checkpoint["progress"])

    def run(self, stop: StopRequest, checkpoint_minutes: float) -> bool:
        """Trains to the end or to a requested stop; says which by True or False."""
        progress = self.progress
        log = TrainingLog(self.output) if self.ranks.is_main else None
        saved_at = time.monotonic()
        if self.config.epochs == 0:
            self._save()
        while progress.step < self.config.epochs * self.steps_per_epoch:
            epoch, start = divmod(progress.step, self.steps_per_epoch)
            bar = tqdm(
                total=self.steps_per_epoch,
                initial=start,
                desc=f"epoch {epoch + 1}/{self.config.epochs}",
                unit="step",
                disable=None if self.ranks.is_main else True,
                leave=epoch + 1 == self.config.epochs,
            )
            self.supernet.train()
            started = time.monotonic()
            for x, y in self.loaders.train.epoch(epoch, start):
                is_due = time.monotonic() - saved_at > 60 * checkpoint_minutes
                must_stop, must_save = self._step(x, y, stop, is_due)
                bar.update()
                if (must_stop or must_save) and progress.step % self.steps_per_epoch:
                    progress.seconds += time.monotonic() - started
                    self._read_losses()
                    self._save()
                    started = saved_at = time.monotonic()
                    if must_stop:
                        bar.close()
                        return False
            progress.seconds += time.monotonic() - started
            bar.close()
            self._end_epoch(epoch, log)
            saved_at = time.monotonic()
            if must_stop:
                break
        return progress.step == self.config.epochs * self.steps_per_epoch

    def _step(self, x: Tensor, y: Tensor, stop: StopRequest, must_save: bool) -> tuple[bool, bool]:
        """One optimizer step; gives back what all ranks agree to do after it: stop, save."""
        config, step = self.config, self.progress.step
        self.scheduler.step_update(step)
        archs = self.paths.sample(
            np.random.default_rng((config.seed, 0, step)),
            lambda arch: self._measure_loss(arch, x, y),
        )
        smoothing, labels = config.label_smoothing, y
        if self.mixing is not None:
            x, labels = self.mixing(x, y, step)
            smoothing = 0.0  # done by mixing
        weight = 1.0 if self.paths.sums_gradients else 1 / len(archs)
        with self._seeded_dropout(step):
            losses = train_step(
                self.supernet,
                archs,
                x,
                labels,
                label_smoothing=smoothing,
                dropout=config.dropout,
                drop_path=config.drop_path,
                distills=self.paths.distills,
                teacher_logits=self._teach(x),
                kd_ratio=config.kd_ratio,
                amp=config.amp,
                weight=weight * len(y) if self.ranks.world_size > 1 else weight,
            )
        must_stop = stop.is_set
        if self.ranks.world_size > 1:
            flags = torch.tensor([float(must_stop), float(must_save)], device=self.device)
            extras = torch.cat([losses * len(y), flags])
            num_images, extras = all_reduce_gradients(self.supernet.parameters(), len(y), extras)
            losses = extras[:-2] / num_images
            must_stop, must_save = (bool(flag) for flag in extras[-2:] > 0)
        if config.clip_grad is not None:
            torch.nn.utils.clip_grad_norm_(self.supernet.parameters(), config.clip_grad)
        if config.clip_value is not None:
            torch.nn.utils.clip_grad_value_(self.supernet.parameters(), config.clip_value)
        self.unread.append((step, archs, losses))
        if self.device.type == "cpu" or len(self.unread) >= READ_EVERY:
            self._read_losses()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=config.inactive_grads == "skip")
        self.progress.step += 1
        if self.ema is not None:
            self.ema.update(self.supernet, step=self.progress.step)
        return must_stop, must_save

    @torch.no_grad()
    def _teach(self, x: Tensor) -> Tensor | None:
        """The teacher's logits, if there is a teacher."""
        if self.teacher is None:
            return None
        with autocast(self.device, self.config.amp):
            logits: Tensor = self.teacher.train()(x)
        return logits.float()

    @torch.no_grad()
    def _measure_loss(self, arch: Architecture, x: Tensor, y: Tensor) -> float:
        """Loss of a candidate path over the images of all ranks, which then choose alike."""
        with autocast(self.device, self.config.amp):
            logits = self.supernet(x, arch)
        loss = F.cross_entropy(logits.float(), y, reduction="sum")
        if self.ranks.world_size > 1:
            dist.all_reduce(loss)
        return loss.item()

    @contextmanager
    def _seeded_dropout(self, step: int) -> Iterator[None]:
        """Makes what dropout draws follow from (seed, step, rank), whatever ran before."""
        if self.config.dropout == 0 and self.config.drop_path == 0:
            yield
            return
        key = np.random.SeedSequence((self.config.seed, 2, step, self.ranks.rank))
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(int(key.generate_state(1)[0]))
            yield

    def _read_losses(self) -> None:
        """Adds up the losses of the latest steps, and stops at the first that is not finite."""
        for step, archs, losses in self.unread:
            values = losses.tolist()
            for arch, value in zip(archs, values, strict=True):
                if not np.isfinite(value):
                    lr = _lr_at(self.scheduler, step)
                    raise TrainingError(
                        f"The loss became {value} at step {step}, lr {lr:.4g}, path "
                        f"{self.supernet.space.format(arch)}; lower --lr or set --clip-grad. "
                        f"{self._last_good_state()}"
                    )
            self.progress.loss_sum += sum(values) / len(values)
            self.progress.num_losses += 1
        self.unread.clear()

    def _end_epoch(self, epoch: int, log: TrainingLog | None) -> None:
        self._read_losses()
        progress = self.progress
        row = {
            "epoch": epoch + 1,
            "step": progress.step,
            "lr": _lr_at(self.scheduler, progress.step - 1),
            "train_loss": progress.loss_sum / progress.num_losses,
            "seconds": progress.seconds,
        }
        if self.probes and self.ranks.is_main:
            row.update(self._probe())
        progress.history.append(row)
        progress.loss_sum, progress.num_losses, progress.seconds = 0.0, 0, 0.0
        if log is not None:
            log.write(progress.history)
            shown = ", ".join(f"{name} {value:.4g}" for name, value in row.items())
            _logger.info(shown)
        self._save()

    def _probe(self) -> dict[str, float]:
        """Validation top-1 (percent) of the probe architectures, BatchNorm recalibrated."""
        num_batches = -(-NUM_PROBE_IMAGES // self.loaders.val.batch_size)
        val_batches = list(islice(self.loaders.val, num_batches))
        num_batches = min(NUM_PROBE_BN_BATCHES, len(self.loaders.train_eval))
        bn_batches = list(islice(self.loaders.train_eval, num_batches))
        supernet = self._averaged()

        def measure(arch: Architecture) -> float:
            subnet = supernet.to_standalone(supernet.extract(arch))
            recalibrate_bn(subnet, bn_batches, num_batches, amp=self.config.amp)
            result = evaluate(subnet, val_batches, device=self.device, amp=self.config.amp)
            return result.top1

        row = {"probe_val_top1": float(np.mean([measure(arch) for arch in self.probes]))}
        for name, arch in zip(("smallest", "largest"), self.extremes, strict=False):
            row[f"{name}_val_top1"] = measure(arch)
        return row

    def _averaged(self) -> Supernet:
        """The supernet with the weights that are stored as its own."""
        return self.supernet if self.ema is None else cast(Supernet, self.ema.module)

    def _check_weights(self) -> None:
        """Keeps a last step that broke the weights, and had a finite loss, out of checkpoints."""
        sums = torch.stack([parameter.detach().sum() for parameter in self.supernet.parameters()])
        if not sums.isfinite().all():
            step = self.progress.step - 1
            lr = _lr_at(self.scheduler, step)
            raise TrainingError(
                f"The weights are not finite after step {step}, lr {lr:.4g}; lower --lr or set "
                f"--clip-grad. {self._last_good_state()}"
            )

    def _last_good_state(self) -> str:
        return f"{self.output / 'last.pt'} holds the last good state, if one was reached."

    def _save(self) -> None:
        average_buffers(self.supernet)
        if self.ema is not None:
            average_buffers(self.ema.module)
        self._check_weights()
        raw = {"raw_state_dict": self.supernet.state_dict()} if self.ema is not None else {}
        if self.ranks.is_main:
            save_supernet(
                self.output / "last.pt",
                self._averaged(),
                **raw,
                optimizer=self.optimizer.state_dict(),
                progress=asdict(self.progress),
                train_config=asdict(self.config),
                **self.run_settings,
            )
        if self.ranks.world_size > 1:
            dist.barrier()


def _lr_at(scheduler: Scheduler, step: int) -> float:
    return float(scheduler._get_lr(step)[0])
