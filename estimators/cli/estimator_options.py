"""The options of estimators on a command line."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import supernets.runtime.option_types as kinds
from estimators.base import Estimator
from estimators.benchmarks.splits import test_warning
from estimators.benchmarks.tabular import TabularEstimator
from estimators.factory import TRAINS, create_estimator
from estimators.scores.extra_steps import NUM_BATCHES
from estimators.scores.from_scratch import SCRATCH_BATCH_SIZE
from estimators.scores.names import PROXY_SCORES, VAL_SCORES
from estimators.scores.windows import window_argument, window_in_batches, window_in_epochs
from supernets.networks.base import Supernet
from supernets.spaces import SearchSpace

_logger = logging.getLogger(__name__)

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
    "trust_pickle": ("table",),
}
#: Images per minibatch of train data, but for those of recalibration where a supernet needs it.
BATCH_SIZE = 64


@dataclass(frozen=True)
class EstimatorOptions:
    """Options by the names of the command line; None where they are not given."""

    tse_batches: int | None = None
    tse_batch_size: int | None = None
    tse_lr: float | None = None
    tse_window: int | str | None = None
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
    trust_pickle: bool | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> EstimatorOptions:
        """Picks the options among the values of a command line; a command need not have all."""
        return cls(**{field.name: given.get(field.name) for field in fields(cls)})


def add_estimator_options(group: argparse._ArgumentGroup) -> None:
    """Adds the flags of what estimators measure with."""
    add = group.add_argument
    add(
        "--tse-batches",
        type=kinds.BATCH,
        metavar="B",
        help="extra minibatches of tse (default: 100)",
    )
    add("--tse-batch-size", type=kinds.BATCH, metavar="N", help="images in each (default: 64)")
    add("--tse-lr", type=kinds.POSITIVE, metavar="LR", help="learning rate of tse (default: 0.001)")
    add(
        "--tse-window",
        type=window_argument,
        metavar="E",
        help="last minibatches that tse_e sums, such as 30, or epochs of them, such as 0.3epochs; "
        "from_scratch: epochs (default: 0.3 of B, at most an epoch; from scratch 1 epoch)",
    )
    add(
        "--tse-gamma",
        type=kinds.SHARE,
        metavar="G",
        help="decay of tse_ema per minibatch, from scratch per epoch as in the paper "
        "(default: 0.999)",
    )
    add(
        "--val-batches",
        type=kinds.POSITIVE_INT,
        metavar="N",
        help="of 512 images for val_acc (default: all)",
    )
    add(
        "--recalibrate-batches",
        type=kinds.NON_NEGATIVE_INT,
        metavar="N",
        help="train minibatches for val_acc's BatchNorm (default: 10 of 200 augmented images where "
        "the supernet needs it, otherwise 0)",
    )


def add_table_options(group: argparse._ArgumentGroup) -> None:
    """Adds the flags of a table of values."""
    add = group.add_argument
    add(
        "--table",
        type=kinds.path,
        metavar="CSV",
        help="table of architectures and values, NAS-Bench-101's records, or NATS-Bench's files",
    )
    add(
        "--table-column",
        type=kinds.name,
        metavar="NAME",
        help="column of values, higher is better; validation or test of NAS-Bench-101; or "
        "NATS-Bench's data set, such as cifar100:valid or cifar100:test (default of a data set: "
        "validation where a search goes by it, otherwise test)",
    )
    add(
        "--arch-column",
        type=kinds.name,
        metavar="NAME",
        help="column of architectures (default: arch_str)",
    )
    add(
        "--trust-pickle",
        action="store_const",
        const=True,
        help="open NATS-Bench's files, which are pickles and may run code (default: refuse)",
    )


def check_options(names: Sequence[str], options: EstimatorOptions) -> None:
    """Makes sure that all options given are of one of the estimators, and in range.

    Args:
        names: Names of the estimators, each one of ``ESTIMATORS``.
        options: The options.

    Raises:
        ValueError: If they are not, or one that is needed is missing.
    """
    if "table" in names:
        if options.table is None:
            raise ValueError("--estimator table needs --table.")
        if options.table_column is None:
            raise ValueError("--table needs --table-column.")
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
    elif options.tse_window is not None and "epoch" not in str(options.tse_window):
        window_in_batches(options.tse_window, options.tse_batches or NUM_BATCHES)


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
    window_in_epochs(options.tse_window, epochs)


def flag(option: str) -> str:
    """Returns the name of an option on the command line."""
    return "--" + option.replace("_", "-")


def train_batch_size(name: str, options: EstimatorOptions) -> int:
    """Returns the images in each train minibatch that an estimator, by name, looks at."""
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
        trust_pickle=options.trust_pickle,
    )
    assert isinstance(estimator, TabularEstimator)
    if estimator.split == "test":
        _logger.warning(test_warning(estimator.column))
    return estimator, {
        "name": "table",
        "table": options.table.name,
        "table_digest": estimator.digest,
        "table_column": estimator.column,
        "arch_column": options.arch_column or "arch_str",
    }
