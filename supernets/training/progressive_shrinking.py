"""Progressive shrinking: the largest network first, then smaller and smaller ones from its weights.

Paper: Once for All: Train One Network and Specialize it for Efficient Deployment,
https://arxiv.org/abs/1908.09791

Differs from the authors' code:

1. Where the resolution is elastic it is drawn per path; theirs is drawn per minibatch.
2. The averaged BatchNorm statistics of a phase go on into the next, and are recalibrated before
   use.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from supernets.data.loaders import Loaders
from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.runtime.atomic_write import atomic_write
from supernets.runtime.ranks import ProcessInfo
from supernets.runtime.signals import StopRequest
from supernets.spaces import SearchSpace
from supernets.training.channel_sorting import sort_channels
from supernets.training.checkpoint import read_checkpoint, read_training_checkpoint
from supernets.training.loop import TrainResult
from supernets.training.path_sampling import UniformPaths
from supernets.training.phases import EPOCHS, LRS, PHASES, WARMUP_EPOCHS
from supernets.training.supernet import train_supernet
from supernets.training.supernet_config import TrainConfig

_logger = logging.getLogger(__name__)

# What each phase adds to the options of the one before, and how many paths a step has.
_ELASTIC: tuple[dict[str, tuple[str, ...]], ...] = (
    {"kernel": ("7",), "expand": ("6",), "depth": ("4",)},
    {"kernel": ("3", "5", "7")},
    {"depth": ("3", "4")},
    {"depth": ("2", "3", "4")},
    {"expand": ("4", "6")},
    {"expand": ("3", "4", "6")},
)
_NUM_PATHS = (1, 1, 2, 2, 4, 4)


@dataclass(frozen=True)
class Phase:
    """One phase of the shrinking.

    Args:
        name: One of ``PHASES``.
        space: Space that is trained in this phase.
        num_paths: Paths per step; their gradients are summed.
        epochs: Passes over the train split.
        warmup_epochs: Epochs of linear warm-up.
        lr: Peak learning rate; the schedule ends at 0.
        trained_expands: Expansion ratios of the phase before if this one adds some, for sorting the
            channels first; None where they stay as they are.
    """

    name: str
    space: SearchSpace
    num_paths: int
    epochs: int
    warmup_epochs: int
    lr: float
    trained_expands: tuple[int, ...] | None

    def config(self, config: TrainConfig) -> TrainConfig:
        """Returns the recipe of this phase.

        Raises:
            ValueError: If a value is out of range; names the phase.
        """
        epochs, warmup_epochs, lr = self.epochs, self.warmup_epochs, self.lr
        try:
            return replace(config, epochs=epochs, warmup_epochs=warmup_epochs, lr=lr, min_lr=0.0)
        except ValueError as error:
            raise ValueError(f"Phase {self.name!r}: {error}") from error


def phases_for(
    space: SearchSpace,
    *,
    epochs: Sequence[int] = EPOCHS,
    warmup_epochs: Sequence[int] = WARMUP_EPOCHS,
    lrs: Sequence[float] = LRS,
) -> list[Phase]:
    """Builds the phases of a space of elastic kernels, depths and expansions.

    Args:
        space: The whole space.
        epochs: Epochs of each of the six phases; phases of 0 epochs are left out, except the first.
        warmup_epochs: Warm-up epochs of each phase.
        lrs: Peak learning rate of each phase.

    Raises:
        ValueError: If a list has not one value per phase, or the space has no such decisions.
    """
    for name, values in (("epochs", epochs), ("warmup_epochs", warmup_epochs), ("lrs", lrs)):
        if len(values) != len(PHASES):
            raise ValueError(
                f"Progressive shrinking has {len(PHASES)} phases ({', '.join(PHASES)}), "
                f"but {name} has {len(values)} values: {list(values)}."
            )
    if epochs[0] < 1 or min(epochs) < 0:
        raise ValueError(
            f"epochs must be at least 1 in the first phase and 0 in the others, got {list(epochs)}."
        )
    candidates: dict[str, tuple[str, ...]] = {}
    trained = _ELASTIC[0]["expand"]
    phases = []
    for i, name in enumerate(PHASES):
        candidates.update(_ELASTIC[i])
        if epochs[i] > 0:
            adds_expands = candidates["expand"] != trained
            phases.append(
                Phase(
                    name=name,
                    space=space.restrict(candidates),
                    num_paths=_NUM_PATHS[i],
                    epochs=epochs[i],
                    warmup_epochs=warmup_epochs[i],
                    lr=lrs[i],
                    trained_expands=tuple(map(int, trained)) if adds_expands else None,
                )
            )
            trained = candidates["expand"]
    return phases


def phase_dir(output: Path, phases: Sequence[Phase], index: int) -> Path:
    """Returns the folder of a phase."""
    return output / f"phase-{index + 1}-{phases[index].name}"


def train_progressively(
    supernet: MobileNetV3Supernet,
    loaders: Loaders,
    phases: Sequence[Phase],
    config: TrainConfig,
    output: Path,
    *,
    device: torch.device,
    ranks: ProcessInfo | None = None,
    resume: bool = False,
    checkpoint_minutes: float = 10.0,
    run_settings: Mapping[str, Any] | None = None,
) -> TrainResult:
    """Trains ``supernet`` in place, phase by phase; each starts from the checkpoint of the last.

    All phases but the first learn from the largest network of the first phase, beside the labels.
    Every phase has a folder in ``output``; in the end the last checkpoint is also
    ``output/last.pt``.

    Args:
        supernet: The supernet to train; moved to ``device``.
        loaders: Train split to learn from, val split for the probes.
        phases: The phases that ``phases_for`` returned.
        config: The recipe, except for what the phases set.
        output: An existing folder.
        device: Device to train on.
        ranks: Which of the processes of ``torchrun`` this one is, whose process group has started;
            None for a single process.
        resume: Whether to continue from the checkpoints in ``output``.
        checkpoint_minutes: Minutes between checkpoints within an epoch.
        run_settings: Plain values stored in every checkpoint.

    Returns:
        How the phase ended that was trained last.

    Raises:
        ValueError: If a checkpoint to resume from cannot be read.
        TrainingError: As ``train_supernet``.
    """
    ranks = ranks or ProcessInfo()
    result: TrainResult | None = None
    with StopRequest() as stop:  # one for all phases: none is lost where one ends
        for i, phase in enumerate(phases):
            folder = phase_dir(output, phases, i)
            checkpoint = None
            if resume and (folder / "last.pt").exists():
                if i + 1 < len(phases) and (phase_dir(output, phases, i + 1) / "last.pt").exists():
                    continue  # a later phase began, so this one is finished
                checkpoint = read_training_checkpoint(folder / "last.pt")
                supernet.load_state_dict(checkpoint["state_dict"])
            elif i > 0:
                previous = read_checkpoint(phase_dir(output, phases, i - 1) / "last.pt")
                supernet.load_state_dict(previous["state_dict"])
                if phase.trained_expands is not None:
                    sort_channels(supernet, trained_expands=phase.trained_expands)
            if ranks.is_main:
                folder.mkdir(exist_ok=True)
                _logger.info("phase %d of %d, %s", i + 1, len(phases), phase.name)
            teacher = None
            if i > 0:
                teacher = _load_teacher(
                    supernet, phase_dir(output, phases, 0) / "last.pt", phases[0]
                )
            result = train_supernet(
                supernet,
                loaders,
                UniformPaths(phase.space, phase.num_paths, sums_gradients=True),
                phase.config(config),
                folder,
                device=device,
                space=phase.space,
                teacher=teacher,
                ranks=ranks,
                resume_from=checkpoint,
                checkpoint_minutes=checkpoint_minutes,
                run_settings=run_settings,
                stop=stop,
            )
            if not result.is_finished:
                return result
    assert result is not None
    if ranks.is_main:
        with open(result.checkpoint, "rb") as last, atomic_write(output / "last.pt", "wb") as file:
            shutil.copyfileobj(last, file)
    return replace(result, checkpoint=output / "last.pt")


def _load_teacher(supernet: MobileNetV3Supernet, path: Path, phase: Phase) -> torch.nn.Module:
    """The largest network as the first phase left it."""
    own = supernet.state_dict()
    own = {name: tensor.clone() for name, tensor in own.items()}
    supernet.load_state_dict(read_checkpoint(path)["state_dict"])
    teacher = supernet.extract(phase.space.extremes()[1])
    supernet.load_state_dict(own)
    return teacher
