"""Zero-cost features of architectures, as inputs of predictors, computed once per architecture."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from estimators.scores.names import COST_SCORES, PROXY_SCORES
from estimators.trials.sqlite_errors import named_file
from search.algorithms.options import ZERO_COST_FEATURES
from search.algorithms.rows import unique_rows, unseen_rows
from supernets.runtime.digests import unchecked_inputs
from supernets.runtime.progress import hides_bars
from supernets.runtime.settings_difference import diff_settings
from supernets.spaces import Architecture, SearchSpace

_logger = logging.getLogger(__name__)

#: Gives params and macs, by name, of choices (num_archs, num_decisions), each (num_archs,).
Count = Callable[[NDArray[np.int64]], Mapping[Any, NDArray[Any]]]
#: Gives zero-cost proxies of an architecture by name.
MeasureProxies = Callable[[Architecture], Mapping[str, float]]


class ZeroCostFeatures:
    """Gives some zero-cost features of any architectures.

    Proxies are kept in a SQLite file, so that nothing is measured twice, whatever stops a search.

    Args:
        names: Names of the features, each one of ``ZERO_COST_FEATURES``.
        space: Notation of the architectures in the file.
        count: Function that counts the costs.
        path: SQLite file that keeps the proxies; its folder must exist once the first are measured.

    Raises:
        ValueError: If a name is unknown or given twice.
    """

    def __init__(
        self, names: Sequence[str], space: SearchSpace, *, count: Count, path: Path
    ) -> None:
        unknown = [name for name in names if name not in ZERO_COST_FEATURES]
        if unknown or len(set(names)) < len(names):
            raise ValueError(
                f"Predictor inputs must be distinct and of {', '.join(ZERO_COST_FEATURES)}, got "
                f"{', '.join(names)}."
            )
        self.names = tuple(names)
        self.proxies = tuple(name for name in names if name in PROXY_SCORES)
        self._space, self._count, self._path = space, count, path
        self._measure: MeasureProxies | None = None
        # what is in the file: choices (num_archs, num_decisions) and (num_archs, num_proxies)
        self._known, self._table = space.choices_of([]), np.zeros((0, len(self.proxies)))
        self._is_read = False

    def measure_with(self, measure: MeasureProxies) -> None:
        """Says how to measure the proxies; must be called before scores with proxies are asked."""
        self._measure = measure

    def check_inputs(self, inputs: Mapping[str, Any]) -> None:
        """Makes sure that what the file holds was measured with the same inputs; keeps them there.

        Args:
            inputs: All that decides the proxies, plain values: weights, images, revisions.

        Raises:
            ValueError: If it was measured with others.
        """
        if not self.proxies:
            return
        with (
            named_file(self._path),
            closing(sqlite3.connect(self._path)) as connection,
            connection,
        ):
            self._create(connection)
            stored = connection.execute("SELECT value FROM inputs").fetchone()
            num_scores = connection.execute("SELECT COUNT(*) FROM scores").fetchone()[0]
            if stored is None:
                connection.execute("INSERT INTO inputs VALUES (?)", [json.dumps(inputs)])
                if num_scores:
                    _logger.warning(unchecked_inputs(self._path, ["supernet and images"]))
            elif differences := diff_settings(json.loads(stored[0]), inputs):
                raise ValueError(
                    f"{self._path} holds scores measured with other inputs: {differences}. Use a "
                    "new --output, or what it was written with."
                )

    def __call__(self, choices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Scores of choices (num_archs, num_decisions).

        Returns:
            (num_archs, num_names), in their natural sign; nan where one is not finite.
        """
        costs = self._count(choices)
        columns = {n: np.asarray(costs[n], np.float64) for n in self.names if n in COST_SCORES}
        if self.proxies:
            columns |= zip(self.proxies, self._proxies(choices).T, strict=True)
        table = np.stack([columns[name] for name in self.names], axis=1)
        return np.where(np.isfinite(table), table, np.nan)

    def _proxies(self, choices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Returns proxies (num_archs, num_proxies), measured where they are not known yet.

        Fresh weights know nothing of how a network is written, so what is the same is measured once
        and what stands for it has its scores.
        """
        assert self._measure is not None, "measure_with was not called"
        choices = self._space.first_of_functions(choices)
        with (
            named_file(self._path),
            closing(sqlite3.connect(self._path)) as connection,
        ):
            if not self._is_read:
                self._known, self._table = self._read(connection)
                self._is_read = True
            missing = choices[unseen_rows(choices, self._known)]
            self._measure_and_keep(missing, self._measure, connection)
        rows = unique_rows(np.concatenate([self._known, choices]))[len(self._known) :]
        return self._table[rows]

    def _measure_and_keep(
        self, choices: NDArray[np.int64], measure: MeasureProxies, connection: sqlite3.Connection
    ) -> None:
        """Adds unknown architectures to the file and to what is known, one after the other."""
        archs = self._space.architectures(choices)
        measured: list[list[float]] = []
        try:
            for arch in tqdm(
                archs, desc="zero-cost features", unit="arch", disable=not archs or hides_bars()
            ):
                found = measure(arch)
                values = {name: float(found[name]) for name in self.proxies}
                row = (self._space.format(arch), json.dumps(values))
                connection.execute("INSERT INTO scores VALUES (?, ?)", row)
                connection.commit()
                measured.append(list(values.values()))
        finally:  # also of Ctrl-C
            table = np.reshape(measured, (-1, len(self.proxies)))
            self._table = np.concatenate([self._table, table])
            self._known = np.concatenate([self._known, choices[: len(measured)]])

    def _read(
        self, connection: sqlite3.Connection
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """What the file holds: architectures as choices, and their proxies."""
        self._create(connection)
        stored = list(connection.execute("SELECT arch, value FROM scores ORDER BY rowid"))
        known = self._space.choices_of(self._space.parse(arch) for arch, _ in stored)
        # those of earlier versions are of architectures as they were asked for
        known = self._space.first_of_functions(known)
        values = (json.loads(value) for _, value in stored)
        table = [[each[name] for name in self.proxies] for each in values]
        return known, np.reshape(table, (len(stored), len(self.proxies)))

    def _create(self, connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE IF NOT EXISTS scores (arch TEXT PRIMARY KEY, value TEXT)")
        connection.execute("CREATE TABLE IF NOT EXISTS inputs (value TEXT)")
