"""The loop of a differentiable search: stages of a training whose steps also move alphas.

Papers: DARTS: Differentiable Architecture Search, https://arxiv.org/abs/1806.09055; DrNAS:
Dirichlet Neural Architecture Search, https://arxiv.org/abs/2006.10355; Speedy Performance
Estimation for Neural Architecture Search (TSE), https://arxiv.org/abs/2006.04492

Differs from them:

1. The learning rate follows its schedule by step, not by epoch.
2. The val split is gone through in random order, over and over; DrNAS draws a fresh minibatch for
   each step of the alphas.
3. DARTS-TSE moves the alphas after weights have trained on their K minibatches, with the gradients
   of that training (the paper's algorithm); its authors' code trains a copy first, which is
   gradient "tse-rollout".
4. After an epoch the mixture is measured with the mean weights of operations, not with a sample.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from search.differentiable.arch_gradient import VirtualStep
from search.differentiable.checkpoint import FORMAT, VERSION
from search.differentiable.derivation import Derived, derive, entropy, write_alphas
from search.differentiable.figure import plot_search
from search.differentiable.mixture_training import Alphas, MixtureTraining, initial_alphas
from search.differentiable.relaxation import create_relaxation
from search.differentiable.search_config import SearchConfig
from search.differentiable.stages import inherit_weights, prune
from supernets.data.image_loader import ImageLoader
from supernets.data.loaders import Loaders
from supernets.networks.relaxed import FixedMixture, RelaxedNetwork
from supernets.networks.single_images import check_single_images, smallest_minibatch
from supernets.runtime.distributed import average_tensor
from supernets.runtime.foreign_fields import (
    check_dict,
    check_field,
    check_shapes,
    check_weights,
    fields_of,
    naming_field,
)
from supernets.runtime.option_types import MAX_FLOAT, Real
from supernets.runtime.ranks import ProcessInfo
from supernets.runtime.signals import StopRequest
from supernets.runtime.wording import plural
from supernets.spaces import Architecture
from supernets.training.checkpoint import write_archive
from supernets.training.checkpoint_fields import steps_done
from supernets.training.evaluation import evaluate
from supernets.training.log import write_rows
from supernets.training.loop import Progress, TrainingLoop, TrainResult
from supernets.training.optimizers import create_optimizer, create_scheduler
from supernets.training.supernet_config import TrainConfig

_logger = logging.getLogger(__name__)

#: Validation images the mixture is measured on after every epoch.
NUM_VAL_IMAGES = 2048
_TRUE_VALUE = Real("must be a finite number", -MAX_FLOAT, MAX_FLOAT)

#: Builds the network of a stage from the mask of its operations and its partial channels.
MakeNetwork = Callable[[NDArray[np.bool_] | None, int], RelaxedNetwork]


class DifferentiableSearch:
    """Searches by gradients, in place of asking and telling.

    Keeps in ``output``: ``last.pt``, ``summary.csv`` (a row per epoch), ``derived.csv`` (the
    architecture that alphas stand for after every epoch), ``alphas.csv`` and ``search.png``.

    Args:
        make_network: Builds the network of a stage.
        loaders: Loaders of the data. Weights learn from the train split, alphas from the val split,
            unless they follow training losses.
        config: Settings of the search.
        recipe: Recipe that the weights are trained with; its epochs are those of all stages.
        output: An existing folder.
        device: Device to search on.
        ranks: Which of the processes of ``torchrun`` this one is, whose process group has started
            by ``run``; None for a single process.
        true_values: True values of architectures, in percent, for the record alone.
        run_settings: Plain values stored in every checkpoint.

    Raises:
        ValueError: If the data are a stream, the recipe has other epochs, its optimizer is none
            that the gradient can look through, or a minibatch is too small for BatchNorm.
    """

    def __init__(
        self,
        make_network: MakeNetwork,
        loaders: Loaders,
        config: SearchConfig,
        recipe: TrainConfig,
        output: Path,
        *,
        device: torch.device,
        ranks: ProcessInfo | None = None,
        true_values: Mapping[Architecture, float] | None = None,
        run_settings: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(loaders.train, ImageLoader):
            raise ValueError(
                "A differentiable search needs images in any order, and these are a stream; use "
                "another --dataset."
            )
        if recipe.epochs != config.epochs:
            raise ValueError(
                f"The weights' recipe has {recipe.epochs} epochs, the stages {config.epochs}."
            )
        self.make_network, self.loaders, self.config, self.recipe = (
            make_network,
            loaders,
            config,
            recipe,
        )
        self.output, self.device, self.ranks = output, device, ranks or ProcessInfo()
        self.true_values = true_values
        self.run_settings = run_settings or {}
        self.train = loaders.train
        self.val = loaders.train.over(loaders.splits["val"])
        self.relaxation = create_relaxation(config.relaxation)
        self.stage = 0
        self.network = self._build(None)
        uniform = torch.full(self.network.alphas_shape, 1 / len(self.network.ops), device=device)
        check_single_images(
            self.network,
            loaders.input_size,
            min(smallest_minibatch(part, self.ranks.world_size) for part in (self.train, self.val)),
            call=lambda network, x: network(x, uniform),
        )
        first, num_ops = config.stages[0].keep_ops, len(self.network.ops)
        if first is not None and first < num_ops:
            raise ValueError(
                f"The first stage has all {num_ops} operations, as nothing is known of them yet; "
                f"got keep_ops {first}."
            )
        if config.gradient.startswith("second-order"):
            # refuses now what it could not look through later
            VirtualStep(
                create_optimizer(self.network, recipe), dict(self.network.named_parameters())
            )
        self.alphas = Alphas(initial_alphas(self.network, config.seed).to(device), config)
        #: After every epoch alphas and mean weights, (num_cells, num_edges, num_ops), and a row.
        self.history: list[dict[str, Any]] = []
        #: A row per epoch, as in ``summary.csv``, of what has ended.
        self.last_rows: Sequence[Mapping[str, float]] = ()
        self._checkpoint: Mapping[str, Any] | None = None

    def _build(self, op_mask: NDArray[np.bool_] | None) -> RelaxedNetwork:
        network = self.make_network(op_mask, self.config.stages[self.stage].partial_channels)
        network.to(self.device)
        if self.recipe.channels_last:
            network.to(memory_format=torch.channels_last)
        return network

    def restore(self, checkpoint: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint that ``read_search_checkpoint`` gave.

        Raises:
            ValueError: If it is of another network.
        """
        path, num_stages = self.output / "last.pt", len(self.config.stages)
        self.stage = checkpoint["stage"]
        check_field(self.stage < num_stages, path, "stage", f"below {num_stages}", self.stage)
        step, ended = steps_done(path, checkpoint), self.config.stages[: self.stage]
        first = len(self.train) * sum(stage.epochs for stage in ended)
        check_field(step >= first, path, "stage", f"one that has begun by step {step}", self.stage)
        op_mask, shape = checkpoint["alive"], tuple(self.alphas.values.shape)
        check_field(
            tuple(op_mask.shape) == shape, path, "alive", f"of shape {shape}", op_mask.shape
        )
        with fields_of(path), naming_field(path, "alive"):
            self.network = self._build(op_mask.numpy())
        with fields_of(path):
            self.alphas.load_state_dict(checkpoint["alphas"], path)
        for entry in checkpoint["history"]:
            self._check_epoch(path, entry)
        num_epochs = len(checkpoint["progress"]["history"])
        num_found = len(checkpoint["history"])
        check_field(num_found == num_epochs, path, "history", f"{num_epochs} epochs", num_found)
        self.history = list(checkpoint["history"])
        self._checkpoint = checkpoint

    def _check_epoch(self, path: Path, entry: Mapping[str, Any]) -> None:
        """Makes sure of what a checkpoint says of an epoch."""
        tensors: dict[str, Any] = {name: entry.get(name) for name in ("alphas", "op_weights")}
        check_weights(path, {"history": tensors}, "history")
        check_shapes(path, tensors, dict.fromkeys(tensors, self.alphas.values))
        derived = check_dict(path, entry, "derived", ("architecture",))
        with naming_field(path, "history"):
            self.network.space.parse(derived["architecture"])
            if "true_accuracy" in derived:
                _TRUE_VALUE.check("true_accuracy", derived["true_accuracy"])

    def run(self, checkpoint_minutes: float = 10.0) -> TrainResult:
        """Searches to the end, or to a requested stop.

        Args:
            checkpoint_minutes: Minutes between checkpoints within an epoch; one is also written
                after every epoch.

        Raises:
            TrainingError: If a loss or a weight is not finite.
        """
        loop = self._loop()
        if self._checkpoint is not None:
            loop.restore(self._checkpoint)
        num_stages = len(self.config.stages)
        with StopRequest() as stop:
            result = loop.run(checkpoint_minutes, stop)
            while result.is_finished and self.stage + 1 < num_stages and not self._stops(stop):
                loop = self._next_stage(loop)
                result = loop.run(checkpoint_minutes, stop)
        if self.stage + 1 < num_stages:  # stopped at the end of a stage
            result = replace(result, is_finished=False)
        self.last_rows = result.history
        if self.ranks.is_main and self.history:
            plot_search(
                self.output / "search.png",
                self.network,
                self._history_arrays()[1],
                [entry["derived"] for entry in self.history],
                result.history,
            )
        return result

    def _stops(self, stop: StopRequest) -> bool:
        """Whether any rank was asked to."""
        flag = torch.tensor(float(stop.is_set), device=self.device)
        average_tensor(flag)
        return flag.item() > 0

    def _loop(self) -> TrainingLoop:
        """Builds the training loop of the stage; epochs are counted through all stages."""
        ended = sum(stage.epochs for stage in self.config.stages[: self.stage])
        stage = self.config.stages[self.stage]
        optimizer = create_optimizer(self.network, self.recipe)
        scheduler = create_scheduler(optimizer, self.recipe, len(self.train))
        task = MixtureTraining(
            self.network,
            self.alphas,
            self.relaxation,
            self.config,
            train=self.train,
            val=self.val,
            optimizer=optimizer,
            scheduler=scheduler,
            clip_grad=self.recipe.clip_grad,
            first_epoch=ended,
            freeze_epochs=stage.freeze_epochs,
            amp=self.recipe.amp,
            device=self.device,
            ranks=self.ranks,
            on_epoch=self._end_epoch,
            on_save=self._save,
        )
        return TrainingLoop(
            task,
            self.train,
            optimizer,
            scheduler,
            epochs=ended + stage.epochs,
            output=self.output,
            device=self.device,
            ranks=self.ranks,
            clip_grad=self.recipe.clip_grad,
            contiguous=not self.recipe.channels_last,
            kernels=self.recipe.kernels,
        )

    def _next_stage(self, ended: TrainingLoop) -> TrainingLoop:
        old, values = self.network, self.alphas.values
        self.stage += 1
        op_mask = prune(
            values.detach().cpu().double().numpy(),
            old.op_mask,
            self.config.stages[self.stage].keep_ops,
        )
        with torch.no_grad():
            values[torch.from_numpy(~op_mask).to(values.device)] = 0.0
        self.network = self._build(op_mask)
        loop = self._loop()
        inherit_weights(
            old, self.network, ended.optimizer, loop.optimizer, self.config.seed + self.stage
        )
        loop.progress = Progress(**asdict(ended.progress))
        _logger.info(
            "Stage %d of %d: %d operations per edge, channels / %d.",
            self.stage + 1,
            len(self.config.stages),
            int(op_mask.sum(axis=2).max()),
            self.network.partial_channels,
        )
        return loop

    def mean_weights(self) -> NDArray[np.float64]:
        """Returns the mean weights by the alphas as they are: (num_cells, num_edges, num_ops)."""
        alphas = self.alphas.values.detach().cpu().double()
        weights = self.relaxation.mean_weights(alphas, torch.from_numpy(self.network.op_mask))
        found: NDArray[np.float64] = weights.numpy()
        return found

    def derived(self) -> Derived:
        """Returns the architecture that the alphas stand for."""
        return derive(
            self.network,
            self.mean_weights(),
            self.config.max_skips,
            exclude_none=self.config.exclude_none,
        )

    def _end_epoch(self) -> dict[str, float]:
        """The row of an epoch that has ended; on the main process."""
        network, weights, derived = self.network, self.mean_weights(), self.derived()
        if derived.replaced_skips:
            _logger.info("%s made way.", plural(derived.replaced_skips, "skip connection"))
        found: dict[str, Any] = {"architecture": network.space.format(derived.arch)}
        row = {
            **self._evaluate(weights),
            "alpha_steps": float(self.alphas.steps),
            "alpha_entropy": entropy(weights),
            "expected_macs": float((weights * network.op_macs()).sum()),
            "replaced_skips": float(derived.replaced_skips),
        }
        if self.true_values is not None and derived.arch in self.true_values:
            found["true_accuracy"] = row["true_accuracy"] = self.true_values[derived.arch]
        self.history.append(
            {
                "alphas": self.alphas.values.detach().cpu().clone(),
                "op_weights": torch.from_numpy(weights),
                "derived": found,
            }
        )
        write_alphas(self.output / "alphas.csv", network, *self._history_arrays())
        rows = [{"epoch": i, **entry["derived"]} for i, entry in enumerate(self.history, start=1)]
        write_rows(self.output / "derived.csv", rows)
        return row

    def _history_arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Alphas and mean weights of all epochs, (num_epochs, num_cells, num_edges, num_ops)."""
        alphas, weights = (
            torch.stack([entry[name] for entry in self.history]).double().numpy()
            for name in ("alphas", "op_weights")
        )
        return alphas, weights

    def _evaluate(self, weights: NDArray[np.float64]) -> dict[str, float]:
        """Accuracy (percent) and loss (nats) of the mixture on images of the val split."""
        mixture = FixedMixture(self.network, torch.from_numpy(weights).float().to(self.device))
        num_batches = -(-NUM_VAL_IMAGES // self.loaders.val.batch_size)
        found = evaluate(
            mixture,
            itertools.islice(self.loaders.val, num_batches),
            device=self.device,
            amp=self.recipe.amp,
        )
        mixture.train()
        return {"mixture_val_top1": found.top1, "mixture_val_loss": found.loss}

    def _save(self, path: Path, **state: Any) -> None:
        checkpoint = {
            "format": FORMAT,
            "version": VERSION,
            "stage": self.stage,
            "alive": torch.from_numpy(self.network.op_mask),
            "alphas": self.alphas.state_dict(),
            "history": self.history,
            **state,
            **self.run_settings,
        }
        write_archive(path, checkpoint)
