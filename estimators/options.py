"""The options of estimators on a command line, and what is recorded of them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from estimators.base import Estimator
from estimators.brief_training import LR, NUM_BATCHES
from estimators.combined_estimator import CombinedEstimator, Reference
from estimators.factory import TRAINS, VALIDATES, create_estimator, create_one_pass
from estimators.from_scratch import SCRATCH_BATCH_SIZE
from estimators.minibatches import rebatched
from estimators.scores import PROXY_SCORES, VAL_SCORES
from supernets.base import Supernet
from supernets.checkpoint import weights_digest
from supernets.data import Loaders
from supernets.spaces import SearchSpace

#: The estimator that is fitted to a ranking.
COMBINED = "combined"
#: The estimators that use each option, by the field of ``EstimatorOptions``.
USERS = {
    "tse_batches": TRAINS,
    "tse_batch_size": (*TRAINS, *PROXY_SCORES, COMBINED),
    "tse_lr": TRAINS,
    "tse_window": ("tse_e", "from_scratch"),
    "tse_gamma": ("tse_ema", "from_scratch"),
    "race_for": ("tse",),
    "val_batches": VAL_SCORES,
    "recalibrate_batches": VAL_SCORES,
    "scratch_epochs": ("from_scratch",),
    "scratch_schedule_epochs": ("from_scratch",),
    "scratch_lr": ("from_scratch",),
    "scratch_batch_size": ("from_scratch",),
    "scratch_dir": ("from_scratch",),
    "scratch_score": ("from_scratch",),
    "reference": (COMBINED,),
    "table": ("table",),
    "table_column": ("table",),
    "arch_column": ("table",),
}
#: Images per minibatch of train data, but for those of recalibration where a supernet needs it.
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
    tse_window: int | None = None
    tse_gamma: float | None = None
    race_for: int | None = None
    val_batches: int | None = None
    recalibrate_batches: int | None = None
    scratch_epochs: int | None = None
    scratch_schedule_epochs: int | None = None
    scratch_lr: float | None = None
    scratch_batch_size: int | None = None
    scratch_dir: Path | None = None
    scratch_score: str | None = None
    reference: Path | None = None
    table: Path | None = None
    table_column: str | None = None
    arch_column: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> EstimatorOptions:
        """Those among the values of a command line, by name; a command need not have all."""
        return cls(**{field.name: given.get(field.name) for field in fields(cls)})


def add_estimator_options(group: argparse._ArgumentGroup) -> None:
    """Adds the flags of what estimators measure with."""
    add = group.add_argument
    add("--tse-batches", type=int, metavar="B", help="extra minibatches of tse (default: 100)")
    add("--tse-batch-size", type=int, metavar="N", help="images in each (default: 64)")
    add("--tse-lr", type=float, metavar="LR", help="learning rate of tse (default: 0.001)")
    add("--tse-window", type=int, metavar="E", help="last minibatches of tse_e (default: 1)")
    add("--tse-gamma", type=float, metavar="G", help="decay of tse_ema (default: 0.999)")
    add("--val-batches", type=int, metavar="N", help="of 512 images for val_acc (default: all)")
    add(
        "--recalibrate-batches",
        type=int,
        metavar="N",
        help="train minibatches for val_acc's BatchNorm (default: 10 of 200 augmented images where "
        "the supernet needs it, otherwise 0)",
    )


def add_table_options(group: argparse._ArgumentGroup) -> None:
    """Adds the flags of a table of values."""
    add = group.add_argument
    add(
        "--table",
        type=Path,
        metavar="CSV",
        help="table of architectures and values, NAS-Bench-101's records, or NATS-Bench's files",
    )
    add(
        "--table-column",
        metavar="NAME",
        help="column of values, higher is better; validation or test of NAS-Bench-101; or "
        "NATS-Bench's data set",
    )
    add("--arch-column", metavar="NAME", help="column of architectures (default: arch_str)")


def check_options(names: Sequence[str], options: EstimatorOptions) -> None:
    """Makes sure that all options given are of one of the estimators, and in range.

    Args:
        names: Of ``ESTIMATORS``.
        options: The options.

    Raises:
        ValueError: If they are not, or one that is needed is missing.
    """
    if "table" in names:
        for needed in ("table", "table_column"):
            if getattr(options, needed) is None:
                raise ValueError(f"--estimator table needs {flag(needed)}.")
    if COMBINED in names and options.reference is None:
        raise ValueError("--estimator combined needs --reference, reference.json of supernet-rank.")
    for option, users in USERS.items():
        if getattr(options, option) is not None and not set(users) & set(names):
            raise ValueError(
                f"{flag(option)} belongs to estimator {', '.join(users)}; this run uses "
                f"{', '.join(names)}, leave it out."
            )
    for option in (
        "tse_batches",
        "tse_batch_size",
        "tse_window",
        "race_for",
        "val_batches",
        "scratch_epochs",
        "scratch_batch_size",
    ):
        value = getattr(options, option)
        if value is not None and value < 1:
            raise ValueError(f"{flag(option)} must be at least 1, got {value}.")
    if options.recalibrate_batches is not None and options.recalibrate_batches < 0:
        raise ValueError(
            f"--recalibrate-batches must not be negative, got {options.recalibrate_batches}."
        )
    if "from_scratch" in names:
        _check_scratch(options)


def _check_scratch(options: EstimatorOptions) -> None:
    """Makes sure that the options of trainings from scratch go together."""
    epochs, score = options.scratch_epochs, options.scratch_score
    if epochs is None:
        raise ValueError(
            "--estimator from_scratch needs --scratch-epochs, those each candidate is trained for."
        )
    schedule_epochs = options.scratch_schedule_epochs
    if schedule_epochs is not None and schedule_epochs < epochs:
        raise ValueError(
            f"--scratch-schedule-epochs must be at least the --scratch-epochs {epochs}, got "
            f"{schedule_epochs}."
        )
    for option, needed in (("tse_window", "tse_e"), ("tse_gamma", "tse_ema")):
        if getattr(options, option) is not None and score != needed:
            raise ValueError(
                f"{flag(option)} needs --scratch-score {needed}; leave it out or choose that."
            )
    if options.tse_window is not None and options.tse_window > epochs:
        raise ValueError(
            f"--tse-window must be at most the --scratch-epochs {epochs}, got {options.tse_window}."
        )


def flag(option: str) -> str:
    """The name of an option on the command line."""
    return "--" + option.replace("_", "-")


def train_batch_size(name: str, options: EstimatorOptions) -> int:
    """Images in each minibatch of train data that an estimator, by name, looks at."""
    if name == "from_scratch":
        return options.scratch_batch_size or SCRATCH_BATCH_SIZE
    return options.tse_batch_size or BATCH_SIZE


def check_recalibration(
    names: Sequence[str], options: EstimatorOptions, supernet: Supernet
) -> None:
    """Makes sure that BatchNorm gets the statistics it needs.

    Raises:
        ValueError: If it would not be recalibrated where the supernet needs it.
    """
    measures_val = bool(set(VAL_SCORES) & set(names))
    if measures_val and supernet.needs_recalibration and options.recalibrate_batches == 0:
        raise ValueError(
            f"--recalibrate-batches must be at least 1 for a {supernet.space.name} supernet, "
            "whose BatchNorm statistics are those of a mixture of subnets."
        )


def table_estimator(
    options: EstimatorOptions, space: SearchSpace
) -> tuple[Estimator, dict[str, Any]]:
    """Builds the estimator that looks architectures up.

    Args:
        options: The options.
        space: Parses the table.

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
        space=space,
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
        name: One of ``ESTIMATORS`` but "from_scratch" and "table".
        options: The options.
        supernet: Trained supernet; only read.
        loaders: Of its data, with minibatches of ``tse_batch_size``, or ``BATCH_SIZE``.
        device: Where to run.
        amp: Whether to run in bfloat16 autocast.

    Returns:
        The estimator, and its settings for the header of the trials.

    Raises:
        ValueError: If an option is out of range.
    """
    if name == COMBINED:
        return _combined_estimator(options, supernet, loaders, device=device, amp=amp)
    inputs, settings = measuring_inputs([name], options, supernet, loaders)
    chosen: dict[str, Any] = {
        option: value
        for option, value in (
            ("race_for", options.race_for),
            ("window", options.tse_window),
            ("gamma", options.tse_gamma),
        )
        if value is not None
    }
    estimator = create_estimator(
        name, supernet=supernet, **inputs, **chosen, device=device, amp=amp
    )
    return estimator, {"name": name, **settings, **chosen, "device": device.type, "amp": amp}


def _combined_estimator(
    options: EstimatorOptions,
    supernet: Supernet,
    loaders: Loaders,
    *,
    device: torch.device,
    amp: bool,
) -> tuple[Estimator, dict[str, Any]]:
    """Measures as the reference was measured."""
    assert options.reference is not None
    reference = Reference.read(options.reference)
    if reference.digest != weights_digest(supernet):
        raise ValueError(
            f"{options.reference} was measured with another supernet; rank architectures with "
            "this one."
        )
    names = [score.name for score in reference.scores]
    stored = reference.settings
    recalibration = stored.get("recalibration")
    measuring = EstimatorOptions(
        tse_batches=stored.get("tse_batches"),
        tse_lr=stored.get("tse_lr"),
        val_batches=stored.get("val_batches"),
        recalibrate_batches=None if recalibration is None else recalibration["num_batches"],
    )
    batch_size = stored.get("tse_batch_size", loaders.train.batch_size)
    if batch_size != loaders.train.batch_size:
        raise ValueError(
            f"{options.reference} was measured with minibatches of {batch_size} images, this run "
            f"has {loaders.train.batch_size}; give --tse-batch-size {batch_size}."
        )
    inputs, settings = measuring_inputs(names, measuring, supernet, loaders)
    one_pass = create_one_pass(
        names,
        reference.scores[0],
        supernet=supernet,
        **{"train_batches": (), "val_batches": (), **inputs},
        device=device,
        amp=amp,
    )
    settings |= {"name": COMBINED, "reference": reference.truth.tolist(), "scores": names}
    return CombinedEstimator(one_pass, reference), {**settings, "device": device.type, "amp": amp}


def measuring_inputs(
    names: Sequence[str], options: EstimatorOptions, supernet: Supernet, loaders: Loaders
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What estimators measure with.

    Args:
        names: Of ``ESTIMATORS`` but "from_scratch" and "table".
        options: The options.
        supernet: Trained supernet; only read.
        loaders: Of its data, with minibatches of ``tse_batch_size``, or ``BATCH_SIZE``.

    Returns:
        Arguments of ``create_estimator`` and ``create_one_pass``, those that one of the names
        needs; and plain settings that say what they are.
    """
    inputs: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    chosen = set(names)
    num_batches = options.tse_batches or NUM_BATCHES
    if chosen & {*TRAINS, *PROXY_SCORES}:
        inputs["train_batches"] = list(
            loaders.train.take(num_batches if chosen & set(TRAINS) else 1)
        )
        settings["tse_batch_size"] = options.tse_batch_size or BATCH_SIZE
    if chosen & set(TRAINS):
        inputs["num_batches"] = settings["tse_batches"] = num_batches
        inputs["lr"] = settings["tse_lr"] = LR if options.tse_lr is None else options.tse_lr
    if chosen & set(VALIDATES):
        num_val = options.val_batches
        inputs["val_batches"] = (
            loaders.val if num_val is None else list(islice(loaders.val, num_val))
        )
        settings["val_batches"] = num_val
    if chosen & set(VAL_SCORES):
        recalibrate_batches, settings["recalibration"] = _recalibration(options, supernet, loaders)
        if recalibrate_batches is not None:
            inputs["recalibrate_batches"] = recalibrate_batches
    return inputs, settings


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
    batch_size = RECALIBRATE_BATCH_SIZE if needed else loaders.train.batch_size
    loader = loaders.train if needed else loaders.train_eval
    enough = loader.take(num_batches * batch_size)  # read only as far as needed
    batches = list(islice(rebatched(enough, batch_size), num_batches))
    return batches, {
        "split": "train",
        "transforms": f"those of the {'train' if needed else 'test'} split",
        "num_batches": num_batches,
        "num_images": sum(len(y) for _, y in batches),
        "seed": loaders.settings["seed"],
    }
