"""Names of estimators, and what each is built from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from estimators.base import Estimator
from estimators.inherited import ValAccuracyEstimator
from estimators.tabular import TabularEstimator
from estimators.tse import TSEEstimator
from supernets.base import Supernet
from supernets.spaces import SearchSpace

ESTIMATORS = ("tse", "val_acc", "table")

Batches = Iterable[tuple[Tensor, Tensor]]


def create_estimator(
    name: str,
    *,
    supernet: Supernet | None = None,
    train_batches: Batches | None = None,
    val_batches: Batches | None = None,
    recalibrate_batches: Batches | None = None,
    num_batches: int | None = None,
    lr: float | None = None,
    table: Path | None = None,
    arch_column: str | None = None,
    value_column: str | None = None,
    space: SearchSpace | None = None,
    device: torch.device | str = "cpu",
    amp: bool = False,
) -> Estimator:
    """Builds an estimator by name; what it needs must be given, what it cannot use must not.

    Args:
        name: ``"tse"`` (supernet, train_batches; num_batches, lr), ``"val_acc"`` (supernet,
            val_batches; recalibrate_batches) or ``"table"`` (table, value_column, space;
            arch_column).
        supernet: Trained supernet; only read.
        train_batches: Minibatches of the train split.
        val_batches: Minibatches of the val split.
        recalibrate_batches: Minibatches of the train split for BatchNorm; None for none.
        num_batches: B of TSE; None for its default, 100.
        lr: Learning rate of TSE; None for its default, 0.001.
        table: CSV file.
        arch_column: Column of architectures; None for ``"arch_str"``.
        value_column: Column of values.
        space: Parses the table's architectures.
        device: Where to run; the table ignores it.
        amp: Whether to compute in bfloat16 autocast; the table ignores it.

    Raises:
        ValueError: If the name is unknown, something needed is missing, or something given does
            not apply.
    """
    given = {
        "supernet": supernet,
        "train_batches": train_batches,
        "val_batches": val_batches,
        "recalibrate_batches": recalibrate_batches,
        "num_batches": num_batches,
        "lr": lr,
        "table": table,
        "arch_column": arch_column,
        "value_column": value_column,
        "space": space,
    }

    def check(needed: tuple[str, ...], optional: tuple[str, ...]) -> None:
        missing = [key for key in needed if given[key] is None]
        if missing:
            raise ValueError(f"Estimator {name!r} needs {', '.join(missing)}.")
        unused = [k for k, v in given.items() if v is not None and k not in needed + optional]
        if unused:
            raise ValueError(f"Estimator {name!r} does not use {', '.join(unused)}; leave it out.")

    if name == "tse":
        check(("supernet", "train_batches"), ("num_batches", "lr", "space"))
        assert supernet is not None and train_batches is not None
        return TSEEstimator(
            supernet,
            train_batches,
            num_batches=100 if num_batches is None else num_batches,
            lr=0.001 if lr is None else lr,
            device=device,
            amp=amp,
        )
    if name == "val_acc":
        check(("supernet", "val_batches"), ("recalibrate_batches", "space"))
        assert supernet is not None and val_batches is not None
        return ValAccuracyEstimator(
            supernet,
            val_batches,
            recalibrate_batches=recalibrate_batches,
            device=device,
            amp=amp,
        )
    if name == "table":
        check(("table", "value_column", "space"), ("arch_column",))
        assert table is not None and value_column is not None and space is not None
        return TabularEstimator.from_csv(
            table, space, arch_column=arch_column or "arch_str", value_column=value_column
        )
    raise ValueError(f"Unknown estimator {name!r}; choose from {', '.join(ESTIMATORS)}.")
