"""Stand-alone training: what a subnet reaches without the supernet.

To the end it is the ground truth of a ranking where no table has it, at the price of a whole
training each. Begun only, it is what query-based search measures candidates by: early-stopped
validation accuracy, or the speed of the training (TSE).

Paper: Speedy Performance Estimation for Neural Architecture Search,
https://arxiv.org/abs/2006.04492
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from estimators.base import Estimate, EstimateError
from estimators.scores.names import CURVE_SCORES, SCRATCH_SCORES, Score
from supernets.data.loaders import Loaders
from supernets.data.names import NOT_DECISIVE
from supernets.kernels.choice import OFF
from supernets.networks.base import Supernet
from supernets.networks.factory import settings_of_subnet
from supernets.networks.single_images import check_supernet_single_images, smallest_minibatch
from supernets.runtime.atomic_write import atomic_write
from supernets.runtime.foreign_fields import read_json
from supernets.runtime.outputs import Outputs
from supernets.runtime.settings_difference import diff_settings
from supernets.runtime.signals import StopRequest
from supernets.spaces import Architecture
from supernets.training.evaluation import evaluate
from supernets.training.loop import TrainingError
from supernets.training.standalone import read_network_checkpoint, train_standalone
from supernets.training.standalone_config import RetrainConfig

#: Of a folder of trainings, what they were made with.
SETTINGS_FILE = "settings.json"
_TRAINING = "a record of trainings; remove it"
#: Columns of a training's table that are no curves.
NO_CURVES = ("epoch", "step", "lr", "seconds")


class FromScratchEstimator:
    """What a training of the stand-alone network from fresh weights says of an architecture.

    The weights start from ``config.seed``, which also decides order and augmentation of the images:
    every architecture sees the same minibatches, in any order of evaluation, and on a CPU its
    result is the same to the bit. It is that of ``supernet-retrain`` with the same recipe.

    What is known of an architecture is a file of its own in ``output``, whose name is the hash of
    its notation; it is read where it exists, so that a folder serves all supernets of a space and
    size, and searches by any score. A training that was stopped goes on from its last checkpoint,
    which is removed once it is finished.

    Args:
        supernet: Says which networks to build; its weights are not used.
        loaders: The data to learn from and to measure on.
        config: The recipe; its ``stop_after`` is the budget where that is less than the schedule.
            Parts that are for training alone, an auxiliary head or drop path, do not exist here.
        output: An existing folder. No two processes may train in it at once.
        score: One of ``SCRATCH_SCORES`` that a search goes by, of all epochs trained; the test
            split is then not read. Those of TSE are of the mean training loss of each epoch, as in
            the paper, so that window and gamma count epochs; the window is 1 unless given. None for
            the truth that rankings are compared with, the accuracy on test.
        device: Device to train on, that of ``loaders``.
        checkpoint_minutes: Minutes between checkpoints within an epoch; one is also written after
            every epoch.

    Raises:
        ValueError: If the data do not fit the supernet, an argument is out of range or without
            effect, or ``output`` holds results of other settings.
    """

    name = "from_scratch"

    def __init__(
        self,
        supernet: Supernet,
        loaders: Loaders,
        config: RetrainConfig,
        output: str | Path,
        *,
        score: Score | None = None,
        device: torch.device | str = "cpu",
        checkpoint_minutes: float = 10.0,
    ) -> None:
        if score is not None and (score.name not in SCRATCH_SCORES or score.num_steps is not None):
            raise ValueError(
                f"Trainings from scratch are scored by {', '.join(SCRATCH_SCORES)} of all epochs, "
                f"got {score}."
            )
        if not checkpoint_minutes > 0:
            raise ValueError(f"checkpoint_minutes must be positive, got {checkpoint_minutes}.")
        if config.aux_weight > 0 or config.drop_path_ramp:
            raise ValueError(
                "Subnets that are trained from scratch have neither an auxiliary head nor drop "
                "path; leave aux_weight and drop_path_ramp out."
            )
        found = {"classes": loaders.num_classes, "channels": loaders.input_size[0]}
        wanted = {"classes": supernet.num_classes, "channels": supernet.input_size[0]}
        if found != wanted:
            raise ValueError(
                f"The supernet is for {wanted['classes']} classes and {wanted['channels']} "
                f"channels, the data have {found['classes']} and {found['channels']}; use the data "
                "it was trained on."
            )
        check_supernet_single_images(
            supernet, smallest_minibatch(loaders.train), option="the batch size of the trainings,"
        )
        output = Path(output)
        if not output.is_dir():
            raise ValueError(f"{output} is not a folder; create it first.")
        self.supernet, self.loaders, self.config, self.output = supernet, loaders, config, output
        if score is not None and score.window is None:
            score = replace(score, window=1)
        self.score, self.checkpoint_minutes = score, checkpoint_minutes
        self.device = torch.device(device)
        #: All that decides the trainings, in one level of plain values.
        self.settings = _settings(supernet, loaders, config, "test" if score is None else "val")
        _check_settings(output / SETTINGS_FILE, self.settings)

    def estimate(self, arch: Architecture) -> Estimate:
        """Trains the network of ``arch``, or reads what its training gave before.

        Returns:
            Estimate with metrics ``"val_top1"`` (percent), ``"val_loss"`` (nats) and, without a
            score, ``"test_top1"`` and ``"test_loss"``, of the final weights in float32; with a
            score of TSE also that (nats, summed over epochs). It has the curves ``"train_loss"``
            (mean over an epoch's minibatches, each before its own update, of what the recipe
            minimises), ``"val_top1"`` and ``"val_loss"``, one value per epoch; with averaged
            weights also ``"ema_val_top1"`` and ``"ema_val_loss"``. Its seconds are those of all
            training steps, without measuring.

        Raises:
            EstimateError: If the training diverges.
            KeyboardInterrupt: If SIGTERM or Ctrl-C stopped the training.
            ValueError: If a file in the folder is damaged.
        """
        folder = self._folder_of(arch)
        path = folder.with_suffix(".json")
        if not self.is_finished(arch):
            notation = self.supernet.space.format(arch)
            with StopRequest() as stop:
                _write_json(path, {"architecture": notation, **self._train(arch, folder, stop)})
            if stop.is_set:  # too late to stop the training, but more may be to come
                raise KeyboardInterrupt
        _remove_training(folder)
        record = read_json(path, _TRAINING)
        if "error" in record:
            raise EstimateError(record["error"])
        curves = {name: tuple(values) for name, values in record["curves"].items()}
        metrics = record["metrics"]
        if self.score is None:
            return Estimate(metrics["test_top1"], metrics, record["seconds"], curves)
        score = self.score.of(metrics, curves)
        if self.score.name in CURVE_SCORES:
            metrics[self.score.name] = -score
        return Estimate(score, metrics, record["seconds"], curves)

    def is_finished(self, arch: Architecture) -> bool:
        """Returns whether the training of ``arch`` has its result in the folder."""
        return self._folder_of(arch).with_suffix(".json").exists()

    def _folder_of(self, arch: Architecture) -> Path:
        notation = self.supernet.space.format(arch)
        return self.output / hashlib.sha256(notation.encode()).hexdigest()[:32]

    def _train(self, arch: Architecture, folder: Path, stop: StopRequest) -> dict[str, Any]:
        """The metrics and so on, or the error, of a training within a folder of its own."""
        folder.mkdir(parents=True, exist_ok=True)  # a worker may see another disk
        network = self._build(arch)
        last = folder / "last.pt"
        try:
            result = train_standalone(
                network,
                self.loaders,
                self.config,
                folder,
                device=self.device,
                resume_from=read_network_checkpoint(last) if last.exists() else None,
                checkpoint_minutes=self.checkpoint_minutes,
                stop=stop,
            )
        except TrainingError as error:
            what, _, _ = str(error).partition(";")  # what it advises is about a single training
            return {"error": f"The training from scratch diverged: {what}."}
        if not result.is_finished:
            raise KeyboardInterrupt
        metrics: dict[str, float] = {}
        for split in ("val", "test") if self.score is None else ("val",):
            measured = evaluate(network, getattr(self.loaders, split), device=self.device)
            if not math.isfinite(measured.loss):
                return {"error": f"After training from scratch the {split} loss is {measured.loss}"}
            metrics |= {f"{split}_top1": measured.top1, f"{split}_loss": measured.loss}
        history = result.history
        return {
            "metrics": metrics,
            "seconds": math.fsum(row["seconds"] for row in history),
            "curves": {
                name: [row[name] for row in history] for name in history[0] if name not in NO_CURVES
            },
        }

    def _build(self, arch: Architecture) -> nn.Module:
        """The network with fresh weights; PyTorch's global generators are as before."""
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.config.seed)
            return self.supernet.build_subnet(arch)


