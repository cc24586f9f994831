"""The training loop of an ordinary network, with timm's parts.

Everything random follows from (seed, step), so a run resumed from any checkpoint continues to the
same bits on a CPU.
"""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from timm.utils import ModelEmaV3, dispatch_clip_grad
from torch import Tensor, nn
from tqdm import tqdm

from supernets.atomic import atomic_write
from supernets.checkpoint import _check_archive
from supernets.data import Loaders
from supernets.device import autocast
from supernets.distributed import (
    Ranks,
    all_reduce_gradients,
    average_buffers,
    broadcast_weights,
)
from supernets.dropout import set_dropout
from supernets.evaluation import evaluate
from supernets.interrupts import StopRequest
from supernets.retrain_config import RetrainConfig
from supernets.training import READ_EVERY, Progress, TrainingError, TrainResult
from supernets.training_log import TrainingLog

FORMAT = "paceline-network-training"
VERSION = 1

_logger = logging.getLogger(__name__)


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
        ValueError: If the recipe has dropout and the network does not, or ``resume_from`` is of
            another network.
        TrainingError: If a loss or a weight is not finite; names the step and the learning rate.
    """
    trainer = _Trainer(
        network, loaders, config, output, device, ranks or Ranks(), run_settings or {}
    )
    if resume_from is not None:
        trainer.restore(resume_from)
    with StopRequest() as stop:
        is_finished = trainer.run(stop, checkpoint_minutes)
    if is_finished and trainer.ema is not None:
        network.load_state_dict(trainer.ema.module.state_dict())
    progress = trainer.progress
    return TrainResult(
        is_finished, len(progress.history), progress.step, progress.history, output / "last.pt"
    )


def read_network_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint that ``train_network`` wrote, onto the CPU.

    Raises:
        ValueError: If the file is missing, truncated, or something else.
    """
    if not path.is_file():
        raise ValueError(f"There is no checkpoint at {path}.")
    _check_archive(path)
    foreign = f"{path} is not a checkpoint of a network's training; expected one of retraining."
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(foreign) from error
    if not isinstance(checkpoint, dict) or checkpoint.get("format") != FORMAT:
        raise ValueError(foreign)
    if checkpoint["version"] > VERSION:
        raise ValueError(
            f"{path} has checkpoint version {checkpoint['version']}, this version reads up to "
            f"{VERSION}; update paceline."
        )
    return cast(dict[str, Any], checkpoint)


