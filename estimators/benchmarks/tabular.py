"""Recorded values of a table, such as NAS-Bench-201's accuracies."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from estimators.base import Estimate, EstimateError
from estimators.benchmarks.nasbench101 import is_nasbench101, read_nasbench101
from estimators.benchmarks.nats_bench import NATSBench, is_nats_bench
from estimators.benchmarks.splits import Split, split_of_name, test_warning
from estimators.scores.settings import TableSettings
from supernets.runtime.digests import digest_of
from supernets.runtime.text_files import read_rows
from supernets.spaces import Architecture, SearchSpace

_logger = logging.getLogger(__name__)


class TabularEstimator:
    """Looks an architecture up in a table.

    Args:
        values: Value of each architecture; higher is better.
        value_name: Name of the values, under which ``estimate`` reports them.
        column: The column they are from, which says of which split; None for ``value_name``.
    """

    name = "table"

    def __init__(
        self,
        values: Mapping[Architecture, float],
        value_name: str = "value",
        *,
        column: str | None = None,
    ) -> None:
        is_lazy = isinstance(values, NATSBench)
        self.values = values if is_lazy else dict(values)
        self.value_name = value_name
        self.column = value_name if column is None else column

    @property
    def split(self) -> Split | None:
        """The split that the column says its accuracies are of; None where it does not say."""
        return split_of_name(self.column)

    @property
    def digest(self) -> str:
        """SHA-256 of all values, wherever and however they are written down."""
        if isinstance(self.values, NATSBench):
            return self.values.digest
        return digest_of(sorted((arch.choices, value) for arch, value in self.values.items()))

    @classmethod
    def open(
        cls,
        path: str | Path,
        space: SearchSpace,
        *,
        arch_column: str | None = None,
        value_column: str,
        split: Split = "valid",
        trust_pickle: bool = False,
    ) -> TabularEstimator:
        """Opens a CSV file, the record file of NAS-Bench-101, or the files of NATS-Bench.

        Args:
            path: The file or folder.
            space: Parses the architectures.
            arch_column: Column of the architectures in a CSV file; None for ``"arch_str"``.
            value_column: Column of the values in a CSV file; for NATS-Bench the data set, such as
                ``"cifar10"``, perhaps with its split, ``"cifar100:test"``; for NAS-Bench-101
                ``"validation"`` or ``"test"``.
            split: Split that a data set of NATS-Bench means if it names none.
            trust_pickle: Whether code that NATS-Bench's files hold may run.

        Raises:
            ValueError: As ``from_csv``, ``read_nasbench101`` and ``NATSBench``, or if a benchmark
                is given an ``arch_column``, or ``trust_pickle`` where there are no pickles.
        """
        path = Path(path)
        if trust_pickle and not is_nats_bench(path):
            raise ValueError(f"{path} holds no pickles; leave --trust-pickle out.")
        if not (is_nats_bench(path) or is_nasbench101(path)):
            column = "arch_str" if arch_column is None else arch_column
            return cls.from_csv(path, space, arch_column=column, value_column=value_column)
        if arch_column is not None:
            raise ValueError(f"{path} has no columns of architectures; leave {arch_column} out.")
        if is_nasbench101(path):
            values = read_nasbench101(path, space, value_column)
            return cls(values, f"{value_column}_accuracy", column=value_column)
        benchmark = NATSBench(path, space, value_column, split=split, trust_pickle=trust_pickle)
        name = f"{benchmark.dataset}_{benchmark.split}_top1"
        return cls(benchmark, name, column=benchmark.column)

    @classmethod
    def from_csv(
        cls,
        path: str | Path,
        space: SearchSpace,
        *,
        arch_column: str = "arch_str",
        value_column: str,
    ) -> TabularEstimator:
        """Reads a CSV file with a header, gzipped or not, with or without a byte order mark.

        Args:
            path: The file.
            space: Parses the architectures.
            arch_column: Name of the column holding architectures in the space's notation.
            value_column: Name of the column holding the values; empty cells are left out.

        Raises:
            ValueError: If the file or a column is missing, a row cannot be read, or an
                architecture occurs twice; names the line.
        """
        path = Path(path)
        if not path.is_file():
            raise ValueError(f"There is no table at {path}.")
        values: dict[Architecture, float] = {}
        lines: dict[Architecture, int] = {}
        num_rows = 0
        for line, row in read_rows(
            path,
            (arch_column, value_column),
            advice={arch_column: "--arch-column, or arch_column, names that of the architectures"},
        ):
            num_rows += 1
            text = row[value_column]
            if not text.strip():
                continue
            try:
                arch, value = space.parse(row[arch_column].strip()), float(text)
                if arch in values:
                    raise ValueError(
                        f"it lists {row[arch_column]} a second time, after line {lines[arch]}"
                    )
                if not math.isfinite(value):
                    raise ValueError(f"{value_column} is {text}, not a finite number")
            except ValueError as error:
                raise ValueError(f"{path}, line {line}: {error}") from error
            values[arch], lines[arch] = value, line
        if not values:
            raise ValueError(f"{path} holds no value in column {value_column!r}.")
        if len(values) < num_rows:
            _logger.warning(
                "%s: %d of %d rows have no %s and are left out.",
                path,
                num_rows - len(values),
                num_rows,
                value_column,
            )
        return cls(values, value_column)

    def estimate(self, arch: Architecture) -> Estimate:
        """Gives the recorded value of ``arch`` as score and under its own name.

        Raises:
            EstimateError: If the table does not list ``arch``.
        """
        started = time.perf_counter()
        value = self.values.get(arch)
        if value is None:
            raise EstimateError("The table does not list this architecture.")
        return Estimate(value, {self.value_name: value}, time.perf_counter() - started)


def open_table(
    settings: TableSettings, space: SearchSpace
) -> tuple[TabularEstimator, dict[str, Any]]:
    """Opens the table of an estimator's settings; warns of one of test accuracies.

    Args:
        settings: Settings of the estimator.
        space: Space that parses the architectures.

    Returns:
        The estimator; and plain values for the header of its trials, by name.

    Raises:
        ValueError: As ``TabularEstimator.open``.
    """
    assert settings.table is not None and settings.column is not None
    estimator = TabularEstimator.open(
        settings.table,
        space,
        arch_column=settings.arch_column,
        value_column=settings.column,
        trust_pickle=settings.trust_pickle,
    )
    if estimator.split == "test":
        _logger.warning(test_warning(estimator.column))
    return estimator, {
        "name": "table",
        "table": settings.table.name,
        "table_digest": estimator.digest,
        "table_column": estimator.column,
        "arch_column": settings.arch_column or "arch_str",
    }
