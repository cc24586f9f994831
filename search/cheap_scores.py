"""Scores that cost next to nothing, as inputs of predictors, computed once per architecture."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from estimators.scores import COST_SCORES, PROXY_SCORES
from supernets.spaces import Architecture, SearchSpace

CHEAP_SCORES = (*COST_SCORES, *PROXY_SCORES)
#: Gives params and macs, by name, of choices (num_archs, num_decisions), each (num_archs,).
Count = Callable[[NDArray[np.int64]], Mapping[Any, NDArray[Any]]]
#: Gives zero-cost proxies of an architecture by name.
MeasureProxies = Callable[[Architecture], Mapping[str, float]]


class CheapScores:
    """Gives some cheap scores of any architectures.

    Proxies are kept in a SQLite file, so that nothing is measured twice, whatever stops a search.

    Args:
        names: Of ``CHEAP_SCORES``.
        space: Notation of the architectures in the file.
        count: Gives the costs.
        path: Where proxies are kept; its folder must exist once the first are measured.

    Raises:
        ValueError: If a name is unknown or given twice.
    """

    def __init__(
        self, names: Sequence[str], space: SearchSpace, *, count: Count, path: Path
    ) -> None:
        unknown = [name for name in names if name not in CHEAP_SCORES]
        if unknown or len(set(names)) < len(names):
            raise ValueError(
                f"Predictor inputs must be distinct and of {', '.join(CHEAP_SCORES)}, got "
                f"{', '.join(names)}."
            )
        self.names = tuple(names)
        self.proxies = tuple(name for name in names if name in PROXY_SCORES)
        self._space, self._count, self._path = space, count, path
        self._measure: MeasureProxies | None = None
        self._known: dict[Architecture, Mapping[str, float]] | None = None

    def measure_with(self, measure: MeasureProxies) -> None:
        """Says how to measure the proxies; must be called before scores with proxies are asked."""
        self._measure = measure

    def __call__(self, archs: Sequence[Architecture]) -> NDArray[np.float64]:
        """The scores (num_archs, num_names), in their natural sign; nan where one is not finite."""
        choices = np.array([arch.choices for arch in archs], np.int64)
        costs = self._count(choices)
        columns: list[NDArray[np.float64]] = []
        proxies = self._proxies(archs) if self.proxies else []
        for name in self.names:
            if name in COST_SCORES:
                columns.append(np.asarray(costs[name], np.float64))
            else:
                columns.append(np.array([values[name] for values in proxies], np.float64))
        table = np.stack(columns, axis=1)
        return np.where(np.isfinite(table), table, np.nan)

    def _proxies(self, archs: Sequence[Architecture]) -> list[Mapping[str, float]]:
        assert self._measure is not None, "measure_with was not called"
        with closing(sqlite3.connect(self._path)) as connection:
            if self._known is None:
                self._known = self._read(connection)
            missing = [arch for arch in dict.fromkeys(archs) if arch not in self._known]
            for arch in tqdm(missing, desc="cheap scores", unit="arch", disable=not missing):
                values = {name: float(self._measure(arch)[name]) for name in self.proxies}
                row = (self._space.format(arch), json.dumps(values))
                connection.execute("INSERT INTO scores VALUES (?, ?)", row)
                connection.commit()
                self._known[arch] = values
        return [self._known[arch] for arch in archs]

    def _read(self, connection: sqlite3.Connection) -> dict[Architecture, Mapping[str, float]]:
        connection.execute("CREATE TABLE IF NOT EXISTS scores (arch TEXT PRIMARY KEY, value TEXT)")
        rows = connection.execute("SELECT arch, value FROM scores")
        return {self._space.parse(arch): json.loads(value) for arch, value in rows}
