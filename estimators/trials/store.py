"""Trials and the file that remembers them.

A search is recorded in one SQLite file: a header that says what was searched and how, every
architecture asked for, and what each one measured. An ask and a tell are one transaction each,
synced to disk, so a search killed at any moment continues from the file alone.
"""

from __future__ import annotations

import csv
import heapq
import json
import logging
import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estimators.trials.sqlite_errors import named_file
from estimators.trials.store_file import (
    FORMAT,
    closed_on_error,
    connect,
    header_texts,
    read_or_write_header,
    reading,
)
from estimators.trials.trial_rows import check_json, with_architectures
from supernets.runtime.atomic_write import atomic_write
from supernets.spaces import Architecture, SearchSpace

if TYPE_CHECKING:
    import pandas

_logger = logging.getLogger(__name__)

_FAULTS_OF_THE_DISK = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
)


@dataclass(frozen=True)
class Trial:
    """One measured architecture.

    Args:
        number: Position in the search, from 0.
        arch: Architecture that was measured.
        score: Finite, higher is better; None if the measurement failed.
        metrics: Scalars in their natural sign and unit.
        seconds: Wall-clock time of the measurement.
        error: Why the measurement failed; None if it did not.
        curves: Values recorded step by step, such as a training loss.

    Example:
        >>> from supernets.spaces import NASBench201Space
        >>> arch = NASBench201Space().architecture([3, 3, 3, 3, 3, 3])
        >>> Trial(0, arch, score=-143.2, metrics={"tse": 143.2}, seconds=4.1, error=None).score
        -143.2
    """

    number: int
    arch: Architecture
    score: float | None
    metrics: Mapping[str, float]
    seconds: float
    error: str | None
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.score is None) == (self.error is None):
            raise ValueError(
                f"A trial has either a score or an error; trial {self.number} "
                f"has score {self.score!r} and error {self.error!r}."
            )
        if self.score is not None and not math.isfinite(self.score):
            raise ValueError(
                f"The score of trial {self.number} must be finite, got {self.score}; "
                "a measurement that failed has score None and an error."
            )


def place(trial: Trial, tie_breaker: str | None = None) -> tuple[float, float]:
    """Returns what orders trials that have a score, the least first; equals keep their order.

    Args:
        trial: The trial; its score is not None.
        tie_breaker: Metric of which the lower comes first among equal scores; None for none.
    """
    assert trial.score is not None
    finer = math.inf if tie_breaker is None else trial.metrics.get(tie_breaker, math.inf)
    return -trial.score, math.inf if math.isnan(finer) else finer


