"""The options of trainings from scratch that a search goes by, and what is recorded of them."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import torch

import supernets.runtime.option_types as kinds
from estimators.base import Estimator
from estimators.cli.estimator_options import EstimatorOptions, train_batch_size
from estimators.factory import create_estimator
from estimators.scores.from_scratch import (
    SCRATCH_LR,
    SCRATCH_SCORES,
    SETTINGS_FILE,
    FromScratchEstimator,
)
from estimators.scores.loss_curves import GAMMA
from estimators.scores.names import Score
from estimators.scores.windows import window_in_epochs
from supernets.data.loaders import Loaders
from supernets.networks.base import Supernet
from supernets.runtime.outputs import Outputs
from supernets.training.standalone_config import RetrainConfig


def add_scratch_options(group: argparse._ArgumentGroup) -> None:
    """Adds the flags of trainings from scratch."""
    add = group.add_argument
    add(
        "--scratch-epochs",
        type=kinds.POSITIVE_INT,
        metavar="T",
        help="from_scratch: train every candidate for so long from fresh weights (required by it)",
    )
    add(
        "--scratch-schedule-epochs",
        type=kinds.POSITIVE_INT,
        metavar="S",
        help="length of their learning rate schedule, which ends early after T (default: T)",
    )
    add("--scratch-lr", type=kinds.POSITIVE, metavar="LR", help="of these trainings (default: 0.1)")
    add(
        "--scratch-batch-size",
        type=kinds.BATCH,
        metavar="N",
        help="of these trainings (default: 64)",
    )
    add(
        "--scratch-score",
        choices=SCRATCH_SCORES,
        help="what of them counts: validation accuracy after T, or TSE of the mean training losses "
        "of epochs, with --tse-window and --tse-gamma by epoch (default: val_acc)",
    )
    add(
        "--scratch-dir",
        type=kinds.path,
        metavar="DIR",
        help="where the results of these trainings are kept, for later searches by any score too; "
        "not for two at once (default: OUTPUT/scratch)",
    )


def own_scratch_folder(outputs: Outputs, folder: Path, *, option: str) -> None:
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


def scratch_estimator(
    options: EstimatorOptions,
    supernet: Supernet,
    loaders: Loaders,
    output: Path,
    *,
    device: torch.device,
    amp: bool,
) -> tuple[Estimator, dict[str, Any]]:
    """Builds the estimator that trains candidates from scratch.

    Args:
        options: The options; ``scratch_epochs`` is given.
        supernet: Says which networks to build; its weights are not used.
        loaders: Loaders of the supernet's data, with train minibatches of ``train_batch_size``
            images.
        output: The run's folder, where trainings are kept that have no folder of their own; in
            either case it exists, see ``own_scratch_folder``.
        device: Device to train on.
        amp: Whether to train in bfloat16 autocast.

    Returns:
        The estimator, and its settings for the header of the trials.

    Raises:
        ValueError: If an option is out of range, or the folder cannot be used or holds trainings
            with other settings.
    """
    assert options.scratch_epochs is not None
    epochs, schedule_epochs = options.scratch_epochs, options.scratch_schedule_epochs
    if schedule_epochs is None:
        schedule_epochs = epochs
    recipe = RetrainConfig(
        epochs=schedule_epochs,
        stop_after=epochs if epochs < schedule_epochs else None,
        lr=SCRATCH_LR if options.scratch_lr is None else options.scratch_lr,
        amp=amp,
    )
    score = Score(
        options.scratch_score or "val_acc",
        window=window_in_epochs(options.tse_window, epochs),
        gamma=GAMMA if options.tse_gamma is None else options.tse_gamma,
    )
    folder = options.scratch_dir or output / "scratch"
    try:
        estimator = create_estimator(
            "from_scratch",
            supernet=supernet,
            loaders=loaders,
            recipe=recipe,
            output=folder,
            score=score,
            device=device,
        )
    except OSError as error:
        raise ValueError(
            f"Cannot write to {folder}: {error.strerror}; choose another --scratch-dir."
        ) from error
    assert isinstance(estimator, FromScratchEstimator)
    shape: dict[str, dict[str, Any]] = {
        "tse_e": {"window": score.window, "window_unit": "epochs"},
        "tse_ema": {"gamma": score.gamma, "gamma_unit": "epoch"},
    }
    return estimator, {
        "name": "from_scratch",
        "score": score.name,
        **shape.get(score.name, {}),
        "epochs": epochs,
        "schedule_epochs": schedule_epochs,
        "lr": recipe.lr,
        "batch_size": train_batch_size("from_scratch", options),
        "trainings": _digest(estimator.settings),
        "device": device.type,
        "amp": amp,
    }


def _digest(settings: dict[str, Any]) -> str:
    """SHA-256 of what decides trainings: network, data and the whole recipe."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
