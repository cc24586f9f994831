"""Recorded values of a table, such as NAS-Bench-201's accuracies."""

from __future__ import annotations

import csv
import gzip
import math
import time
import zlib
from collections.abc import Mapping
from pathlib import Path

from estimators.base import Estimate, EstimateError
from estimators.nasbench101 import is_nasbench101, read_nasbench101
from estimators.nats_bench import NATSBench, is_nats_bench
from supernets.spaces import Architecture, SearchSpace


class TabularEstimator:
    """Looks an architecture up in a table.

    Args:
        values: Value of each architecture; higher is better.
        value_name: What the values are, the key under which ``estimate`` reports them.
    """

    name = "table"

    def __init__(self, values: Mapping[Architecture, float], value_name: str = "value") -> None:
        is_lazy = isinstance(values, NATSBench)
        self.values = values if is_lazy else dict(values)
        self.value_name = value_name

    @classmethod
    def open(
        cls,
        path: str | Path,
        space: SearchSpace,
        *,
        arch_column: str | None = None,
        value_column: str,
    ) -> TabularEstimator:
        """Opens a CSV file, the record file of NAS-Bench-101, or the files of NATS-Bench.

        Args:
            path: The file or folder.
            space: Parses the architectures.
            arch_column: Of a CSV file; None for ``"arch_str"``.
            value_column: Of a CSV file; of NATS-Bench the data set, such as ``"cifar10"``;
                of NAS-Bench-101 ``"validation"`` or ``"test"``.

        Raises:
            ValueError: As ``from_csv``, ``read_nasbench101`` and ``NATSBench``, or if a benchmark
                is given an ``arch_column``.
        """
        path = Path(path)
        if not (is_nats_bench(path) or is_nasbench101(path)):
            column = "arch_str" if arch_column is None else arch_column
            return cls.from_csv(path, space, arch_column=column, value_column=value_column)
        if arch_column is not None:
            raise ValueError(f"{path} has no columns of architectures; leave {arch_column} out.")
        if is_nasbench101(path):
            return cls(read_nasbench101(path, space, value_column), f"{value_column}_accuracy")
        return cls(NATSBench(path, space, value_column), f"{value_column}_test_top1")

    @classmethod
    def from_csv(
        cls,
        path: str | Path,
        space: SearchSpace,
        *,
        arch_column: str = "arch_str",
        value_column: str,
    ) -> TabularEstimator:
        """Reads a CSV file with a header, gzipped if its name ends in ``.gz``.

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
        try:
            with _open(path) as file:
                reader = csv.DictReader(file)
                columns = reader.fieldnames or []
                for column in (arch_column, value_column):
                    if column not in columns:
                        raise ValueError(
                            f"{path} has no column {column!r}; it has {', '.join(columns)}."
                        )
                for row in reader:
                    text = row[value_column]
                    if text is None or not text.strip():
                        continue
                    try:
                        arch, value = space.parse(row[arch_column] or ""), float(text)
                        if arch in values:
                            raise ValueError(f"it lists {row[arch_column]} a second time")
                        if not math.isfinite(value):
                            raise ValueError(f"{value_column} is {text}, not a finite number")
                    except ValueError as error:
                        raise ValueError(f"{path}, line {reader.line_num}: {error}") from error
                    values[arch] = value
        except (OSError, EOFError, UnicodeError, zlib.error, csv.Error) as error:
            raise ValueError(f"{path} cannot be read as a CSV table: {error}") from error
        if not values:
            raise ValueError(f"{path} holds no value in column {value_column!r}.")
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


def _open(path: Path):  # type: ignore[no-untyped-def]  # gzip's and the built-in's differ
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return open(path, encoding="utf-8", newline="")
