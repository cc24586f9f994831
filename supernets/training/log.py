"""``summary.csv`` and, where TensorBoard is installed, its event files."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from supernets.runtime.atomic_write import atomic_write


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes a CSV file with a column for every name in some row; replaced whole."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


class TrainingLog:
    """Writes one row per epoch.

    Args:
        output: An existing folder.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self._board: Any = None
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(output / "tensorboard"))

    def write(self, history: Sequence[dict[str, float]]) -> None:
        """Replaces ``summary.csv`` by all rows, and sends the last one to TensorBoard."""
        write_rows(self.output / "summary.csv", history)
        if self._board is not None:
            for name, value in history[-1].items():
                self._board.add_scalar(name, value, history[-1]["epoch"])
            self._board.flush()

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        """Closes what TensorBoard holds open; its own errors do not hide an earlier one."""
        if self._board is not None:
            with nullcontext() if error is None else suppress(OSError):
                self._board.close()
