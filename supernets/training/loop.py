"""The loop all trainings share: schedule, clipping, averaged weights, stopping, resuming.

What is trained, and what a step adds to the gradients, is a ``TrainingTask``. The loop draws
nothing at random, and tasks draw from (seed, step) alone, so a run resumed from any checkpoint
continues to the same bits on a CPU.
"""

from __future__ import annotations

import abc
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch
import torch.distributed as dist
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from tqdm import tqdm

from supernets.data.image_loader import Loader
from supernets.kernels.choice import OFF
from supernets.kernels.library import chosen_kernels, using
from supernets.runtime.atomic_write import remove_unfinished
from supernets.runtime.distributed import all_reduce_gradients, average_buffers, broadcast_weights
from supernets.runtime.foreign_fields import check_dict, check_field, check_shapes, check_weights
from supernets.runtime.outputs import WorkError, saying_what_is_safe
from supernets.runtime.private_names import Scheduler
from supernets.runtime.progress import hides_bars
from supernets.runtime.ranks import ProcessInfo
from supernets.runtime.signals import StopRequest
from supernets.training.checkpoint_fields import check_place, check_progress
from supernets.training.log import TrainingLog
from supernets.training.optimizer_state import restore_optimizer

_logger = logging.getLogger(__name__)

#: Steps between reading losses back from an accelerator; a CPU reads them at once.
LOSS_SYNC_INTERVAL = 25


class TrainingError(WorkError, RuntimeError):
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


def _unnamed(number: int) -> str:
    return ""


class StepLosses(NamedTuple):
    """Losses of one step, and how to name each in an error, which is asked only then."""

    losses: Tensor  # (num_losses,), nats, detached
    name_of: Callable[[int], str] = _unnamed  # such as ", path <architecture>" of loss 0, 1, …


class TrainingTask(abc.ABC):
    """What is trained.

    ``module`` is trained in place and is on the device of the minibatches.
    """

    module: nn.Module

    @abc.abstractmethod
    def add_gradients(self, x: Tensor, y: Tensor, step: int, weight: float) -> StepLosses:
        """Adds the gradient of a minibatch times ``weight`` to the parameters' gradients.

        Args:
            x: Images (N, C, H, W).
            y: Labels (N,).
            step: Optimizer steps done so far.
            weight: Factor on the gradient.
        """

    @abc.abstractmethod
    def measure(self, averaged: nn.Module) -> dict[str, float]:
        """Measures an epoch that has ended, on the main process: columns of ``summary.csv``.

        Args:
            averaged: The module with averaged weights, or the module itself.
        """

    @abc.abstractmethod
    def save(self, path: Path, averaged: nn.Module, **state: Any) -> None:
        """Writes a checkpoint: the weights of ``averaged`` as ``state_dict``, and ``state``."""