def own_folder(outputs: Outputs, folder: Path, *, option: str) -> None:
    """Makes the folder of trainings from scratch, which one run at a time uses.

    Args:
        outputs: The outputs of the command.
        folder: The folder of the trainings, which may be missing.
        option: Option that names the folder, for messages.

    Raises:
        ValueError: If another run uses it, or it cannot be written.
    """
    outputs.own(folder, option=option)
    outputs.create()
    outputs.new_file(folder / SETTINGS_FILE)


def _remove_training(folder: Path) -> None:
    """Removes what a training wrote, and its folder unless something else lies there too."""
    board = folder / "tensorboard"
    for path in (
        *(folder / "last.pt", folder / "summary.csv"),
        *folder.glob(".*.tmp"),  # of a process that was killed
        *board.glob("events.out.tfevents.*"),
    ):
        path.unlink(missing_ok=True)
    for path in (board, folder):
        with contextlib.suppress(OSError):  # missing, or not empty
            path.rmdir()


def _settings(
    supernet: Supernet, loaders: Loaders, config: RetrainConfig, split: str
) -> dict[str, Any]:
    """All that decides the result of an architecture, in one level, as it comes back from JSON."""
    recipe = asdict(config)
    if config.compile == OFF:  # as in folders of before it could be anything else
        del recipe["compile"]
    parts = {
        "network": settings_of_subnet(supernet.space.name, supernet.settings),
        "data": {
            **{k: v for k, v in loaders.settings.items() if k not in NOT_DECISIVE},
            "batch_size": loaders.train.batch_size,
        },
        "recipe": recipe,
    }
    settings = {"space": supernet.space.name, "split": split} | {
        f"{part} {name}": value for part, values in parts.items() for name, value in values.items()
    }
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain


def _check_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Writes the settings of a folder, or makes sure that it was used with the same."""
    if not path.exists():
        _write_json(path, settings)
        return
    differences = diff_settings(read_json(path, _TRAINING), settings)
    if differences:
        raise ValueError(
            f"{path.parent} holds trainings with other settings: {differences}. Use "
            "another folder, or the settings it was written with."
        )


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    with atomic_write(path) as file:
        file.write(json.dumps(values, indent=2) + "\n")