class TrialStore:
    """The trials of one search, in one SQLite file.

    The file is locked for as long as the store is open, so that two searches cannot interleave
    their trials; the lock ends with the process, however it ends. To look inside during a run, copy
    the file. Afterwards any SQLite client reads it: table ``trials`` has a row per architecture.

    Metrics and curves may hold NaN and infinities; they come back as they were told.

    What a trial costs does not grow with their number, but ``trials``, ``finished``, ``best`` and
    ``write_csv`` go through all of them.

    Example:
        >>> from supernets.spaces import NASBench201Space
        >>> space = NASBench201Space()
        >>> with TrialStore.open("trials.db", {"space": "nasbench201", "seed": 0}, space) as store:
        ...     store.ask([space.architecture([3, 3, 3, 3, 3, 3])])
        ...     for number, arch in store.pending:
        ...         store.tell(Trial(number, arch, 93.7, {}, seconds=0.1, error=None))
        ...     [space.format(trial.arch) for trial in store.best(1)]
        ['|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|']
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, space: SearchSpace) -> None:
        """Use ``TrialStore.open``."""
        self.path = path
        self._connection = connection
        self._space = space
        self._asked: set[Architecture] = set()
        self._pending: dict[int, Architecture] = {}
        self._told: dict[int, Trial] = {}
        self._finished: list[Trial] = []
        #: The highest score; None before there is one.
        self.best_score: float | None = None

    @classmethod
    def open(cls, path: str | Path, header: Mapping[str, Any], space: SearchSpace) -> TrialStore:
        """Creates the file, or reopens it if it was written with the same header.

        Args:
            path: The file; its folder must exist.
            header: All that decides the trials, JSON-able: space, estimator and algorithm with
                their settings, seed. The key ``"format"`` is the store's own.
            space: Space the architectures belong to.

        Raises:
            ValueError: If the file is not a trial store, is in use by another process, or was
                written with another header.
        """
        path, texts = Path(path), header_texts(header)
        with closed_on_error(connect(path)) as connection:
            try:
                read_or_write_header(path, connection, texts)
                store = cls(path, connection, space)
                store._load()
            except sqlite3.DatabaseError as error:
                if getattr(error, "sqlite_errorcode", 0) % 256 in _FAULTS_OF_THE_DISK:
                    raise
                raise ValueError(
                    f"{path} cannot be read as a store of trials: {error}; use a new --output."
                ) from error
            return store

    @property
    def num_told(self) -> int:
        """How many trials were told."""
        return len(self._told)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The told trials, ordered by number."""
        return tuple(self._told[number] for number in sorted(self._told))

    @property
    def finished(self) -> tuple[Trial, ...]:
        """The told trials in the order they were told; it is kept in the file as well."""
        return tuple(self._finished)

    def trials_from(self, number: int) -> tuple[Trial, ...]:
        """Returns the told trials from a number on, ordered by number; nothing may be pending."""
        assert not self._pending, "numbers may be missing"
        return tuple(self._told[i] for i in range(number, len(self._told)))

    def finished_from(self, position: int) -> tuple[Trial, ...]:
        """Returns the told trials from a position in ``finished`` on."""
        return tuple(self._finished[position:])

    @property
    def pending(self) -> tuple[tuple[int, Architecture], ...]:
        """Number and architecture of what was asked and not yet told, ordered by number."""
        return tuple(self._pending.items())

    def ask(self, archs: Sequence[Architecture]) -> None:
        """Records architectures before they are measured; they get the next numbers.

        Raises:
            ValueError: If one is not of this space, or was asked before.
        """
        new: set[Architecture] = set()
        for arch in archs:
            self._space.validate(arch)
            if arch in self._asked or arch in new:
                raise ValueError(
                    f"{self._space.format(arch)} was asked before; a search asks for each once."
                )
            new.add(arch)
        asked = dict(enumerate(archs, start=len(self._asked)))
        with named_file(self.path), self._connection as transaction:
            transaction.execute("BEGIN IMMEDIATE")
            transaction.executemany(
                "INSERT INTO trials (number, arch, choices) VALUES (?, ?, ?)",
                [
                    (number, self._space.format(arch), json.dumps(arch.choices))
                    for number, arch in asked.items()
                ],
            )
        self._asked |= new
        self._pending.update(asked)

    def tell(self, trial: Trial) -> None:
        """Records what a pending architecture measured.

        Raises:
            ValueError: If ``trial`` is not one of ``pending``.
        """
        if self._pending.get(trial.number) != trial.arch:
            raise ValueError(
                f"Trial {trial.number} of {trial.arch.choices} is not pending; "
                f"pending are the numbers {list(self._pending)}."
            )
        trial = _plain(trial)
        with named_file(self.path), self._connection as transaction:
            transaction.execute("BEGIN IMMEDIATE")
            transaction.execute(
                "UPDATE trials SET is_told = 1, score = ?, seconds = ?, error = ?, metrics = ?, "
                "curves = ?, position = ? WHERE number = ?",
                (
                    trial.score,
                    trial.seconds,
                    trial.error,
                    json.dumps(trial.metrics),
                    json.dumps(trial.curves),
                    len(self._told),
                    trial.number,
                ),
            )
        self._add(trial)

    def _add(self, trial: Trial) -> None:
        self._pending.pop(trial.number, None)
        self._told[trial.number] = trial
        self._finished.append(trial)
        if trial.score is not None and (self.best_score is None or trial.score > self.best_score):
            self.best_score = trial.score

    def best(self, k: int = 1, tie_breaker: str | None = None) -> list[Trial]:
        """Returns the ``k`` trials of highest score, best first, the earlier of equals first.

        Args:
            k: Number of trials.
            tie_breaker: Metric of which the lower comes first among equal scores; None for none.

        Raises:
            ValueError: If ``k`` is less than 1.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}.")
        scored = [trial for trial in self.trials if trial.score is not None]
        return heapq.nsmallest(k, scored, key=lambda trial: place(trial, tie_breaker))

    def write_csv(
        self,
        path: str | Path,
        told: Mapping[str, Callable[[Architecture], str]] | None = None,
    ) -> None:
        """Writes the told trials as a table, replacing ``path`` in one step.

        Columns are number, arch (in the space's notation), score, seconds, error, position (among
        the finished, in their order), then every metric that any trial has; a metric named like one
        of those is written as ``metric_<name>``. Curves stay in the store.

        Args:
            path: The file.
            told: Columns in place of arch, and what each says of an architecture; None for arch.
        """
        names = ("arch",) if told is None else tuple(told)
        columns = ("number", *names, "score", "seconds", "error", "position")
        positions = {trial.number: position for position, trial in enumerate(self._finished)}
        metrics = list(dict.fromkeys(name for trial in self.trials for name in trial.metrics))
        with atomic_write(path) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(
                [*columns, *(f"metric_{name}" if name in columns else name for name in metrics)]
            )
            with named_file(self.path):
                notations = dict(self._connection.execute("SELECT number, arch FROM trials"))
            for trial in self.trials:
                said = [notations[trial.number]]
                if told is not None:
                    said = [tell(trial.arch) for tell in told.values()]
                row = [trial.number, *said, trial.score]
                row += [trial.seconds, trial.error, positions[trial.number]]
                writer.writerow([*row, *(trial.metrics.get(name) for name in metrics)])

    def trials_dataframe(self) -> pandas.DataFrame:
        """Returns a row per told trial, see ``estimators.trials.dataframe.trials_dataframe``.

        Raises:
            ImportError: If pandas is not installed.
        """
        from estimators.trials.dataframe import trials_dataframe

        return trials_dataframe(self.trials, self._space)

    def close(self) -> None:
        """Closes the file and gives its lock back."""
        self._connection.close()

    def __enter__(self) -> TrialStore:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.close()

    def _load(self) -> None:
        columns = self._connection.execute("SELECT name FROM pragma_table_info('trials')")
        if ("position",) not in columns.fetchall():  # a file from before; told by number
            self._connection.execute("ALTER TABLE trials ADD COLUMN position INTEGER")
        told: dict[int, Trial] = {}
        for number, arch, trial in _rows(self.path, self._connection, self._space):
            self._asked.add(arch)
            if trial is None:
                self._pending[number] = arch
            else:
                told[number] = trial
        order = self._connection.execute(
            "SELECT number FROM trials WHERE is_told ORDER BY position, number"  # NULLs are first
        )
        for (number,) in order:
            self._add(told[number])


def read_header(path: Path) -> dict[str, Any]:
    """Reads the header of a store as it was given to ``TrialStore.open``.

    Raises:
        ValueError: If the file is missing, in use by another process, or not a store of trials.
    """
    with reading(path) as connection:
        stored = connection.execute("SELECT key, value FROM header").fetchall()
    header = check_json(path, dict(stored))
    if header.pop("format", None) != FORMAT:
        raise ValueError(f"{path} was written by another version of paceline; use that one.")
    return header


def read_trials(path: Path, space: SearchSpace) -> tuple[Trial, ...]:
    """Reads the told trials of a store, ordered by number, and leaves the file as it is.

    Args:
        path: The file.
        space: Space of the architectures.

    Raises:
        ValueError: As ``read_header``, or if the architectures are not of this space.
    """
    with reading(path) as connection:
        rows = list(_rows(path, connection, space))
    return tuple(trial for _, _, trial in rows if trial is not None)


def _rows(
    path: Path, connection: sqlite3.Connection, space: SearchSpace
) -> Iterator[tuple[int, Architecture, Trial | None]]:
    """What was asked for, by number, with its trial if it was told."""
    rows = connection.execute(
        "SELECT number, choices, is_told, score, metrics, seconds, error, curves "
        "FROM trials ORDER BY number"
    )
    seen: dict[Architecture, int] = {}
    for number, (row, arch) in enumerate(with_architectures(path, rows, space)):
        if seen.setdefault(arch, number) != number:
            raise ValueError(
                f"{path}: trials {seen[arch]} and {number} are of one architecture, and a search "
                "asks for each once; use the file as it was written."
            )
        trial = None
        if row.is_told:
            trial = Trial(number, arch, row.score, row.metrics, row.seconds, row.error, row.curves)
        yield number, arch, trial


def _plain(trial: Trial) -> Trial:
    """The same trial in Python's own numbers, as a reopened store will give it back."""
    return Trial(
        number=trial.number,
        arch=trial.arch,
        score=None if trial.score is None else float(trial.score),
        metrics={name: float(value) for name, value in trial.metrics.items()},
        seconds=float(trial.seconds),
        error=trial.error,
        curves={name: tuple(map(float, curve)) for name, curve in trial.curves.items()},
    )