class TrainingLoop:
    """Trains a task and keeps ``last.pt`` and ``summary.csv`` in a folder.

    SIGTERM and Ctrl-C finish the step, write a checkpoint and end the loop.

    Args:
        task: The task, whose module is trained.
        loader: Minibatches of the train split.
        optimizer: Optimizer of the parameters of the task's module.
        scheduler: Learning rate schedule, stepped with ``step_update`` before every step.
        epochs: Passes over the train split; 0 only writes a checkpoint.
        output: An existing folder.
        device: Device of the task's module.
        ranks: Which of the processes of ``torchrun`` this one is.
        first_epoch: Number of the loader's epoch to begin with.
        clip_grad: Largest norm of the whole gradient, or None.
        clip_value: Largest absolute value in the gradient, or None.
        zero_gradients: Whether gradients are set to zero between steps, so that what a step does
            not touch still feels weight decay and momentum; otherwise to None.
        ema_decay: Decay per step of the average of the weights; None for no average.
        contiguous: Whether images, which come with channels last, are made contiguous.
        kernels: ``"auto"`` or ``"off"``, as of ``chosen_kernels``; a training that goes on has
            those that it began with.
        ema_warmup: Whether that decay starts at 0 and rises with the steps, as timm has it.
    """

    def __init__(
        self,
        task: TrainingTask,
        loader: Loader,
        optimizer: torch.optim.Optimizer,
        scheduler: Scheduler,
        *,
        epochs: int,
        output: Path,
        device: torch.device,
        ranks: ProcessInfo,
        first_epoch: int = 0,
        clip_grad: float | None = None,
        clip_value: float | None = None,
        zero_gradients: bool = False,
        ema_decay: float | None = None,
        ema_warmup: bool = True,
        contiguous: bool = False,
        kernels: str = OFF,
    ) -> None:
        broadcast_weights(task.module)
        self.task, self.loader, self.epochs, self.output = task, loader, epochs, output
        self.optimizer, self.scheduler = optimizer, scheduler
        self.device, self.ranks, self.first_epoch = device, ranks, first_epoch
        self.clip_grad, self.clip_value = clip_grad, clip_value
        self.zero_gradients, self.contiguous = zero_gradients, contiguous
        self._choice, self.kernels = kernels, chosen_kernels(kernels, device)
        if zero_gradients:
            for parameter in task.module.parameters():
                parameter.grad = torch.zeros_like(parameter)
        self.ema: ModelEmaV3 | None = None
        if ema_decay is not None:
            self.ema = ModelEmaV3(task.module, decay=ema_decay, use_warmup=ema_warmup)
        self.progress = Progress()
        self.pending_losses: list[tuple[int, float, StepLosses]] = []  # step, learning rate, losses
        self._saved_step: int | None = None

    @property
    def averaged(self) -> nn.Module:
        """The module with the weights that are the result of the training."""
        averaged: nn.Module = self.task.module if self.ema is None else self.ema.module
        return averaged

    def restore(self, checkpoint: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint that the task has saved.

        Raises:
            ValueError: If it is of another network, or began with kernels that cannot be had here.
        """
        path = self.output / "last.pt"
        recorded = checkpoint.get("kernels", OFF)  # there were none before
        check_field(isinstance(recorded, str), path, "kernels", "a name", recorded)
        try:
            self.kernels = chosen_kernels(self._choice, self.device, recorded)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        modules = {"state_dict": self.averaged}
        if self.ema is not None:
            modules["raw_state_dict"] = self.task.module
        for name, module in modules.items():
            check_weights(path, checkpoint, name)
            check_shapes(path, checkpoint[name], module.state_dict())
            module.load_state_dict(checkpoint[name])
        restore_optimizer(path, self.optimizer, check_dict(path, checkpoint, "optimizer"))
        progress = check_dict(path, checkpoint, "progress")
        check_progress(path, progress)
        check_place(path, progress, self.epochs, len(self.loader))
        self.progress = Progress(**progress)
        self._saved_step = self.progress.step

    def run(self, checkpoint_minutes: float, stop: StopRequest | None = None) -> TrainResult:
        """Trains to the end or to a requested stop.

        Args:
            checkpoint_minutes: Minutes between checkpoints within an epoch; one is also written
                after every epoch.
            stop: Stop request that SIGTERM and Ctrl-C set; None for one of this training alone.

        Raises:
            TrainingError: If a loss or a weight is not finite; names the step, the learning rate
                and what the task calls the loss.
        """
        if self.ranks.is_main:
            remove_unfinished(self.output)
        with (
            using(self.kernels),
            saying_what_is_safe(self._last_good_state),
            StopRequest() if stop is None else nullcontext(stop) as request,
            TrainingLog(self.output) if self.ranks.is_main else nullcontext() as log,
        ):
            progress, steps_per_epoch = self.progress, len(self.loader)
            saved_at, must_stop = time.monotonic(), False
            if self.epochs == 0:
                self._save()
            while progress.step < self.epochs * steps_per_epoch and not must_stop:
                epoch, start = divmod(progress.step, steps_per_epoch)
                self.task.module.train()
                started = time.monotonic()
                with self._bar(epoch, start) as bar:
                    for x, y in self.loader.epoch(self.first_epoch + epoch, start):
                        is_due = time.monotonic() - saved_at > 60 * checkpoint_minutes
                        self.scheduler.step_update(progress.step)
                        weight = len(y) if self.ranks.world_size > 1 else 1.0
                        x = x.contiguous() if self.contiguous else x
                        losses = self.task.add_gradients(x, y, progress.step, weight)
                        must_stop, must_save = self._update(losses, len(y), request, is_due)
                        bar.update()
                        if (must_stop or must_save) and progress.step % steps_per_epoch:
                            progress.seconds += time.monotonic() - started
                            self._sync_and_check_finite()
                            self._save()
                            started = saved_at = time.monotonic()
                            if must_stop:
                                return self._result()
                    progress.seconds += time.monotonic() - started
                self._end_epoch(epoch, log)
                saved_at = time.monotonic()
        return self._result()

    def _result(self) -> TrainResult:
        progress = self.progress
        is_finished = progress.step == self.epochs * len(self.loader)
        last = self.output / "last.pt"
        return TrainResult(
            is_finished, len(progress.history), progress.step, progress.history, last
        )

    def _bar(self, epoch: int, start: int) -> tqdm[NoReturn]:
        return tqdm(
            total=len(self.loader),
            initial=start,
            desc=f"epoch {epoch + 1}/{self.epochs}",
            unit="step",
            disable=None if self.ranks.is_main and not hides_bars() else True,
            leave=epoch + 1 == self.epochs,
        )

    def _update(
        self, of_step: StepLosses, num_images: int, stop: StopRequest, must_save: bool
    ) -> tuple[bool, bool]:
        """Updates the weights; returns whether all ranks then stop, and whether they save.

        Args:
            of_step: Losses of the step, whose gradients are there.
            num_images: Images of this rank's minibatch.
            stop: The stop request.
            must_save: Whether this rank wants a checkpoint.
        """
        losses, name_of = of_step
        parameters = list(self.task.module.parameters())
        must_stop = stop.is_set
        if self.ranks.world_size > 1:
            flags = losses.new_tensor([float(must_stop), float(must_save)])
            extras = torch.cat([losses * num_images, flags])
            num_images, extras = all_reduce_gradients(parameters, num_images, extras)
            losses = extras[:-2] / num_images
            must_stop, must_save = (bool(flag) for flag in extras[-2:] > 0)
        if self.clip_grad is not None:
            torch.nn.utils.clip_grad_norm_(parameters, self.clip_grad)
        if self.clip_value is not None:
            torch.nn.utils.clip_grad_value_(parameters, self.clip_value)
        self.pending_losses.append((self.progress.step, self._lr(), StepLosses(losses, name_of)))
        if self.device.type == "cpu" or len(self.pending_losses) >= LOSS_SYNC_INTERVAL:
            self._read_losses()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=not self.zero_gradients)
        self.progress.step += 1
        if self.ema is not None:
            self.ema.update(self.task.module, step=self.progress.step)
        return must_stop, must_save

    def _lr(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def _read_losses(self) -> None:
        """Adds up the losses of the latest steps, and stops at the first that is not finite."""
        for step, lr, (losses, name_of) in self.pending_losses:
            values = losses.tolist()
            for i, value in enumerate(values):
                if not np.isfinite(value):
                    raise TrainingError(
                        f"The loss became {value} at step {step}, lr {lr:.4g}{name_of(i)}; lower "
                        f"--lr or set --clip-grad. {self._last_good_state()}"
                    )
            self.progress.loss_sum += sum(values) / len(values)
            self.progress.num_losses += 1
        self.pending_losses.clear()

    def _end_epoch(self, epoch: int, log: TrainingLog | None) -> None:
        self._sync_and_check_finite()
        progress = self.progress
        row = {
            "epoch": epoch + 1,
            "step": progress.step,
            "lr": self._lr(),
            "train_loss": progress.loss_sum / progress.num_losses,
            "seconds": progress.seconds,
        }
        if log is not None:
            row |= self.task.measure(self.averaged)
        progress.history.append(row)
        progress.loss_sum, progress.num_losses, progress.seconds = 0.0, 0, 0.0
        if log is not None:
            log.write(progress.history)
            _logger.info(", ".join(f"{name} {value:.4g}" for name, value in row.items()))
        self._save()

    def _sync_and_check_finite(self) -> None:
        """Makes the ranks agree, and keeps what is not finite out of checkpoints.

        The last step may have broken the weights and have had a finite loss.
        """
        self._read_losses()
        average_buffers(self.task.module)
        if self.ema is not None:
            average_buffers(self.ema.module)
        sums = torch.stack([p.detach().sum() for p in self.task.module.parameters()])
        if not sums.isfinite().all():
            raise TrainingError(
                f"The weights are not finite after step {self.progress.step - 1}, lr "
                f"{self._lr():.4g}; lower --lr or set --clip-grad. {self._last_good_state()}"
            )

    def _last_good_state(self) -> str:
        path = self.output / "last.pt"
        if not path.exists():
            return f"There is no checkpoint in {self.output}."
        if self._saved_step is None:
            return f"{path} holds what was reached before."
        return f"{path} holds step {self._saved_step}."

    def _save(self) -> None:
        if self.ranks.is_main:
            state = {
                "optimizer": self.optimizer.state_dict(),
                "progress": asdict(self.progress),
                "kernels": self.kernels,
            }
            if self.ema is not None:
                state["raw_state_dict"] = self.task.module.state_dict()
            self.task.save(self.output / "last.pt", self.averaged, **state)
            self._saved_step = self.progress.step
            _logger.debug("Wrote %s at step %d.", self.output / "last.pt", self.progress.step)
        if self.ranks.world_size > 1:
            dist.barrier()


@contextmanager
def seeded_draws(device: torch.device, *key: int) -> Iterator[None]:
    """Makes what PyTorch draws follow from ``key``, whatever ran before.

    PyTorch's global generators are as before after the block.
    """
    (seed,) = np.random.SeedSequence(key).generate_state(1)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(seed))
        yield
