"""Checks what a checkpoint says of its training and its data, before anything is made of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

import supernets.runtime.option_types as kinds
from supernets.runtime.foreign_fields import check_dict, check_field, check_numbers, naming_field
from supernets.training.supernet_config import TrainConfig

_DATA_KINDS: dict[str, kinds.Whole | kinds.Real] = {
    "image_size": kinds.PIXELS,
    "val_fraction": kinds.FRACTION,
    "batch_size": kinds.BATCH,
    "seed": kinds.SEED,
}
_OPTIONAL_DATA_KINDS = {"requested_num_val": kinds.Whole(1), "cutout": kinds.Whole(0)}
#: What every checkpoint says of its data.
DATA_NEEDED = (*_DATA_KINDS, "dataset", "class_names", "split_digest")
_PROGRESS_KINDS: dict[str, kinds.Whole | kinds.Real] = {
    "step": kinds.Whole(0, 2**53),
    "num_losses": kinds.Whole(0, 2**53),
    "loss_sum": kinds.Real("must be a finite number", -1e30, 1e30),
    "seconds": kinds.Real("must not be negative", 0.0, 1e12),
}


def check_training(path: Path, checkpoint: Mapping[str, Any]) -> None:
    """Makes sure of what a checkpoint of a supernet's training says beside its weights.

    Raises:
        ForeignFileError: If a field is missing, or none that is written there.
    """
    recipe = check_dict(path, checkpoint, "train_config")
    known = {field.name for field in fields(TrainConfig)}
    with naming_field(path, "train_config"):
        given = {name: value for name, value in recipe.items() if name in known}
        if "momentum" in given:  # which was once recorded of optimizers that have none as well
            TrainConfig(momentum=given.pop("momentum"))
        TrainConfig(**given)
    check_data(path, checkpoint)
    for name in ("data_dir", "given_data_dir"):
        folder = checkpoint.get(name)
        is_folder = folder is None or (isinstance(folder, str) and "\0" not in folder)
        check_field(is_folder, path, name, "a folder or None", folder)
    skips = checkpoint.get("skip_bad_images")
    check_field(isinstance(skips, bool), path, "skip_bad_images", "True or False", skips)
    if "world_size" in checkpoint:
        with naming_field(path, "world_size"):
            kinds.POSITIVE_INT.check("it", checkpoint["world_size"])
    for name in ("paths", "progress", "optimizer"):
        if name in checkpoint:
            check_dict(path, checkpoint, name)
    if "progress" in checkpoint:
        check_progress(path, checkpoint["progress"])


def check_data(
    path: Path, holder: Mapping[str, Any], *, required: Collection[str] = DATA_NEEDED
) -> None:
    """Makes sure of the settings of data in a checkpoint or a record.

    Args:
        path: The file, for messages.
        holder: Has them as ``"data"``.
        required: Names of those that must be there.

    Raises:
        ForeignFileError: If one is missing or none that is written there.
    """
    data = check_dict(path, holder, "data", required)
    for name, kind in (*_DATA_KINDS.items(), *_OPTIONAL_DATA_KINDS.items()):
        is_needed = name in data if name in _DATA_KINDS else data.get(name) is not None
        if is_needed:
            with naming_field(path, "data"):
                kind.check(name, data[name])
    for name in ("dataset", "split_digest"):
        if name in data:
            check_field(isinstance(data[name], str), path, f"data[{name!r}]", "a text", data[name])
    names = data.get("class_names", [])
    is_list = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    check_field(is_list, path, "data['class_names']", "a list of names", names)
    for name in ("augmentation", "timm_options", "found"):
        if name in data:
            check_dict(path, data, name)
    for name in ("mean", "std"):
        if name in data:
            values = check_numbers(path, f"data[{name!r}]", data[name])
            is_per_channel = values.ndim == 1 and len(values) in (1, 3)
            is_right = is_per_channel and bool(np.all(values > 0) if name == "std" else True)
            expected = "one number a channel" + (" above 0" if name == "std" else "")
            check_field(is_right, path, f"data[{name!r}]", expected, data[name])
    check_field(
        ("augmentation" in data) == ("timm_options" in data),
        path,
        "data",
        "with both or neither of augmentation and timm_options",
        sorted(data),
    )


def steps_done(path: Path, checkpoint: Mapping[str, Any]) -> int:
    """Returns how many optimizer steps a training has come.

    Raises:
        ForeignFileError: If the checkpoint does not say, as none of a training would.
    """
    progress = check_dict(path, checkpoint, "progress")
    check_progress(path, progress)
    step: int = progress["step"]
    return step


def check_progress(path: Path, progress: Mapping[str, Any]) -> None:
    """Makes sure of how far a training says it has come.

    Raises:
        ForeignFileError: If a field is missing, or none that is written there.
    """
    expected = {*_PROGRESS_KINDS, "history"}
    check_field(set(progress) == expected, path, "progress", str(sorted(expected)), [*progress])
    for name, kind in _PROGRESS_KINDS.items():
        with naming_field(path, "progress"):
            kind.check(name, progress[name])
    history = progress["history"]
    is_table = isinstance(history, list) and all(
        isinstance(row, dict)
        and all(isinstance(key, str) for key in row)
        and all(isinstance(value, int | float) for value in row.values())
        for row in history
    )
    check_field(is_table, path, "progress['history']", "a list of rows of numbers", history)


def check_place(path: Path, progress: Mapping[str, Any], epochs: int, steps_per_epoch: int) -> None:
    """Makes sure that there is such a place in a training.

    Args:
        path: The checkpoint, for messages.
        progress: As of ``check_progress``.
        epochs: Epochs of the training.
        steps_per_epoch: Steps of each.

    Raises:
        ForeignFileError: If there is not.
    """
    step = progress["step"]
    num_epochs, num_steps = divmod(step, steps_per_epoch)
    most = epochs * steps_per_epoch
    history, num_losses = len(progress["history"]), progress["num_losses"]
    begun = f"the {num_steps} steps of the epoch that has begun"
    for name, is_right, expected, found in (
        ("step", step <= most, f"at most the {most} steps of {epochs} epochs", step),
        ("history", history == num_epochs, f"the {num_epochs} epochs of {step} steps", history),
        ("num_losses", num_losses == num_steps, begun, num_losses),
    ):
        check_field(is_right, path, f"progress[{name!r}]", expected, found)
