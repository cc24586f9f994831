"""One step of a differentiable search: alphas, then weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from search.differentiable.arch_gradient import (
    Batch,
    MixtureLoss,
    VirtualStep,
    first_order,
    rollout,
    second_order,
)
from search.differentiable.relaxation import Relaxation
from search.differentiable.search_config import SearchConfig
from supernets.data.image_loader import Loader
from supernets.networks.relaxed import RelaxedNetwork
from supernets.runtime.distributed import all_reduce_gradients, average_tensor
from supernets.runtime.foreign_fields import check_field, check_shapes, check_weights, naming_field
from supernets.runtime.option_types import Whole
from supernets.runtime.private_names import Scheduler
from supernets.runtime.ranks import ProcessInfo
from supernets.training.loop import StepLosses, TrainingTask
from supernets.training.optimizer_state import restore_optimizer

#: What is drawn in a step of the weights, in one of the alphas, and while a copy trains.
_WEIGHTS, _ALPHAS, _ROLLOUT = range(3)


class Alphas:
    """Architecture parameters with their optimizer, and what is yet to be added to them.

    Args:
        values: Architecture parameters (num_cells, num_edges, num_ops), on the device.
        config: Settings of the search.
    """

    def __init__(self, values: Tensor, config: SearchConfig) -> None:
        self.values = nn.Parameter(values)
        self.optimizer = torch.optim.Adam(
            [self.values],
            lr=config.alpha_lr,
            betas=config.alpha_betas,
            weight_decay=config.alpha_weight_decay,
        )
        self.steps = 0
        # of the training losses since the last step
        self.gradient_sum = torch.zeros_like(values)
        self.num_summed = 0

    def step(self, gradient: Tensor) -> None:
        """Does one step of Adam against a gradient, which is averaged over all ranks."""
        average_tensor(gradient)
        self.values.grad = gradient
        self.optimizer.step()
        self.values.grad = None
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        """Returns all that a search goes on from, of plain types and tensors."""
        return {
            "values": self.values.detach().clone(),
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps,
            "gradient_sum": self.gradient_sum,
            "num_summed": self.num_summed,
        }

    def load_state_dict(self, state: Mapping[str, Any], path: Path) -> None:
        """Goes on from what ``state_dict`` gave.

        Args:
            state: The state.
            path: The checkpoint it comes from, for messages.

        Raises:
            ForeignFileError: If it is none.
        """
        for name in ("steps", "num_summed"):
            with naming_field(path, f"alphas[{name!r}]"):
                Whole(0, 2**53).check("it", state[name])
        tensors = {"values": self.values, "gradient_sum": self.gradient_sum}
        check_weights(path, {"alphas": {name: state[name] for name in tensors}}, "alphas")
        check_shapes(path, {name: state[name] for name in tensors}, tensors)
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(state[name])
        restore_optimizer(path, self.optimizer, state["optimizer"], is_scheduled=False)
        found = {name for values in self.optimizer.state.values() for name in values}
        expected = {"step", "exp_avg", "exp_avg_sq"} if state["steps"] else set()
        check_field(found == expected, path, "alphas['optimizer']", str(expected), found)
        self.steps, self.num_summed = state["steps"], state["num_summed"]


class Minibatches:
    """The minibatches of a loader by their number, over all epochs; cheap if asked for in turn.

    Args:
        loader: Loader that the minibatches come from.
    """

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._iterator: Iterator[Batch] = iter(())
        self._next = -1

    def __getitem__(self, number: int) -> Batch:
        epoch, start = divmod(number, len(self._loader))
        if number != self._next or start == 0:
            self._iterator = self._loader.epoch(epoch, start)
        self._next = number + 1
        return next(self._iterator)


class MixtureTraining(TrainingTask):
    """The mixture, and alphas that follow one of the gradients.

    Args:
        network: The mixture, on the device.
        alphas: Architecture parameters.
        relaxation: Relaxation that makes weights of operations of the alphas.
        config: Settings of the search.
        train: Loader of the train split.
        val: Loader of this rank's share of the val split, augmented as for training.
        optimizer: Optimizer of the weights.
        scheduler: Schedule of the weights' learning rate, updated every step.
        clip_grad: Largest norm of the whole gradient of the weights, or None.
        first_epoch: Number of the stage's first epoch.
        freeze_epochs: Number of first epochs of the stage in which alphas stay as they are.
        amp: Whether to run in bfloat16 autocast.
        device: Device of the network.
        ranks: Which of the processes of ``torchrun`` this one is.
        on_epoch: Measures what has been reached after every epoch.
        on_save: Writes a checkpoint of the state it is given.
    """

    module: RelaxedNetwork

    def __init__(
        self,
        network: RelaxedNetwork,
        alphas: Alphas,
        relaxation: Relaxation,
        config: SearchConfig,
        *,
        train: Loader,
        val: Loader,
        optimizer: torch.optim.Optimizer,
        scheduler: Scheduler,
        clip_grad: float | None,
        first_epoch: int,
        freeze_epochs: int,
        amp: bool,
        device: torch.device,
        ranks: ProcessInfo,
        on_epoch: Callable[[], dict[str, float]],
        on_save: Callable[..., None],
    ) -> None:
        self.module, self.alphas, self.relaxation, self.config = network, alphas, relaxation, config
        self.loss = MixtureLoss(network, relaxation, device=device, amp=amp, seed=config.seed)
        self.train, self.val_batches = train, Minibatches(val)
        self.optimizer, self.scheduler, self.clip_grad = optimizer, scheduler, clip_grad
        self.first_moving_epoch = first_epoch + freeze_epochs
        self.ranks = ranks
        self.on_epoch, self.on_save = on_epoch, on_save
        self.num_steps = config.epochs * len(train)
        macs = network.op_macs() * network.op_mask
        relative = torch.from_numpy(macs / max(macs.max(axis=2).sum(), 1))
        self.relative_macs = relative.float().to(device)

    def add_gradients(self, x: Tensor, y: Tensor, step: int, weight: float) -> StepLosses:
        """Moves the alphas if it is time, and adds the gradient of the weights."""
        epoch, position = divmod(step, len(self.train))
        moves = epoch >= self.first_moving_epoch
        kind = self.config.gradient
        if moves and not self.config.uses_tse:
            self._follow_validation((x, y), step)
        elif moves and kind == "tse-rollout" and position % self.config.tse_batches == 0:
            self._follow_rollout(epoch, position)
        is_joint = moves and kind == "tse-joint"
        alphas = self.alphas.values if is_joint else self.alphas.values.detach()
        loss = self.loss(alphas, (x, y), key=(step, _WEIGHTS), progress=step / self.num_steps)
        (loss * weight).backward()  # type: ignore[no-untyped-call]
        if is_joint:
            self._follow_training(position, weight)
        return StepLosses(loss.detach().reshape(1))

    def _follow_validation(self, train_batch: Batch, step: int) -> None:
        """A step of alphas on the next minibatch of the val split."""
        kind, alphas = self.config.gradient, self.alphas.values
        options = {"key": (step, _ALPHAS), "progress": step / self.num_steps}
        val_batch = self.val_batches[step]
        if kind == "first-order":
            gradient = first_order(self.loss, alphas, val_batch, **options)
        else:
            weights = dict(self.module.named_parameters())
            gradient = second_order(
                self.loss,
                alphas,
                weights,
                VirtualStep(self.optimizer, weights),
                train_batch,
                val_batch,
                exact=kind == "second-order-exact",
                **options,
            )
        self.alphas.step(gradient + self._penalty_gradient())

    def _follow_training(self, position: int, weight: float) -> None:
        """Adds what the backward pass of the weights has left; moves alphas every K steps."""
        own = self.alphas
        assert own.values.grad is not None
        own.gradient_sum += own.values.grad / weight
        own.values.grad = None
        own.num_summed += 1
        is_last = position + 1 == len(self.train)
        if (position + 1) % self.config.tse_batches == 0 or is_last:
            own.step(own.gradient_sum + own.num_summed * self._penalty_gradient())
            own.gradient_sum = torch.zeros_like(own.gradient_sum)
            own.num_summed = 0

    def _follow_rollout(self, epoch: int, position: int) -> None:
        """A step of alphas against the losses of a copy on the next K minibatches."""
        first_step = epoch * len(self.train) + position

        def take_step(loss: Tensor, number: int) -> None:
            self.scheduler.step_update(first_step + number)
            loss.backward()  # type: ignore[no-untyped-call]
            parameters = list(self.module.parameters())
            if self.ranks.world_size > 1:
                all_reduce_gradients(parameters, 1, loss.new_zeros(0))
            if self.clip_grad is not None:
                nn.utils.clip_grad_norm_(parameters, self.clip_grad)
            self.optimizer.step()
            self.optimizer.zero_grad()

        def options(number: int) -> dict[str, Any]:
            step = first_step + number
            return {"key": (step, _ROLLOUT), "progress": step / self.num_steps}

        batches = islice(self.train.epoch(epoch, position), self.config.tse_batches)
        gradient, num_batches = rollout(
            self.loss,
            self.alphas.values,
            batches,
            take_step,
            self.module,
            self.optimizer,
            options,
        )
        self.alphas.step(gradient + num_batches * self._penalty_gradient())

    def _penalty_gradient(self) -> Tensor:
        """Computes the gradient of what is added to a loss of alphas."""
        alphas = self.alphas.values.detach().requires_grad_()
        penalty = self.relaxation.penalty(alphas)
        if self.config.macs_penalty > 0:
            op_mask = torch.from_numpy(self.module.op_mask).to(alphas.device)
            expected = (self.relaxation.mean_weights(alphas, op_mask) * self.relative_macs).sum()
            penalty = penalty + self.config.macs_penalty * expected
        if not penalty.requires_grad:
            return torch.zeros_like(alphas)
        (gradient,) = torch.autograd.grad(penalty, [alphas])
        return gradient

    def measure(self, averaged: nn.Module) -> dict[str, float]:
        """Measures what has been reached, by ``on_epoch``."""
        return self.on_epoch()

    def save(self, path: Path, averaged: nn.Module, **state: Any) -> None:
        """Writes a checkpoint, by ``on_save``."""
        self.on_save(path, state_dict=averaged.state_dict(), **state)


def initial_alphas(network: RelaxedNetwork, seed: int) -> Tensor:
    """Draws alphas from a normal distribution with standard deviation 1e-3, on the CPU."""
    (number,) = np.random.SeedSequence((seed, 3)).generate_state(1)
    generator = torch.Generator().manual_seed(int(number))
    return 1e-3 * torch.randn(network.alphas_shape, generator=generator)