def loss_of(
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


class _Trainer:
    """State of one training run; ``train_network`` is its public face."""

    def __init__(
        self,
        network: nn.Module,
        loaders: Loaders,
        config: RetrainConfig,
        output: Path,
        device: torch.device,
        ranks: Ranks,
        run_settings: Mapping[str, Any],
    ) -> None:
        set_dropout(network, config.dropout, config.drop_path)
        self.network = network.to(device)
        if config.channels_last:
            self.network.to(memory_format=torch.channels_last)
        broadcast_weights(self.network)
        self.loaders, self.config, self.output = loaders, config, output
        self.device, self.ranks, self.run_settings = device, ranks, run_settings
        self.steps_per_epoch = len(loaders.train)
        self.optimizer = config.create_optimizer(self.network)
        self.scheduler = config.create_scheduler(self.optimizer, self.steps_per_epoch)
        self.mixing = config.create_mixing(loaders.num_classes)
        self.ema: ModelEmaV3 | None = None
        if config.ema_decay is not None:
            self.ema = ModelEmaV3(
                self.network, decay=config.ema_decay, use_warmup=config.ema_warmup
            )
        self.progress = Progress()
        self.unread: list[tuple[int, float, Tensor]] = []  # step, learning rate, loss

    def restore(self, checkpoint: Mapping[str, Any]) -> None:
        try:
            self.network.load_state_dict(checkpoint["state_dict"])
            if self.ema is not None:
                self.ema.module.load_state_dict(checkpoint["ema_state_dict"])
        except RuntimeError as error:
            raise ValueError(f"The checkpoint is of another network: {error}") from error
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.progress = Progress(**checkpoint["progress"])

    def run(self, stop: StopRequest, checkpoint_minutes: float) -> bool:
        """Trains to the end or to a requested stop; says which by True or False."""
        progress, epochs = self.progress, self.config.epochs
        log = TrainingLog(self.output) if self.ranks.is_main else None
        saved_at = time.monotonic()
        while progress.step < epochs * self.steps_per_epoch:
            epoch, start = divmod(progress.step, self.steps_per_epoch)
            bar = tqdm(
                total=self.steps_per_epoch,
                initial=start,
                desc=f"epoch {epoch + 1}/{epochs}",
                unit="step",
                disable=None if self.ranks.is_main else True,
                leave=epoch + 1 == epochs,
            )
            self.network.train()
            started = time.monotonic()
            # Another seed goes through epochs that no other seed sees, of the same splits.
            for x, y in self.loaders.train.epoch(self.config.seed * epochs + epoch, start):
                is_due = time.monotonic() - saved_at > 60 * checkpoint_minutes
                must_stop, must_save = self._step(x, y, epoch, stop, is_due)
                bar.update()
                if (must_stop or must_save) and progress.step % self.steps_per_epoch:
                    progress.seconds += time.monotonic() - started
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
        return progress.step == epochs * self.steps_per_epoch

    def _step(
        self, x: Tensor, y: Tensor, epoch: int, stop: StopRequest, must_save: bool
    ) -> tuple[bool, bool]:
        """One optimizer step; gives back what all ranks agree to do after it: stop, save."""
        config, step, world_size = self.config, self.progress.step, self.ranks.world_size
        self.scheduler.step_update(step)
        smoothing = config.label_smoothing
        if self.mixing is not None and epoch < (config.mixup_off_epoch or config.epochs):
            x, y = self.mixing(x, y, step)
            smoothing = 0.0  # the mixed labels are smooth
        with _torch_seed(self.device, config.seed, step, self.ranks.rank):  # for dropout
            loss = loss_of(self.network, x, y, label_smoothing=smoothing, amp=config.amp)
            (loss * (len(x) if world_size > 1 else 1.0)).backward()  # type: ignore[no-untyped-call]
        loss, must_stop = loss.detach(), stop.is_set
        if world_size > 1:
            extras = torch.stack(
                [loss * len(x), loss.new_tensor(must_stop), loss.new_tensor(must_save)]
            )
            num_images, extras = all_reduce_gradients(self.network.parameters(), len(x), extras)
            loss, must_stop, must_save = extras[0] / num_images, bool(extras[1]), bool(extras[2])
        if config.clip_grad is not None:
            dispatch_clip_grad(self.network.parameters(), config.clip_grad, config.clip_mode)
        self.unread.append((step, self.optimizer.param_groups[0]["lr"], loss))
        if self.device.type == "cpu" or len(self.unread) >= READ_EVERY:
            self._read_losses()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.progress.step += 1
        if self.ema is not None:
            self.ema.update(self.network, step=self.progress.step)
        return must_stop, must_save

    def _read_losses(self) -> None:
        """Adds up the losses of the latest steps, and stops at the first that is not finite."""
        for step, lr, loss in self.unread:
            value = loss.item()
            if not np.isfinite(value):
                raise TrainingError(
                    f"The loss became {value} at step {step}, lr {lr:.4g}; lower --lr or set "
                    f"--clip-grad. {self._last_good_state()}"
                )
            self.progress.loss_sum += value
            self.progress.num_losses += 1
        self.unread.clear()

    def _end_epoch(self, epoch: int, log: TrainingLog | None) -> None:
        self._read_losses()
        self._average_buffers()
        progress = self.progress
        row = {
            "epoch": epoch + 1,
            "step": progress.step,
            "lr": self.optimizer.param_groups[0]["lr"],
            "train_loss": progress.loss_sum / progress.num_losses,
            "seconds": progress.seconds,
        }
        if log is not None:
            row |= self._measure("val", self.network)
            if self.ema is not None:
                row |= self._measure("ema_val", self.ema.module)
        progress.history.append(row)
        progress.loss_sum, progress.num_losses, progress.seconds = 0.0, 0, 0.0
        if log is not None:
            log.write(progress.history)
            _logger.info(", ".join(f"{name} {value:.4g}" for name, value in row.items()))
        self._save()

    def _measure(self, prefix: str, network: nn.Module) -> dict[str, float]:
        val = evaluate(network, self.loaders.val, device=self.device, amp=self.config.amp)
        return {f"{prefix}_top1": val.top1, f"{prefix}_loss": val.loss}

    def _average_buffers(self) -> None:
        average_buffers(self.network)
        if self.ema is not None:
            average_buffers(self.ema.module)

    def _check_weights(self) -> None:
        """Keeps a last step that broke the weights, and had a finite loss, out of checkpoints."""
        sums = torch.stack([parameter.detach().sum() for parameter in self.network.parameters()])
        if not sums.isfinite().all():
            step, lr = self.progress.step - 1, self.optimizer.param_groups[0]["lr"]
            raise TrainingError(
                f"The weights are not finite after step {step}, lr {lr:.4g}; lower --lr or set "
                f"--clip-grad. {self._last_good_state()}"
            )

    def _last_good_state(self) -> str:
        return f"{self.output / 'last.pt'} holds the last good state, if one was reached."

    def _save(self) -> None:
        self._read_losses()
        self._average_buffers()
        self._check_weights()
        if self.ranks.is_main:
            checkpoint = {
                "format": FORMAT,
                "version": VERSION,
                "state_dict": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "progress": asdict(self.progress),
                "config": asdict(self.config),
                **({} if self.ema is None else {"ema_state_dict": self.ema.module.state_dict()}),
                **self.run_settings,
            }
            with atomic_write(self.output / "last.pt", "wb") as file:
                torch.save(checkpoint, file)
        if self.ranks.world_size > 1:
            dist.barrier()


@contextmanager
def _torch_seed(device: torch.device, *key: int) -> Iterator[None]:
    """Seeds PyTorch's global generators, which dropout draws from, for the time of a block."""
    (seed,) = np.random.SeedSequence(key).generate_state(1)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(seed))
        yield
