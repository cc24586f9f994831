"""What a search measures with: the options of the estimators, and what is recorded of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from estimators import Estimator, create_estimator
from supernets.base import Supernet
from supernets.data import Loaders

#: Options that only one estimator uses, by their field.
OPTIONS_OF = {
    "tse": ("tse_batches", "tse_batch_size", "tse_lr"),
    "val_acc": ("val_batches", "recalibrate_batches"),
    "table": ("table", "table_column", "arch_column"),
}
#: Images per minibatch of train data, but for supernets that need recalibration.
BATCH_SIZE = 64
#: Recalibration of supernets that need it: 2,000 images, as in OFA's code.
RECALIBRATE_BATCHES = 10
RECALIBRATE_BATCH_SIZE = 200


@dataclass(frozen=True)
class EstimatorOptions:
    """Options by the names of the command line; None where they are not given."""

    tse_batches: int | None = None
    tse_batch_size: int | None = None
    tse_lr: float | None = None
    val_batches: int | None = None
    recalibrate_batches: int | None = None
    table: Path | None = None
    table_column: str | None = None
    arch_column: str | None = None


def check_options(name: str, options: EstimatorOptions) -> None:
    """Makes sure that all options given are of the estimator and in range.

    Args:
        name: One of ``ESTIMATORS``.
        options: The options.

    Raises:
        ValueError: If they are not, or one that is needed is missing.
    """
    if name == "table":
        for needed in ("table", "table_column"):
            if getattr(options, needed) is None:
                raise ValueError(f"--estimator table needs {flag(needed)}.")
    for estimator, names in OPTIONS_OF.items():
        for option in names:
            if estimator != name and getattr(options, option) is not None:
                raise ValueError(
                    f"{flag(option)} belongs to --estimator {estimator}, "
                    f"this run uses {name}; leave it out."
                )
    for option in ("tse_batches", "tse_batch_size", "val_batches"):
        value = getattr(options, option)
        if value is not None and value < 1:
            raise ValueError(f"{flag(option)} must be at least 1, got {value}.")
    if options.recalibrate_batches is not None and options.recalibrate_batches < 0:
        raise ValueError(
            f"--recalibrate-batches must not be negative, got {options.recalibrate_batches}."
        )


def flag(option: str) -> str:
    """The name of an option on the command line."""
    return "--" + option.replace("_", "-")


def train_batch_size(name: str, options: EstimatorOptions, supernet: Supernet) -> int:
    """How many train images the estimator wants in a minibatch.

    Raises:
        ValueError: If it would not recalibrate where the supernet needs it.
    """
    if name == "val_acc" and supernet.needs_recalibration:
        if options.recalibrate_batches == 0:
            raise ValueError(
                f"--recalibrate-batches must be at least 1 for a {supernet.space.name} supernet, "
                "whose BatchNorm statistics are those of a mixture of subnets."
            )
        return RECALIBRATE_BATCH_SIZE
    return options.tse_batch_size or BATCH_SIZE


def table_estimator(
    options: EstimatorOptions, supernet: Supernet
) -> tuple[Estimator, dict[str, Any]]:
    """Builds the estimator that looks architectures up.

    Args:
        options: The options.
        supernet: Its space parses the table.

    Returns:
        The estimator, and its settings for the header of the trials.

    Raises:
        ValueError: If the table cannot be read.
    """
    assert options.table is not None
    estimator = create_estimator(
        "table",
        table=options.table,
        value_column=options.table_column,
        arch_column=options.arch_column,
        space=supernet.space,
    )
    return estimator, {
        "name": "table",
        "table": options.table.name,
        "table_column": options.table_column,
        "arch_column": options.arch_column or "arch_str",
    }


def supernet_estimator(
    name: str,
    options: EstimatorOptions,
    supernet: Supernet,
    loaders: Loaders,
    *,
    device: torch.device,
    amp: bool,
) -> tuple[Estimator, dict[str, Any]]:
    """Builds an estimator of subnets with inherited weights.

    Args:
        name: ``"tse"`` or ``"val_acc"``.
        options: The options.
        supernet: Trained supernet; only read.
        loaders: Of its data, with minibatches of ``train_batch_size``.
        device: Where to run.
        amp: Whether to run in bfloat16 autocast.

    Returns:
        The estimator, and its settings for the header of the trials.

    Raises:
        ValueError: If an option is out of range.
    """
    settings: dict[str, Any] = {"name": name}
    if name == "tse":
        settings["tse_batches"] = options.tse_batches or 100
        settings["tse_batch_size"] = options.tse_batch_size or BATCH_SIZE
        settings["tse_lr"] = 0.001 if options.tse_lr is None else options.tse_lr
        estimator = create_estimator(
            "tse",
            supernet=supernet,
            train_batches=loaders.train.take(settings["tse_batches"]),
            num_batches=settings["tse_batches"],
            lr=settings["tse_lr"],
            device=device,
            amp=amp,
        )
    else:
        recalibrate_batches, recalibration = _recalibration(options, supernet, loaders)
        num_val = options.val_batches
        settings |= {"val_batches": num_val, "recalibration": recalibration}
        estimator = create_estimator(
            "val_acc",
            supernet=supernet,
            val_batches=loaders.val if num_val is None else list(islice(loaders.val, num_val)),
            recalibrate_batches=recalibrate_batches,
            device=device,
            amp=amp,
        )
    return estimator, settings | {"device": device.type, "amp": amp}


def _recalibration(
    options: EstimatorOptions, supernet: Supernet, loaders: Loaders
) -> tuple[list[tuple[Tensor, Tensor]] | None, dict[str, Any] | None]:
    """The minibatches for the statistics of BatchNorm and what they are; None for neither.

    A supernet that needs recalibration gets the augmented images it was trained on, as in OFA's
    code; otherwise images are taken as they are.
    """
    needed = supernet.needs_recalibration
    num_batches = options.recalibrate_batches
    if num_batches is None:
        num_batches = RECALIBRATE_BATCHES if needed else 0
    if num_batches == 0:
        return None, None
    batches = list((loaders.train if needed else loaders.train_eval).take(num_batches))
    return batches, {
        "split": "train",
        "transforms": f"those of the {'train' if needed else 'test'} split",
        "num_batches": num_batches,
        "num_images": sum(len(y) for _, y in batches),
        "seed": loaders.settings["seed"],
    }
